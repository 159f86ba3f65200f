//! The operators' listener: JSON that two readers could read in two ways, statements that do not fit, paths that are not.

use serde_json::Value;

use crate::table::{Answer, Case, run};
use crate::wire::{Certificate, Wire};
use crate::world::World;

/// Method, path and body; `{deep}` is five thousand arrays, `{statement}` the signed invitation of `travel-bot`,
/// `{credential:PLACEMENT}` a statement for a credential of `mail` under the invitation's signature.
pub type Line = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
pub const CASES: &[Case<Line>] = &[
    ("the agents", ("GET", "/v1/agents", ""), 200, ""),
    ("not JSON", ("POST", "/v1/agents", "x"), 400, "request-malformed"),
    ("an array", ("POST", "/v1/agents", "[]"), 400, "request-malformed"),
    ("nothing", ("POST", "/v1/agents", ""), 400, "request-malformed"),
    ("no statement", ("POST", "/v1/agents", "{}"), 400, "request-malformed"),
    ("something after the object", ("POST", "/v1/grants", "{\"statement\":{statement}} x"), 400, "request-malformed"),
    ("a member twice", ("POST", "/v1/grants", "{\"statement\":{statement},\"statement\":{statement}}"), 400, "request-malformed"),
    ("a member that nobody knows", ("POST", "/v1/grants", "{\"statement\":{statement},\"x\":1}"), 400, "request-malformed"),
    ("a statement with a member twice", ("POST", "/v1/agents", "{\"invitation\":{\"signature\":\"x\",\"signature\":\"y\",\"statement\":{}}}"), 400, "request-malformed"),
    ("a statement of great depth", ("POST", "/v1/grants", "{\"statement\":{deep}}"), 400, "request-malformed"),
    ("a tool whose actions are not in a manifest", ("POST", "/v1/tools", "{\"slug\":\"a\",\"upstream\":\"https://x.example\",\"actions\":[]}"), 400, "request-malformed"),
    ("a manifest without actions", ("PUT", "/v1/tools/mail/manifest", "{\"actions\":[]}"), 400, "request-malformed"),
    ("a manifest with a flag that nobody knows", ("PUT", "/v1/tools/mail/manifest", "{\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\",\"websocket\":true}]}"), 400, "request-malformed"),
    ("a manifest of another kind", ("PUT", "/v1/tools/mail/manifest", "{\"kind\":\"ftp\",\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"}]}"), 400, "request-malformed"),
    ("a manifest with an action as a sequence", ("PUT", "/v1/tools/mail/manifest", "{\"actions\":[[\"a\",\"GET\",\"/\"]]}"), 400, "request-malformed"),
    ("a manifest with an action twice", ("PUT", "/v1/tools/mail/manifest", "{\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"},{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/b\"}]}"), 400, "request-malformed"),
    ("a manifest that lets the proof through", ("PUT", "/v1/tools/mail/manifest", "{\"headers\":[\"authorization\"],\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"}]}"), 400, "request-malformed"),
    ("a manifest that lets another method through", ("PUT", "/v1/tools/mail/manifest", "{\"headers\":[\"x-http-method-override\"],\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"}]}"), 400, "request-malformed"),
    ("a manifest of a tool that is not there", ("PUT", "/v1/tools/nothing/manifest", "{\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"}]}"), 404, "not-found"),
    ("a manifest over one that has changed", ("PUT", "/v1/tools/mail/manifest?version=1", "{\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"}]}"), 409, "conflict"),
    ("a manifest that may be tried", ("PUT", "/v1/tools/mail/manifest?dry_run=perhaps", "{\"actions\":[{\"name\":\"a\",\"method\":\"GET\",\"path\":\"/\"}]}"), 400, "request-malformed"),
    ("an OpenAPI document that is none", ("POST", "/v1/openapi", "hello"), 400, "request-malformed"),
    ("an OpenAPI document of version 2", ("POST", "/v1/openapi", "{\"swagger\":\"2.0\",\"paths\":{}}"), 400, "request-malformed"),
    ("an OpenAPI document of great depth", ("POST", "/v1/openapi", "{\"openapi\":\"3.1.0\",\"x\":{deep}}"), 400, "request-malformed"),
    ("an OpenAPI document with NUL", ("POST", "/v1/openapi", "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"\\u0000\"},\"paths\":{\"/\":{\"get\":{}}}}"), 400, "request-malformed"),
    ("an OpenAPI document in YAML that multiplies", ("POST", "/v1/openapi", "{laughs}"), 400, "request-malformed"),
    ("an OpenAPI document for a tool that is not there", ("POST", "/v1/openapi?tool=nothing", "{}"), 404, "not-found"),
    ("a member of great depth", ("POST", "/v1/tools", "{\"slug\":{deep}}"), 400, "request-malformed"),
    ("a huge number", ("POST", "/v1/agents", "{\"invitation\":1e999999}"), 400, "request-malformed"),
    ("a number of a thousand digits", ("POST", "/v1/tools", "{\"slug\":{digits}}"), 400, "request-malformed"),
    ("a string that is not UTF-8 escaped", ("POST", "/v1/tools", "{\"slug\":\"\\ud800\"}"), 400, "request-malformed"),
    ("a tool with a member twice", ("POST", "/v1/tools", "{\"slug\":\"a\",\"slug\":\"b\",\"upstream\":\"https://x.example\",\"manifest\":{\"actions\":[]}}"), 400, "request-malformed"),
    ("an invitation where a grant is ordered", ("POST", "/v1/grants", "{\"statement\":{statement}}"), 403, "statement-refused"),
    ("an invitation where a key is ordered", ("POST", "/v1/deks", "{\"statement\":{statement}}"), 403, "statement-refused"),
    ("an invitation where a certificate is ordered", ("POST", "/v1/server/certificates", "{\"statements\":[{statement}]}"), 403, "statement-refused"),
    ("an invitation where a roster is ordered", ("POST", "/v1/roster", "{\"statements\":[{statement}]}"), 403, "statement-refused"),
    ("no statements where a roster is ordered", ("POST", "/v1/roster", "{\"statements\":[]}"), 403, "statement-refused"),
    ("an invitation that was used", ("POST", "/v1/agents", "{\"invitation\":{statement}}"), 409, "conflict"),
    ("an invitation that was altered", ("POST", "/v1/agents", "{\"invitation\":{altered}}"), 403, "statement-refused"),
    ("a freeze that is there already", ("POST", "/v1/agents/frozen-bot/freeze", ""), 409, "conflict"),
    ("a freeze of nobody", ("POST", "/v1/agents/nobody/freeze", ""), 404, "not-found"),
    ("an agent of no name", ("GET", "/v1/agents/", ""), 404, "not-found"),
    ("an agent by its handle in capitals", ("GET", "/v1/agents/TRAVEL-BOT", ""), 404, "not-found"),
    ("an agent by dot segments", ("GET", "/v1/agents/../keys", ""), 404, "not-found"),
    ("an agent by SQL", ("GET", "/v1/agents/x'%20or%20'1'='1", ""), 404, "not-found"),
    ("an agent by NUL, escaped", ("GET", "/v1/agents/%00", ""), 404, "not-found"),
    ("a page that is no number", ("GET", "/v1/audit?after=x", ""), 400, "request-malformed"),
    ("a page of a huge number", ("GET", "/v1/audit?after=99999999999999999999", ""), 400, "request-malformed"),
    ("a query with a malformed escape", ("GET", "/v1/agents?after=%zz", ""), 400, "request-malformed"),
    ("a statement as a sequence", ("POST", "/v1/deks", "[{statement}]"), 400, "request-malformed"),
    ("a query with NUL", ("GET", "/v1/agents?after=%00", ""), 400, "request-malformed"),
    ("a tenant that is no UUID", ("GET", "/v1/agents?tenant=x", ""), 400, "request-malformed"),
    ("a credential with a member twice", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{statement},\"salt\":\"AAAA\",\"secret\":\"a\",\"secret\":\"b\"}"), 400, "request-malformed"),
    ("a credential without its salt", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{statement},\"secret\":\"a\"}"), 400, "request-malformed"),
    ("a credential whose secret is an array", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{statement},\"salt\":\"AAAA\",\"secret\":[97]}"), 400, "request-malformed"),
    ("a credential whose secret is of great depth", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{statement},\"salt\":\"AAAA\",\"secret\":{deep}}"), 400, "request-malformed"),
    ("an invitation where a credential is ordered", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{statement},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a credential of a tool that is not there", ("PUT", "/v1/tools/nothing/credential", "{\"statement\":{statement},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 404, "not-found"),
    ("a credential of an unknown kind", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"telepathy\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a credential in a field that frames", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"header\",\"name\":\"content-length\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a credential in two parameters", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"query\",\"name\":\"a&b\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a credential for a region with a path in it", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"aws-sigv4\",\"region\":\"eu/x\",\"service\":\"s3\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a client certificate in the clear", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"client-certificate\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a token endpoint with a user in it", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"oauth2\",\"grant\":\"client_credentials\",\"token_endpoint\":\"https://a@b/token\",\"client_id\":\"c\",\"client_auth\":\"client_secret_basic\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a token for a client that shows nothing", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"oauth2\",\"grant\":\"client_credentials\",\"token_endpoint\":\"https://a.example/token\",\"client_id\":\"c\",\"client_auth\":\"none\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a good credential that nobody signed", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"bearer\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 403, "statement-refused"),
    ("a token endpoint at a metadata address", ("PUT", "/v1/tools/mail/credential", "{\"statement\":{credential:{\"kind\":\"oauth2\",\"grant\":\"client_credentials\",\"token_endpoint\":\"http://169.254.169.254/token\",\"client_id\":\"c\",\"client_auth\":\"client_secret_basic\"}},\"salt\":\"AAAA\",\"secret\":\"a\"}"), 400, "request-malformed"),
    ("a path that is not there", ("GET", "/v1/nothing", ""), 404, "not-found"),
    ("a method that is not there", ("DELETE", "/v1/agents", ""), 404, "not-found"),
    ("a path with two slashes", ("GET", "//v1/agents", ""), 404, "not-found"),
    ("an agents' route", ("GET", "/oauth2/jwks", ""), 404, "not-found"),
    ("a tool's route", ("GET", "/t/mail/messages", ""), 404, "not-found"),
    ("a body of more than 1 MiB", ("POST", "/v1/grants", "{long}"), 413, "body-too-large"),
];

/// Each line has the one before ten times.
fn laughs() -> String {
    let mut yaml = "openapi: 3.1.0\nl0: &l0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        yaml.push_str(&format!("l{n}: &l{n} [{}]\n", format!("*l{}, ", n - 1).repeat(10)));
    }
    yaml
}

fn attempt(world: &World, (method, path, body): Line) -> Answer {
    let statement = world.deployment.sql("postgres", "select invitation from agent where handle = 'travel-bot'");
    let body = with_credential(world, body, &statement)
        .replace("{statement}", &statement)
        .replace("{altered}", &statement.replace("travel-bot", "eve-bot"))
        .replace("{deep}", &format!("{}{}", "[".repeat(5000), "]".repeat(5000)))
        .replace("{digits}", &"9".repeat(1000))
        .replace("{laughs}", &laughs())
        .replace("{long}", &"x".repeat(1024 * 1024 + 1));
    let directory = world.deployment.path("d/operator");
    let certificate = Certificate { chain: directory.join("operator.crt"), key: directory.join("operator.key") };
    let wire = Wire { port: world.deployment.stack.ports().operators, ..world.wire.clone() };
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    let sent = wire.send(Some(&certificate), method, path, headers, body.as_bytes());
    let reply = world.block(sent).expect("an answer");
    // Reading is no act: it is not on record unless it was refused.
    let mut answer = Answer::of(&reply, reply.status >= 400);
    answer.forwarded = false;
    answer
}

/// Writes the credential's statement into the place that names its placement.
fn with_credential(world: &World, body: &str, invitation: &str) -> String {
    let Some((before, rest)) = body.split_once("{credential:") else { return body.to_owned() };
    let (placement, after) = rest.split_once("}}").expect("a placement and its end");
    let mut signed: Value = serde_json::from_str(invitation).expect("JSON");
    signed["statement"]["op"] = "credential".into();
    signed["statement"]["params"] = serde_json::json!({
        "tenant": signed["statement"]["params"]["tenant"],
        "tool": "mail",
        "resource": format!("{}/t/mail", world.wire.issuer),
        "version": 9,
        "origins": ["http://127.0.0.1"],
        "placement": serde_json::from_str::<Value>(&format!("{placement}}}")).expect("JSON"),
        "secret_sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    });
    format!("{before}{signed}{after}")
}

#[test]
fn the_operators_listener() {
    let world = World::start();
    world.deployment.agent("frozen-bot");
    world.deployment.operator(&["agent", "freeze", "frozen-bot"]);
    run(&world, CASES, attempt);
}
