//! The walls: who may depend on what, over `cargo metadata`, and what the prose may claim.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Metadata, MetadataCommand};

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .exec()
        .expect("cargo metadata")
}

/// Names of all that `package` is built from: normal and build dependencies, with the features it asks for itself.
fn tree(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = std::process::Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("utf-8");
    let names: BTreeSet<String> = text.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.contains(package) && names.len() > 3, "cargo tree said nothing of {package}");
    names
}

/// Workspace members that name `dependency` in their manifest, tests included.
fn direct_users(metadata: &Metadata, dependency: &str) -> BTreeSet<String> {
    let members = metadata.workspace_packages();
    let users = members.iter().filter(|p| p.dependencies.iter().any(|d| d.name == dependency));
    users.map(|p| p.name.to_string()).collect()
}

fn only(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn one_crate_speaks_pkcs11() {
    assert_eq!(direct_users(&metadata(), "cryptoki"), only(&["tgp-token"]));
}

#[test]
fn only_the_gateway_has_sql_and_http_serving() {
    let metadata = metadata();
    assert_eq!(direct_users(&metadata, "sqlx"), only(&["tgp"]));
    assert_eq!(direct_users(&metadata, "axum"), only(&["tgp"]));
    assert_eq!(direct_users(&metadata, "rustls"), only(&["tgp", "tgp-client"]));
}

#[test]
fn what_an_outsider_checks_has_no_runtime_no_database_and_no_token_in_its_tree() {
    for member in ["tgp-request", "tgp-authority", "tgp-policy"] {
        let tree = tree(member);
        for banned in [
            "tokio",
            "axum",
            "hyper",
            "sqlx",
            "cryptoki",
            "rustls",
            "tgp",
            "tgp-vault",
            "tgp-token",
            "tgp-vault-client",
        ] {
            assert!(!tree.contains(banned), "{member} is built from {banned}");
        }
    }
}

#[test]
fn the_vault_has_no_http_server_no_sql_and_no_runtime_in_its_tree() {
    let tree = tree("tgp-vault");
    for banned in ["tokio", "axum", "hyper", "sqlx", "rustls", "tgp", "tgp-client"] {
        assert!(!tree.contains(banned), "tgp-vault is built from {banned}");
    }
}

#[test]
fn imports_point_one_way() {
    let metadata = metadata();
    let layer = |path: &str| match path {
        p if p.contains("/attest/") => 0,
        p if p.contains("/vault/") => 1,
        _ => 2,
    };
    let members: BTreeMap<String, u8> =
        metadata.workspace_packages().iter().map(|p| (p.name.to_string(), layer(p.manifest_path.as_str()))).collect();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            if let Some(theirs) = members.get(&dependency.name) {
                assert!(*theirs <= members[package.name.as_str()], "{} imports {}", package.name, dependency.name);
            }
        }
    }
}

#[test]
fn attest_forbids_unsafe_code() {
    for member in ["authority", "policy", "request"] {
        let path = format!("{}/attest/{member}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("lib.rs");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{path}");
    }
}

/// Rust sources below `folder`, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut open = vec![std::path::PathBuf::from(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")))];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("readable").map(|entry| entry.expect("entry").path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).expect("readable")));
        }
    }
    found
}

#[test]
fn sql_is_written_only_in_the_store() {
    for (path, text) in sources("src") {
        assert!(path.contains("/src/store/") || !text.contains("sqlx::"), "{path} uses sqlx");
    }
}

#[test]
fn status_codes_are_named_only_where_http_is_spoken() {
    for (path, text) in sources("src") {
        let speaks = ["/src/http/", "/src/proxy/", "/src/cli/", "/src/dev/"].iter().any(|folder| path.contains(folder));
        assert!(speaks || !text.contains("StatusCode::"), "{path} names a status code");
    }
}

/// `` `test: name` `` in SECURITY.md and in docs/RESULTS.md is a promise that this test exists.
#[test]
fn every_test_that_security_md_names_exists() {
    let root = env!("CARGO_MANIFEST_DIR");
    let claims = std::fs::read_to_string(format!("{root}/SECURITY.md")).expect("SECURITY.md");
    let code: String =
        ["attest", "vault", "src", "sdk", "tests"].iter().flat_map(|f| sources(f)).map(|(_, text)| text).collect();
    let results = std::fs::read_to_string(format!("{root}/docs/RESULTS.md")).expect("RESULTS.md");
    for (page, text, least) in [("SECURITY.md", claims, 25), ("docs/RESULTS.md", results, 25)] {
        let names: Vec<&str> =
            text.split("`test: ").skip(1).map(|rest| rest.split('`').next().expect("closed")).collect();
        assert!(names.len() >= least, "only {} places of {page} name a test", names.len());
        for name in names {
            let plain = code.contains(&format!("fn {name}("));
            let row = code.contains(&format!("\"{name}\""));
            assert!(plain || row, "{page} names `{name}`, which is not there");
        }
    }
}

/// The workspace's table of dependencies and docs/DEPENDENCIES.md name the same crates.
#[test]
fn every_dependency_is_justified() {
    let root = env!("CARGO_MANIFEST_DIR");
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).expect("Cargo.toml");
    let table =
        manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("the table");
    let used: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !name.starts_with('#') && !name.starts_with("tgp-"))
        .collect();
    let docs = std::fs::read_to_string(format!("{root}/docs/DEPENDENCIES.md")).expect("DEPENDENCIES.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let justified: BTreeSet<&str> =
        rows.flat_map(|names| names.split('`')).map(str::trim).filter(|n| !n.is_empty() && *n != ",").collect();
    assert_eq!(used, justified);
}
