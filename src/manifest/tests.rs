use serde_json::json;

use super::*;

fn manifest(value: Value) -> ToolManifest {
    serde_json::from_value(value).expect("a manifest")
}

fn mail() -> Value {
    json!({
        "title": "Mail", "public_hosts": ["mail.example", "[::1]:8080"], "headers": ["x-github-api-version"],
        "actions": [
            { "name": "read", "method": "GET", "path": "/messages/{id}", "resource": "{id}" },
            { "name": "send", "method": "POST", "path": "/messages", "stream": true, "description": "Sends it.\nNow.",
              "request": { "body": { "required": true, "content": { "application/json": { "type": "object" } } } } },
        ],
    })
}

#[test]
fn a_manifest_is_stored_and_read_back_as_it_was() {
    let written = manifest(mail());
    let (about, actions) = written.clone().check().expect("whole").into_stored().expect("stored");
    assert_eq!(ToolManifest::stored(&about, actions).expect("read"), written);
    assert_eq!(ToolManifest::stored(&json!({}), Vec::new()).expect("an old one"), ToolManifest::default());
}

#[test]
fn what_does_not_hold_together_is_refused_and_named() {
    let with = |pointer: &str, value: Value| {
        let mut changed = mail();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        changed
    };
    for (changed, named) in [
        (with("/actions", json!([])), "1 to 4096 actions"),
        (with("/actions/0/name", json!("send")), "two of this name"),
        (with("/actions/0/name", json!("re ad")), "re ad"),
        (with("/actions/0/method", json!("get")), "read"),
        (with("/actions/0/path", json!("messages")), "read"),
        (
            with("/actions/1", json!({ "name": "other", "method": "GET", "path": "/messages/{other}" })),
            "read and other",
        ),
        (with("/title", json!("x".repeat(201))), "title"),
        (with("/title", json!("a\u{1b}b")), "title"),
        (with("/actions/1/description", json!("x".repeat(4001))), "send: description"),
        (with("/public_hosts", json!(["https://mail.example"])), "public_hosts"),
        (with("/public_hosts", json!(["Mail.example"])), "public_hosts"),
        (with("/public_hosts", json!(["a.example", "a.example"])), "twice"),
        (with("/headers", json!(["X-Api"])), "lower case"),
        (with("/headers", json!(["authorization"])), "never goes upstream"),
        (with("/headers", json!(["x-http-method-override"])), "never goes upstream"),
        (with("/headers", json!(["x-forwarded-for"])), "never goes upstream"),
        (
            with("/actions/1/request/body/content/application~1json", json!({ "x": "y".repeat(40_000) })),
            "send: request",
        ),
        (with("/actions/1/request/body/content/application~1json", json!({ "x": "\0" })), "NUL"),
    ] {
        let problem = manifest(changed.clone()).check().expect_err(named).to_string();
        assert!(problem.contains(named), "{problem} does not name {named}");
    }
}

#[test]
fn members_that_nobody_knows_are_refused() {
    for (pointer, member) in [("", "websocket"), ("/actions/0", "websocket"), ("/actions/1/request", "reply")] {
        let mut changed = mail();
        changed.pointer_mut(pointer).expect("there")[member] = json!(true);
        assert!(serde_json::from_value::<ToolManifest>(changed).is_err(), "{member} at {pointer:?}");
    }
    let sequence = json!({ "actions": [["read", "GET", "/x"]] });
    assert!(serde_json::from_value::<ToolManifest>(sequence).is_err());
}

#[test]
fn a_diff_tells_what_came_what_went_and_what_now_means_something_else() {
    let mut changed = mail();
    changed["title"] = json!("Post");
    changed["actions"][0]["path"] = json!("/letters/{id}");
    changed["actions"][1]["name"] = json!("post");
    let diff = Diff::between(&manifest(mail()), &manifest(changed));
    assert_eq!(diff.about, ["title"]);
    assert_eq!(diff.added.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), ["post"]);
    assert_eq!(diff.lost().collect::<Vec<_>>(), ["send"]);
    assert_eq!(diff.moved().collect::<Vec<_>>(), ["read"]);
    assert_eq!(diff.changed[0].before.as_deref(), Some("GET /messages/{id}"));
    assert_eq!(diff.changed[0].differs, ["path"]);
    assert!(Diff::between(&manifest(mail()), &manifest(mail())).is_empty());
}
