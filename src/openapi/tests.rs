use serde_json::json;

use super::*;

fn read(document: &Value) -> Import {
    import(document.to_string().as_bytes(), None).expect("a document")
}

fn petstore() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Pets", "version": "1.2", "description": "All\r\nof\u{7}them." },
        "servers": [{ "url": "https://{where}.example/v1", "variables": { "where": { "default": "pets" } } }],
        "paths": {
            "/pets": {
                "parameters": [{ "$ref": "#/components/parameters/page" }],
                "get": {
                    "operationId": "listPets", "summary": "List pets",
                    "parameters": [
                        { "name": "X-Trace", "in": "header", "schema": { "type": "string" } },
                        { "name": "Accept", "in": "header", "schema": { "type": "string" } },
                        { "name": "session", "in": "cookie", "schema": { "type": "string" } },
                        { "name": "Authorization2", "in": "header" },
                    ],
                },
                "post": { "operationId": "pets/add-one", "requestBody": { "$ref": "#/components/requestBodies/pet" } },
            },
            "/pets/{owner}/{pet}": { "delete": {}, "trace": {} },
            "/{a}{b}": { "get": { "operationId": "odd" } },
            "/else": { "get": { "servers": [{ "url": "https://other.example" }] } },
        },
        "components": {
            "parameters": { "page": { "name": "page", "in": "query", "required": true, "schema": { "type": "integer", "example": 3 } } },
            "requestBodies": { "pet": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } } } } },
            "schemas": {
                "Pet": {
                    "type": "object", "x-internal": true, "example": { "name": "Rex" },
                    "properties": {
                        "name": { "type": "string" }, "example": { "type": "string" },
                        "parents": { "type": "array", "items": { "$ref": "#/components/schemas/Pet" } },
                        "lost": { "$ref": "#/components/schemas/Gone" }, "far": { "$ref": "https://x.example/schema" },
                    },
                },
            },
            "securitySchemes": { "one": { "type": "http", "scheme": "bearer" }, "two": { "type": "apiKey", "in": "header", "name": "X-Key" } },
        },
        "webhooks": { "newPet": {} },
    })
}

fn said(import: &Import) -> Vec<String> {
    import.notes.iter().map(|note| format!("{}: {}", note.at, note.note)).collect()
}

#[test]
fn operations_become_actions_and_the_rest_is_said() {
    let import = read(&petstore());
    assert_eq!(import.upstream.as_deref(), Some("https://pets.example/v1"));
    assert_eq!(import.credentials, ["bearer", "header X-Key"]);
    assert_eq!((import.version.as_str(), import.manifest.title.as_str()), ("1.2", "Pets"));
    assert_eq!(import.manifest.description, "All\nof them.");
    assert_eq!(import.manifest.headers, ["authorization2", "x-trace"]);
    let routes: Vec<String> = import
        .manifest
        .actions
        .iter()
        .map(|it| format!("{} {} {} on {}", it.name, it.method, it.path, it.resource.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        routes,
        [
            "listPets GET /pets on -",
            "pets.add-one POST /pets on -",
            "delete.pets.owner.pet DELETE /pets/{owner}/{pet} on {owner}/{pet}",
        ]
    );
    assert_eq!(
        said(&import),
        [
            "GET /else: left out: it is at another server, https://other.example: make that a tool of its own",
            "GET /pets: cookie parameter session: no cookie goes upstream",
            "POST /pets: #/components/schemas/Gone is not in the document: anything will do there",
            "POST /pets: https://x.example/schema is not in the document: anything will do there",
            "TRACE /pets/{owner}/{pet}: left out: trace is no method that is forwarded",
            "GET /{a}{b}: left out: not a path template: a segment holds at most one parameter",
            "document: 1 webhooks are requests that the tool makes, not takes: left out",
            "document: 1 operationIds hold what no action's name may: that is a dot now (pets/add-one is pets.add-one)",
        ]
    );
    import.manifest.check().expect("it holds together");
}

#[test]
fn schemas_are_kept_with_their_references_in_place_and_cycles_end() {
    let import = read(&petstore());
    let request = |n: usize| serde_json::to_value(&import.manifest.actions[n].request).expect("a request");
    assert_eq!(
        request(0)["parameters"][0],
        json!({ "name": "page", "in": "query", "required": true, "schema": { "type": "integer" } })
    );
    let pet = &request(1)["body"]["content"]["application/json"];
    assert_eq!(pet["properties"]["parents"]["items"], json!({ "$comment": "Pet again" }));
    assert_eq!(pet["properties"]["example"], json!({ "type": "string" }));
    assert_eq!(pet["properties"]["lost"], json!({}));
    assert!(pet.get("x-internal").is_none() && pet.get("example").is_none());
    assert!(import.manifest.actions[2].request.is_none());
}

#[test]
fn yaml_reads_as_json_does() {
    let yaml = "openapi: 3.1.0\ninfo: {title: Pets, version: '1'}\npaths:\n  /pets:\n    get:\n      operationId: list\n      \
                parameters:\n        - {name: on, in: query, schema: {enum: [yes, no]}}\n      responses:\n        200: {description: ok}\n";
    let import = import(yaml.as_bytes(), None).expect("a document");
    let request = import.manifest.actions[0].request.as_ref().expect("parameters");
    assert_eq!(
        (request.parameters[0].name.as_str(), &request.parameters[0].schema),
        ("on", &json!({ "enum": ["yes", "no"] }))
    );
    assert_eq!(import.upstream, None);
}

#[test]
fn operations_that_share_a_name_have_names_that_the_others_do_not_change() {
    let with = |more: Value| {
        let mut paths = json!({
            "/a": { "get": { "operationId": "same" } },
            "/b": { "get": { "operationId": "same" } },
            "/c": { "get": { "operationId": "other" } },
        });
        paths.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let document = json!({ "openapi": "3.1.0", "paths": paths });
        let actions = read(&document).manifest.actions;
        actions.into_iter().map(|action| (action.path, action.name)).collect::<BTreeMap<_, _>>()
    };
    let (few, more) = (with(json!({})), with(json!({ "/0": { "get": { "operationId": "same" } } })));
    assert!(few["/a"].starts_with("same.") && few["/b"].starts_with("same.") && few["/a"] != few["/b"]);
    assert_eq!(few["/c"], "other");
    assert!(few.iter().all(|(path, name)| more[path] == *name), "{few:?} {more:?}");
    let alone = read(&json!({ "openapi": "3.1.0", "paths": { "/a": { "get": { "operationId": "same" } } } }));
    assert_ne!(alone.manifest.actions[0].name, few["/a"], "a grant for the one name opens neither of two");
}

#[test]
fn an_operation_cannot_take_the_name_that_another_gets() {
    let plain = json!({ "openapi": "3.1.0", "paths": {
        "/a": { "get": { "operationId": "same" } }, "/b": { "get": { "operationId": "same" } },
    } });
    let target = read(&plain).manifest.actions[0].name.clone();
    let mut sly = plain;
    sly["paths"]["/c"] = json!({ "get": { "operationId": target } });
    let import = read(&sly);
    assert_eq!(import.manifest.actions.len(), 3);
    assert!(import.manifest.actions.iter().all(|action| action.name != target), "{:?}", import.manifest.actions);
    import.manifest.check().expect("it holds together");
}

#[test]
fn requests_that_cannot_be_told_apart_are_one_action() {
    let document = json!({ "openapi": "3.0.0", "paths": {
        "/x/{a}": { "get": { "operationId": "one" } }, "/x/{b}": { "get": { "operationId": "two" } },
    } });
    let import = read(&document);
    assert_eq!(import.manifest.actions.len(), 1);
    assert!(
        said(&import).iter().any(|line| line == "GET /x/{b}: left out: its requests are those of GET /x/{a}"),
        "{:?}",
        import.notes
    );
}

#[test]
fn what_was_set_by_hand_is_kept_and_follows_neither_name_nor_path_alone() {
    let mut before = read(&petstore()).manifest;
    before.actions[1].stream = true;
    before.headers.push("x-by-hand".to_owned());
    before.public_hosts.push("pets.example".to_owned());
    let again = import(petstore().to_string().as_bytes(), Some(&before)).expect("a document").manifest;
    assert_eq!((again.headers.len(), again.public_hosts.len(), again.actions[1].stream), (3, 1, true));
    let mut moved = petstore();
    let item = moved["paths"]["/pets"].take();
    moved["paths"]["/animals"] = item;
    moved["paths"].as_object_mut().expect("an object").remove("/pets");
    let again = import(moved.to_string().as_bytes(), Some(&before)).expect("a document").manifest;
    assert!(again.actions.iter().all(|action| !action.stream));
}

#[test]
fn documents_that_are_none_are_refused_with_the_reason() {
    let reason = |text: &str| import(text.as_bytes(), None).expect_err(text).to_string();
    assert!(reason("{").contains("neither JSON nor YAML"));
    assert!(reason("a: [").contains("neither JSON nor YAML"));
    assert!(reason("swagger: '2.0'\npaths: {}").contains("Swagger 2.0"));
    assert!(reason("openapi: 4.0.0").contains("4.0.0"));
    assert!(reason("openapi: 3.01.0").contains("3.01.0"));
    assert!(reason("{\"paths\":{}}").contains("nothing"));
    assert!(reason("openapi: 3.1.0\npaths: {}").contains("no operation"));
    assert!(reason("openapi: 3.1.0\npaths: {x: {get: {}}}").contains("starts with a slash"));
    assert!(
        reason(&format!("{{\"openapi\":\"3.1.0\",\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200))).contains("line 1")
    );
    assert!(reason("{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"\\u0000\"}}").contains("NUL"));
    assert_eq!(import(&vec![b' '; LONGEST_DOCUMENT + 1], None).err(), Some(DocumentError::TooLong));
    assert_eq!(import(b"\xff", None).err(), Some(DocumentError::NotText));
}

#[test]
fn bombs_are_defused() {
    // Each schema has the next one twice: two to the power of forty in all.
    let mut schemas = Map::new();
    for n in 0..40 {
        let next = json!({ "$ref": format!("#/components/schemas/s{}", n + 1) });
        schemas.insert(format!("s{n}"), json!({ "type": "object", "properties": { "a": next, "b": next } }));
    }
    let body = json!({ "content": { "a/b": { "schema": { "$ref": "#/components/schemas/s0" } } } });
    let document = json!({
        "openapi": "3.1.0", "components": { "schemas": schemas },
        "paths": { "/x": { "post": { "operationId": "x", "requestBody": body } } },
    });
    let import_of = read(&document);
    assert!(said(&import_of).iter().any(|line| line.contains("not all of them are kept")), "{:?}", import_of.notes);
    import_of.manifest.check().expect("it holds together");

    let mut yaml = "openapi: 3.1.0\nl0: &l0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*l{}, ", n - 1).repeat(10);
        yaml.push_str(&format!("l{n}: &l{n} [{before}]\n"));
    }
    assert!(matches!(import(yaml.as_bytes(), None), Err(DocumentError::Syntax(_))));
    let loops =
        json!({ "openapi": "3.1.0", "paths": { "/x": { "$ref": "#/paths/~1y" }, "/y": { "$ref": "#/paths/~1x" } } });
    assert!(matches!(import(loops.to_string().as_bytes(), None), Err(DocumentError::NoOperations(Some(_)))));
}

#[test]
fn what_an_operation_touches_is_what_its_path_can_give_or_is_said_to_be_missing() {
    let long: String = (0..20).map(|n| format!("/{{{}{n:02}}}", "x".repeat(30))).collect();
    let import = read(&json!({
        "openapi": "3.1.0", "info": {},
        "paths": { "/files/{name%2F}": { "get": {} }, &long: { "get": {} } },
    }));
    let resources: Vec<_> = import.manifest.actions.iter().map(|action| action.resource.as_deref()).collect();
    assert_eq!(resources, [Some("{name}"), None]);
    assert!(said(&import).iter().any(|note| note.contains("what it touches is not told")), "{:?}", import.notes);
    import.manifest.check().expect("it holds together");
}
