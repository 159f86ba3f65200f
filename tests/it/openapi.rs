//! Public OpenAPI documents of others, whole: imported, searched, called, imported again.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Deployment;
use crate::tools::{httpbin, secret_file};

/// A document that `scripts/openapi-documents` fetched.
fn document(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("openapi").join(name);
    assert!(path.exists(), "{} is missing; `make test` fetches it (scripts/openapi-documents)", path.display());
    path
}

fn notes(told: &Value) -> Vec<String> {
    let text = |note: &Value, member: &str| note[member].as_str().unwrap_or_default().to_owned();
    told["notes"]
        .as_array()
        .expect("notes")
        .iter()
        .map(|note| format!("{}: {}", text(note, "at"), text(note, "note")))
        .collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect()
}

/// Serves one file to whoever asks, over plain HTTP.
fn serve(text: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let asked = stream.read(&mut [0; 4096]).unwrap_or(0);
            if asked > 0 {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&text));
            }
        }
    });
    port
}

#[test]
fn a_public_document_of_1223_operations_is_imported_whole_and_what_it_cannot_say_is_said() {
    let deployment = Deployment::start();
    let server = httpbin();
    let github = document("github.json");
    let file = github.to_str().expect("utf-8");
    let planned = deployment.operator_json(&["tool", "add", "github", "--openapi", file, "--dry-run"]);
    assert_eq!(planned["upstream"], "https://api.github.com");
    let listed = deployment.operator_json(&["tool", "list"]);
    assert_eq!(listed["tools"].as_array().expect("tools").len(), 1, "a dry run adds nothing");

    // At an upstream that is there to be asked.
    let upstream = server.upstream();
    let added = deployment.operator_json(&[
        "tool",
        "add",
        "github",
        "--openapi",
        file,
        "--upstream",
        &upstream,
        "--allow-private",
        "--public-host",
        "api.github.com",
    ]);
    assert_eq!(added["actions"].as_array().expect("actions").len(), 1221);
    let said = notes(&added);
    assert_eq!(said.len(), 4, "{said:#?}");
    assert_eq!(
        said[0],
        "GET /repos/{owner}/{repo}/compare/{base}...{head}: left out: not a path template: a segment holds at most one parameter"
    );
    assert!(
        said[1]
            .starts_with("POST /repos/{owner}/{repo}/releases/{release_id}/assets: left out: it is at another server"),
        "{said:#?}"
    );
    assert!(said.iter().any(|note| note.contains("x-webhooks are requests that the tool makes")), "{said:?}");
    assert!(said.iter().any(|note| note.contains("1221 operationIds")), "{said:?}");
    let manifest = deployment.operator_json(&["tool", "show", "github", "--manifest"]);
    let create = manifest["actions"].as_array().expect("actions").iter().find(|it| it["name"] == "issues.create");
    let create = create.expect("issues.create");
    assert_eq!(
        (create["path"].as_str(), create["resource"].as_str()),
        (Some("/repos/{owner}/{repo}/issues"), Some("{owner}/{repo}"))
    );
    let body = &create["request"]["body"]["content"]["application/json"];
    assert_eq!(body["required"], serde_json::json!(["title"]));
    assert_eq!(create["request"]["parameters"][0]["name"], "owner");

    // Imported again, nothing is different; imported anew, what changed is shown, and grants stay.
    let secret = secret_file(&deployment, "github-secret-1");
    deployment.operator(&["tool", "credential", "github", "--bearer", "--secret-file", &secret]);
    let agent = deployment.agent("octo-bot");
    deployment.grant("octo-bot", "github", &["issues.create", "repos.get", "meta.*"]);
    let same = deployment.operator(&["tool", "update", "github", "--openapi", file]);
    assert!(same.starts_with("github stays as it is\n"), "{same}");
    let mut changed: Value = serde_json::from_slice(&std::fs::read(&github).expect("read")).expect("JSON");
    let paths = changed["paths"].as_object_mut().expect("paths");
    let issues = paths.remove("/repos/{owner}/{repo}/issues").expect("there");
    paths.insert("/repos/{owner}/{repo}/tickets".to_owned(), issues);
    paths["/repos/{owner}/{repo}"].as_object_mut().expect("a path").remove("get");
    paths.insert("/new".to_owned(), serde_json::json!({ "get": { "operationId": "meta/new" } }));
    let port = serve(changed.to_string().into_bytes());
    let url = format!("http://127.0.0.1:{port}/openapi.json");
    let dry = deployment.operator_json(&["tool", "update", "github", "--openapi", &url, "--dry-run"]);
    let update = deployment.operator_json(&["tool", "update", "github", "--openapi", &url]);
    for (told, applied) in [(&dry, false), (&update, true)] {
        assert_eq!(told["applied"], applied);
        assert_eq!(names(&told["diff"]["added"]), ["meta.new"]);
        assert_eq!(names(&told["diff"]["removed"]), ["repos.get"]);
        assert_eq!(names(&told["diff"]["changed"]), ["issues.create", "issues.list-for-repo"]);
        let grant = &told["grants"][0];
        assert_eq!(
            (&grant["loses"], &grant["moves"], &grant["gains"]),
            (
                &serde_json::json!(["repos.get"]),
                &serde_json::json!(["issues.create"]),
                &serde_json::json!(["meta.new"])
            )
        );
    }
    let granted = deployment.operator_json(&["grant", "list"]);
    assert_eq!(granted["grants"][0]["status"], "active");

    // What is called is what the manifest says now.
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let path = "/repos/octocat/hello/tickets";
        let reply = agent.call(&wire, "github", "issues.create", "POST", path, b"{}").await;
        assert_eq!(reply.status, 404, "httpbin was asked: {reply:?}");
        let token = agent.token(&wire, "github", "issues.create").await;
        let draft = agent.signed(&wire, &token, "POST", "/t/github/repos/octocat/hello/issues", b"{}");
        agent.send(&wire, &draft).await.refused(403, "action-unknown");
    });

    // The catalogue knows all of it, the agent's grants and the scope that it would have to ask for.
    let search = |path: &str| {
        let target = format!("/v1/tools{path}");
        let sent = wire.send(Some(&agent.certificate), "GET", &target, http::HeaderMap::new(), b"");
        deployment.runtime.block_on(sent).expect("an answer").ok().json()
    };
    let found = search("?q=create%20an%20issue&limit=3");
    let first = &found["tools"][0]["actions"][0];
    assert_eq!(
        (first["name"].as_str(), first["scope"].as_str()),
        (Some("issues.create"), Some("github:issues.create"))
    );
    assert!(first["granted_until"].is_i64() && found["next"].is_string(), "{found}");
    assert_eq!(found["tools"][0]["public_hosts"], serde_json::json!(["api.github.com"]));
    let found = search("?q=delete%20repositry&limit=1");
    assert!(found["tools"][0]["actions"][0]["granted_until"].is_null(), "{found}");
    let action = search("/github?action=issues.create");
    assert_eq!(action["actions"][0]["request"], create["request"]);
    assert_eq!(search("/mail")["grants"], serde_json::json!([]));

    // Page by page it is whole, and each action comes once.
    let (mut seen, mut cursor) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let page = search(&format!("/github?limit=100{cursor}"));
        let actions = names(&page["actions"]);
        assert!(actions.iter().all(|name| seen.insert((*name).to_owned())));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 1221);

    let directory = deployment.path("octo-bot");
    let output = deployment.tgp(&[
        "tool",
        "search",
        "create",
        "issue",
        "--tool",
        "github",
        "--agent",
        directory.to_str().expect("utf-8"),
    ]);
    let text = String::from_utf8(output.stdout).expect("utf-8");
    assert!(output.status.success() && text.contains("github:issues.create"), "{text}");
}

#[test]
fn a_public_document_in_yaml_is_imported_and_its_credential_and_server_are_told() {
    let deployment = Deployment::start();
    let figma = document("figma.yaml");
    let file = figma.to_str().expect("utf-8");
    let planned = deployment.operator_json(&["tool", "add", "figma", "--openapi", file, "--dry-run"]);
    assert_eq!(planned["upstream"], "https://api.figma.com");
    let text = deployment.operator(&["tool", "add", "figma", "--openapi", file]);
    assert!(text.contains("resource") && text.contains("Figma API 0.43.0"), "{text}");
    let operations = std::fs::read_to_string(&figma).expect("text").matches("\n      operationId: ").count();
    let shown = deployment.operator_json(&["tool", "show", "figma"]);
    assert_eq!(shown["actions"].as_array().expect("actions").len(), operations);
    // Flags that people set survive the next import.
    deployment.operator(&["tool", "update", "figma", "--stream", "postVariables", "--pass-header", "X-Figma-Beta"]);
    let again = deployment.operator(&["tool", "update", "figma", "--openapi", file]);
    assert!(again.starts_with("figma stays as it is\n"), "{again}");
    let output = deployment.tgp(&["tool", "update", "figma", "--stream", "nothing"]);
    assert_eq!(output.status.code(), Some(2));
}
