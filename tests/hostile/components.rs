//! Covered components: missing, doubled, reordered, respelled, with parameters of their own.

use crate::plan::{BODY, Plan, attempt, sha256};
use crate::table::{Case, run};
use crate::world::World;

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Plan<'_>)>] = &[
    ("a good request", |_| {}, 200, ""),
    ("a good request over HTTP/2", |p| p.http2 = true, 200, ""),
    ("components in reverse order", |p| p.components.reverse(), 200, ""),
    ("components sorted otherwise", |p| p.components.rotate_left(2), 200, ""),
    ("without @method", |p| p.uncover("@method"), 400, "signature-invalid"),
    ("without @target-uri", |p| p.uncover("@target-uri"), 400, "signature-invalid"),
    ("without authorization", |p| p.uncover("authorization"), 400, "signature-invalid"),
    ("a body without content-digest covered", |p| p.uncover("content-digest"), 400, "signature-invalid"),
    ("a body without content-type covered", |p| p.uncover("content-type"), 400, "signature-invalid"),
    ("no component at all", |p| p.components.clear(), 400, "signature-invalid"),
    ("@method twice", |p| p.cover("@method"), 400, "signature-invalid"),
    ("@target-uri twice", |p| p.cover("@target-uri"), 400, "signature-invalid"),
    ("authorization twice", |p| p.cover("authorization"), 400, "signature-invalid"),
    ("content-digest twice", |p| p.cover("content-digest"), 400, "signature-invalid"),
    ("@authority in place of @target-uri", |p| { p.uncover("@target-uri"); p.cover("@authority") }, 400, "signature-invalid"),
    ("@path and @query in place of @target-uri", |p| { p.uncover("@target-uri"); p.cover("@path"); p.cover("@query") }, 400, "signature-invalid"),
    ("@authority beside @target-uri", |p| p.cover("@authority"), 200, ""),
    ("@scheme, @path, @query and @request-target too", |p| for it in ["@scheme", "@path", "@query", "@request-target"] { p.cover(it) }, 200, ""),
    ("@query-param of the query", |p| { p.target.push_str("?a=b%20c"); p.cover_as("\"@query-param\";name=\"a\"", "b%20c") }, 200, ""),
    ("@query-param that is not there", |p| { p.target.push_str("?a=b"); p.cover_as("\"@query-param\";name=\"c\"", "") }, 400, "signature-invalid"),
    ("@query-param that is there twice", |p| { p.target.push_str("?a=b&a=b"); p.cover_as("\"@query-param\";name=\"a\"", "b") }, 400, "signature-invalid"),
    ("@query-param without a name", |p| p.cover_as("\"@query-param\"", ""), 400, "signature-invalid"),
    ("@status, of a response", |p| p.cover_as("\"@status\"", "200"), 400, "signature-invalid"),
    ("@signature-params as a component", |p| p.cover_as("\"@signature-params\"", ""), 400, "signature-invalid"),
    ("an unknown derived component", |p| p.cover_as("\"@nothing\"", ""), 400, "signature-invalid"),
    ("an empty component name", |p| p.cover_as("\"\"", ""), 400, "signature-invalid"),
    ("a component in capitals", |p| p.respell("authorization", "\"Authorization\""), 400, "signature-invalid"),
    ("a component as a token", |p| p.respell("authorization", "authorization"), 400, "signature-invalid"),
    ("a component as bytes", |p| p.respell("authorization", ":YXV0aG9yaXphdGlvbg==:"), 400, "signature-invalid"),
    ("a component as an integer", |p| p.cover_as("1", ""), 400, "signature-invalid"),
    ("a component with a space in its name", |p| p.cover_as("\"content type\"", "application/json"), 400, "signature-invalid"),
    ("a covered field that is absent", |p| p.cover_as("\"x-absent\"", ""), 400, "signature-invalid"),
    ("a further field covered", |p| { p.add("x-trip", "to Rome"); p.cover("x-trip") }, 200, ""),
    ("a further field of two lines covered", |p| { p.add("x-trip", "a"); p.add("x-trip", "b"); p.cover("x-trip") }, 200, ""),
    ("a further field covered, changed afterwards", |p| { p.add("x-trip", "a"); p.cover("x-trip"); p.after = |p| p.set("x-trip", "b") }, 400, "signature-invalid"),
    ("a further field covered, its lines swapped", |p| { p.add("x-trip", "a"); p.add("x-trip", "b"); p.cover("x-trip"); p.after = |p| { p.set("x-trip", "b"); p.add("x-trip", "a") } }, 400, "signature-invalid"),
    ("a further field covered, removed afterwards", |p| { p.add("x-trip", "a"); p.cover("x-trip"); p.after = |p| p.remove("x-trip") }, 400, "signature-invalid"),
    ("a covered field that is not ASCII", |p| { p.fields.push(("x-trip".into(), "é".into())); p.cover("x-trip") }, 400, "signature-invalid"),
    ("authorization as bytes (bs) does not count", |p| { let value = format!(":{}:", base64(&p.value("authorization"))); p.uncover("authorization"); p.cover_as("\"authorization\";bs", &value) }, 400, "signature-invalid"),
    ("content-digest re-serialised (sf) does not count", |p| { p.uncover("content-digest"); p.cover_as("\"content-digest\";sf", &sha256(BODY)) }, 400, "signature-invalid"),
    ("content-digest by member (key) does not count", |p| { p.uncover("content-digest"); p.cover_as("\"content-digest\";key=\"sha-256\"", sha256(BODY).trim_start_matches("sha-256=")) }, 400, "signature-invalid"),
    ("content-digest;sf beside content-digest", |p| p.cover_as("\"content-digest\";sf", &sha256(BODY)), 200, ""),
    ("content-type;bs beside content-type", |p| p.cover_as("\"content-type\";bs", &format!(":{}:", base64("application/json"))), 200, ""),
    ("content-type;sf, whose type is not known", |p| p.cover_as("\"content-type\";sf", "application/json"), 400, "signature-invalid"),
    ("@method with a parameter", |p| p.respell("@method", "\"@method\";sf"), 400, "signature-invalid"),
    ("@method;req, of a response", |p| p.respell("@method", "\"@method\";req"), 400, "signature-invalid"),
    ("authorization;tr, of trailers", |p| p.cover_as("\"authorization\";tr", ""), 400, "signature-invalid"),
    ("a component's parameter twice", |p| p.cover_as("\"content-digest\";sf;sf", &sha256(BODY)), 400, "signature-invalid"),
    ("a component with two parameters", |p| p.cover_as("\"content-digest\";sf;bs", &sha256(BODY)), 400, "signature-invalid"),
    ("a component with five parameters", |p| p.cover_as("\"content-digest\";sf;a;b;c;d", &sha256(BODY)), 400, "signature-invalid"),
    ("a component with thousands of parameters", |p| { let many: String = (0..4000).map(|n| format!(";a{n}")).collect(); p.cover_as(&format!("\"content-digest\"{many}"), &sha256(BODY)) }, 400, "signature-invalid"),
    ("nine components with a parameter", |p| for n in 0..9 { p.add("x-trip", &format!("m{n}=1")); p.cover_as(&format!("\"x-trip\";key=\"m{n}\""), "1") }, 400, "signature-invalid"),
    ("eight components with a parameter", |p| for n in 0..8 { p.add("x-trip", &format!("m{n}=1")); p.cover_as(&format!("\"x-trip\";key=\"m{n}\""), "1") }, 200, ""),
    ("a hundred and thirty components", |p| for n in 0..130 { p.cover_as(&format!("\"x-{n}\""), "") }, 400, "signature-invalid"),
    ("another method than was signed", |p| p.after = |p| p.method = "DELETE".into(), 400, "signature-invalid"),
    ("another path than was signed", |p| p.after = |p| p.target = "/t/mail/events".into(), 400, "signature-invalid"),
    ("a query that was not signed", |p| p.after = |p| p.target.push_str("?all"), 400, "signature-invalid"),
    ("an empty query that was not signed", |p| p.after = |p| p.target.push('?'), 400, "signature-invalid"),
    ("another content-type than was signed", |p| p.after = |p| p.set("content-type", "text/plain"), 400, "signature-invalid"),
    ("another issuer's target-uri signed", |p| { let target = p.target.clone(); p.uncover("@target-uri"); p.cover_as("\"@target-uri\"", &format!("https://evil.example{target}")) }, 400, "signature-invalid"),
    ("the target-uri signed in capitals", |p| { let uri = p.value("@target-uri").replace("localhost", "LOCALHOST"); p.uncover("@target-uri"); p.cover_as("\"@target-uri\"", &uri) }, 400, "signature-invalid"),
    ("the method signed in lower case", |p| { p.uncover("@method"); p.cover_as("\"@method\"", "post") }, 400, "signature-invalid"),
    ("a content-type with space around it", |p| p.after = |p| p.set("content-type", " application/json "), 200, ""),
    ("no signature", |p| p.after = |p| { p.remove("signature"); p.remove("signature-input") }, 401, "signature-missing"),
    ("signature-input alone", |p| p.after = |p| p.remove("signature"), 400, "signature-invalid"),
    ("signature alone", |p| p.after = |p| p.remove("signature-input"), 400, "signature-invalid"),
    ("no authorization", |p| p.after = |p| p.remove("authorization"), 401, "token-missing"),
    ("another scheme", |p| p.set("authorization", "Basic Zm9vOmJhcg=="), 401, "token-missing"),
    ("the scheme alone", |p| p.set("authorization", "Bearer"), 401, "token-missing"),
    ("the scheme in capitals", |p| { let token = p.world.token.clone(); p.set("authorization", &format!("BEARER {token}")) }, 200, ""),
    ("two authorizations", |p| p.after = |p| { let value = p.value("authorization"); p.add("authorization", &value) }, 400, "request-malformed"),
    ("two authorizations, the first another scheme", |p| p.after = |p| p.fields.insert(0, ("authorization".into(), b"Basic Zm9v".to_vec())), 400, "request-malformed"),
    ("an authorization that is not ASCII", |p| p.after = |p| { p.remove("authorization"); p.fields.push(("authorization".into(), "Bearer é".into())) }, 400, "request-malformed"),
    ("two content-types", |p| p.after = |p| p.add("content-type", "application/json"), 400, "request-malformed"),
    ("a body without content-type", |p| { p.uncover("content-type"); p.remove("content-type") }, 400, "request-malformed"),
    ("a body with an empty content-type", |p| p.set("content-type", ""), 400, "request-malformed"),
];

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn components_of_the_signature() {
    run(&World::start(), CASES, attempt);
}
