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
    // tgp-proof is a client of the product, and no part of it.
    assert_eq!(direct_users(&metadata, "rustls"), only(&["tgp", "tgp-client", "tgp-proof"]));
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
fn nothing_in_the_product_is_built_from_the_proofs() {
    for member in ["tgp", "tgp-vault", "tgp-client", "tgp-request"] {
        for banned in ["tgp-proof", "ring"] {
            assert!(!tree(member).contains(banned), "{member} is built from {banned}");
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

/// sqlx takes a statement that is no literal only inside `AssertSqlSafe`: one is, to name a tenant, whose id is a `Uuid`.
#[test]
fn no_statement_is_put_together_from_text_at_run_time() {
    for (path, text) in sources("src") {
        let uses = text.matches("AssertSqlSafe(").count();
        assert_eq!(uses, usize::from(path.ends_with("/src/store/mod.rs")), "{path} puts a statement together");
    }
}

#[test]
fn every_dependency_comes_from_the_one_registry() {
    let metadata = metadata();
    let members = metadata.workspace_members.len();
    let foreign = metadata.packages.iter().filter(|p| !p.source.as_ref().is_some_and(|source| source.is_crates_io()));
    let foreign: Vec<&str> = foreign.map(|package| package.name.as_str()).collect();
    assert_eq!(foreign.len(), members, "only our own come from elsewhere: {foreign:?}");
    assert!(metadata.packages.len() > 100);
}

#[test]
fn status_codes_are_named_only_where_http_is_spoken() {
    for (path, text) in sources("src") {
        let speaks = ["/src/http/", "/src/proxy/", "/src/cli/", "/src/dev/"].iter().any(|folder| path.contains(folder));
        assert!(speaks || !text.contains("StatusCode::"), "{path} names a status code");
    }
}

/// Programs are started with their arguments apart, never through a shell, and only by what runs on a developer's machine,
/// by the supervisor of `tgp serve --with-vault`, and to initialise a software token.
#[test]
fn programs_are_started_by_the_development_stack_and_the_supervisor_alone() {
    let allowed = ["/src/dev/", "/src/cli/serve.rs", "/vault/token/src/softhsm.rs"];
    let mut seen = 0;
    for (path, text) in ["src", "vault/service/src", "vault/client/src", "vault/token/src", "attest", "sdk/rust/src"]
        .iter()
        .flat_map(|folder| sources(folder))
    {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        if code.contains("process::Command") || code.contains("Command::new(\"") {
            assert!(allowed.iter().any(|part| path.contains(part)), "{path} starts a program");
            assert!(!code.contains("\"-c\"") && !code.contains("\"sh\""), "{path} goes through a shell");
            seen += 1;
        }
    }
    assert!(seen >= 3, "the search finds what is there");
}

/// What many requirements of ASVS are about and we have none of: nothing here can be made to interpret it.
#[test]
fn no_markup_query_or_script_interpreter_is_in_the_tree() {
    let tree = tree("tgp");
    for (what, crates) in [
        ("XML and HTML", &["quick-xml", "xml-rs", "roxmltree", "libxml", "html5ever", "scraper", "ammonia"][..]),
        ("templates", &["tera", "handlebars", "minijinja", "askama", "liquid"]),
        ("scripts", &["mlua", "rhai", "boa_engine", "rquickjs", "deno_core", "wasmtime"]),
        ("directories, caches, mail", &["ldap3", "memcache", "redis", "lettre"]),
        ("GraphQL and WebSocket", &["async-graphql", "juniper", "tungstenite", "tokio-tungstenite", "fastwebsockets"]),
        ("archives and images", &["zip", "tar", "flate2", "brotli", "zstd", "image", "async-compression"]),
        ("regular expressions that backtrack", &["fancy-regex", "pcre2", "onig"]),
        ("self-describing object formats", &["bincode", "serde_pickle", "ciborium", "serde_yaml", "ron"]),
        ("cookies and sessions", &["cookie", "tower-sessions", "axum-extra"]),
        ("a second TLS stack or old algorithms", &["openssl", "native-tls", "ring", "rsa", "des", "rc4"]),
    ] {
        for name in crates {
            assert!(!tree.contains(*name), "{name} is in the tree: {what} would need an answer in docs/ASVS.md");
        }
    }
}

/// `unsafe` is denied everywhere; where a line needs it all the same, the reason and the invariant stand there.
#[test]
fn unsafe_code_is_denied_and_argued_where_it_is_excepted() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("[workspace.lints.rust]\nunsafe_code = \"deny\""));
    for package in metadata().workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{} has lints of its own", package.name);
    }
    for (path, text) in ["src", "vault", "attest", "sdk"].iter().flat_map(|folder| sources(folder)) {
        let lines: Vec<&str> = text.lines().collect();
        for (n, _) in lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {")) {
            let above = lines[n.saturating_sub(6)..n].join("\n");
            assert!(above.contains("// SAFETY: "), "{path}:{} does not say why it is sound", n + 1);
            assert!(text.contains("unsafe_code, reason = "), "{path} does not say why it is excepted");
        }
    }
}

#[test]
fn arithmetic_of_ours_is_checked_in_release_builds_too() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("Cargo.toml");
    let table = manifest.split("[profile.release.package]\n").nth(1).expect("the table");
    let table = table.split("\n[").next().unwrap_or_default();
    for package in metadata().workspace_packages() {
        let line = format!("{} = {{ overflow-checks = true }}", package.name);
        assert!(table.lines().any(|own| own == line), "{} wraps around", package.name);
    }
}

/// `` `test: name` `` in one of these pages is a promise that this test exists: a function that a test runner runs, or a
/// named row of a table of cases.
#[test]
fn every_test_that_security_md_names_exists() {
    let root = env!("CARGO_MANIFEST_DIR");
    let code: Vec<String> =
        ["attest", "vault", "src", "sdk", "tests"].iter().flat_map(|f| sources(f)).map(|(_, text)| text).collect();
    let mut tests: BTreeSet<&str> = BTreeSet::new();
    for text in &code {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for n in lines.iter().enumerate().filter(|(_, l)| l.starts_with("#[test]") || l.starts_with("#[tokio::test")) {
            let named = lines[n.0 + 1..].iter().find(|line| line.contains("fn ")).and_then(|l| l.split("fn ").nth(1));
            tests.extend(named.and_then(|rest| rest.split('(').next()));
        }
    }
    assert!(tests.len() > 200, "only {} tests were found", tests.len());
    for (page, least) in
        [("SECURITY.md", 25), ("docs/RESULTS.md", 25), ("docs/ASVS.md", 100), ("docs/vulnerabilities-of-others.md", 20)]
    {
        let claims = std::fs::read_to_string(format!("{root}/{page}")).expect(page);
        let names: Vec<&str> =
            claims.split("`test: ").skip(1).map(|rest| rest.split('`').next().expect("closed")).collect();
        assert!(names.len() >= least, "{page}: only {} claims name a test", names.len());
        for name in names {
            // A row of a table, or a test that a macro makes with a scene of its own.
            let scene = format!("fn {name}(scene)");
            let row = code.iter().any(|text| text.contains(&format!("\"{name}\"")) || text.contains(&scene));
            assert!(tests.contains(name) || row, "{page} names `{name}`, which is not there");
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
