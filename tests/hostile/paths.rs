//! Targets that two readers could take for two things, against the scope decision and against the path that the tool saw.
//! Each is signed as it is sent.

use crate::plan::Plan;
use crate::raw::tell;
use crate::table::{Answer, Case, run};
use crate::world::World;

/// Method and target as they are sent; `{issuer}` is the configured origin. The token is for `list`, `send` and `read`.
pub type Line = (&'static str, &'static str);

#[rustfmt::skip]
pub const CASES: &[Case<Line>] = &[
    ("the collection", ("GET", "/t/mail/messages"), 200, ""),
    ("an empty query", ("GET", "/t/mail/messages?"), 200, ""),
    ("a query with path tricks, which decides nothing", ("GET", "/t/mail/messages?x=/../..//;%2F%2e"), 200, ""),
    ("a query with a second question mark", ("GET", "/t/mail/messages?a?b"), 200, ""),
    ("absolute form of this origin", ("GET", "{issuer}/t/mail/messages"), 200, ""),
    ("absolute form of another host", ("GET", "https://evil.example/t/mail/messages"), 400, "request-malformed"),
    ("absolute form of another port", ("GET", "https://localhost:1/t/mail/messages"), 400, "request-malformed"),
    ("absolute form of another scheme", ("GET", "http://localhost/t/mail/messages"), 400, "request-malformed"),
    ("absolute form with user information", ("GET", "https://me@localhost/t/mail/messages"), 400, "request-malformed"),
    ("absolute form of the tool's own address", ("GET", "http://127.0.0.1/messages"), 400, "request-malformed"),
    ("authority form", ("GET", "localhost:443"), 400, "request-malformed"),
    ("CONNECT", ("CONNECT", "localhost:443"), 405, "method-not-allowed"),
    ("asterisk form", ("OPTIONS", "*"), 404, "not-found"),
    ("asterisk form of GET", ("GET", "*"), 400, "request-malformed"),
    ("a target without a slash", ("GET", "t/mail/messages"), 400, "request-malformed"),
    ("two slashes in front", ("GET", "//t/mail/messages"), 404, "not-found"),
    ("two slashes behind the tool", ("GET", "/t/mail//messages"), 400, "path-not-canonical"),
    ("two slashes at the end", ("GET", "/t/mail/messages//"), 400, "path-not-canonical"),
    ("a slash at the end", ("GET", "/t/mail/messages/"), 403, "action-unknown"),
    ("a dot segment", ("GET", "/t/mail/./messages"), 400, "path-not-canonical"),
    ("dot segments up to another tool", ("GET", "/t/mail/../other/messages"), 400, "path-not-canonical"),
    ("dot segments out of the proxy", ("GET", "/t/mail/../../v1/tools"), 400, "path-not-canonical"),
    ("dot segments at the end", ("GET", "/t/mail/messages/.."), 400, "path-not-canonical"),
    ("a dot at the end", ("GET", "/t/mail/messages/."), 400, "path-not-canonical"),
    ("three dots, which are a name", ("GET", "/t/mail/messages/..."), 400, ""),
    ("dot segments escaped", ("GET", "/t/mail/%2e%2e/messages"), 400, "path-not-canonical"),
    ("dot segments escaped in capitals", ("GET", "/t/mail/%2E%2E/messages"), 400, "path-not-canonical"),
    ("dot segments half escaped", ("GET", "/t/mail/.%2e/messages"), 400, "path-not-canonical"),
    ("dot segments escaped twice", ("GET", "/t/mail/%252e%252e/messages"), 400, "path-not-canonical"),
    ("a dot segment with a parameter", ("GET", "/t/mail/..;/messages"), 400, "path-not-canonical"),
    ("a dot segment with an escaped parameter", ("GET", "/t/mail/..%3b/messages"), 400, "path-not-canonical"),
    ("a path parameter", ("GET", "/t/mail/messages;x=y"), 400, "path-not-canonical"),
    ("a path parameter, escaped", ("GET", "/t/mail/messages%3Bx"), 400, "path-not-canonical"),
    ("an escaped slash", ("GET", "/t/mail%2Fmessages"), 400, "path-not-canonical"),
    ("an escaped slash in a parameter", ("GET", "/t/mail/messages/1%2F2"), 400, "path-not-canonical"),
    ("an escaped slash in lower case", ("GET", "/t/mail/messages/1%2f2"), 400, "path-not-canonical"),
    ("an escaped slash, escaped twice", ("GET", "/t/mail/messages/1%252F2"), 400, "path-not-canonical"),
    ("a backslash", ("GET", "/t/mail\\messages"), 400, "path-not-canonical"),
    ("a backslash and dots", ("GET", "/t/mail/..\\messages"), 400, "path-not-canonical"),
    ("an escaped backslash", ("GET", "/t/mail/messages/1%5C2"), 400, "path-not-canonical"),
    ("an escaped letter", ("GET", "/t/mail/mess%61ges"), 400, "path-not-canonical"),
    ("an escaped letter in the tool's name", ("GET", "/t/m%61il/messages"), 400, "path-not-canonical"),
    ("an escaped percent", ("GET", "/t/mail/messages/%25"), 400, "path-not-canonical"),
    ("an escaped NUL", ("GET", "/t/mail/messages/%00"), 400, "path-not-canonical"),
    ("an escaped line's end", ("GET", "/t/mail/messages/%0d%0aX:y"), 400, "path-not-canonical"),
    ("an escaped DEL", ("GET", "/t/mail/messages/%7f"), 400, "path-not-canonical"),
    ("a malformed escape", ("GET", "/t/mail/messages/%zz"), 400, "path-not-canonical"),
    ("an escape cut short", ("GET", "/t/mail/messages/%2"), 400, "path-not-canonical"),
    ("a percent alone", ("GET", "/t/mail/messages/%"), 400, "path-not-canonical"),
    ("an escape of IIS's kind", ("GET", "/t/mail/messages/%u002e"), 400, "path-not-canonical"),
    ("an overlong dot", ("GET", "/t/mail/%c0%ae%c0%ae/messages"), 400, "path-not-canonical"),
    ("an overlong slash", ("GET", "/t/mail/messages/1%c0%af2"), 400, "path-not-canonical"),
    ("octets that are not UTF-8", ("GET", "/t/mail/messages/%ff"), 400, "path-not-canonical"),
    ("half a surrogate pair", ("GET", "/t/mail/messages/%ed%a0%80"), 400, "path-not-canonical"),
    ("a C1 control in UTF-8", ("GET", "/t/mail/messages/%c2%85"), 400, "path-not-canonical"),
    ("octets beyond ASCII, unescaped", ("GET", "/t/mail/messages/é"), 400, "path-not-canonical"),
    ("a quote, unescaped", ("GET", "/t/mail/messages/\""), 400, "path-not-canonical"),
    ("an angle bracket, unescaped", ("GET", "/t/mail/messages/<"), 400, "path-not-canonical"),
    ("braces, unescaped", ("GET", "/t/mail/messages/{id}"), 400, "path-not-canonical"),
    ("a pipe, unescaped", ("GET", "/t/mail/messages/|"), 400, "path-not-canonical"),
    ("a caret, unescaped", ("GET", "/t/mail/messages/^"), 400, "path-not-canonical"),
    ("a fragment", ("GET", "/t/mail/messages#top"), 400, "path-not-canonical"),
    ("a fragment behind a query", ("GET", "/t/mail/messages?a#top"), 400, "path-not-canonical"),
    ("a query with a malformed escape", ("GET", "/t/mail/messages?a=%zz"), 400, "path-not-canonical"),
    ("a query with octets beyond ASCII", ("GET", "/t/mail/messages?é"), 400, "path-not-canonical"),
    ("another tool that does not exist", ("GET", "/t/mai/messages"), 404, "tool-unknown"),
    ("a tool whose name begins alike", ("GET", "/t/mail2/messages"), 404, "tool-unknown"),
    ("a tool's name in capitals", ("GET", "/t/Mail/messages"), 404, "tool-unknown"),
    ("the proxy in capitals", ("GET", "/T/mail/messages"), 404, "not-found"),
    ("no tool", ("GET", "/t/"), 404, "tool-unknown"),
    ("the tool alone", ("GET", "/t/mail"), 403, "action-unknown"),
    ("the tool with a slash", ("GET", "/t/mail/"), 403, "action-unknown"),
    ("a path that is no action", ("GET", "/t/mail/admin"), 403, "action-unknown"),
    ("an action in capitals", ("GET", "/t/mail/Messages"), 403, "action-unknown"),
    ("an action's path below", ("GET", "/t/mail/messages/1/attachments"), 403, "action-unknown"),
    ("an action that the token is not for", ("DELETE", "/t/mail/messages/1"), 403, "scope-insufficient"),
    ("a method that no action has", ("PATCH", "/t/mail/messages"), 403, "action-unknown"),
    ("a method in lower case", ("get", "/t/mail/messages"), 403, "action-unknown"),
    ("TRACE", ("TRACE", "/t/mail/messages"), 403, "action-unknown"),
    ("a path of 60,000 octets", ("GET", "/t/mail/messages/{long}"), 400, ""),
];

fn attempt(world: &World, (method, target): Line) -> Answer {
    let token = world.reading();
    let target = target.replace("{issuer}", &world.wire.issuer).replace("{long}", &"a".repeat(60_000));
    let signed = target.strip_prefix(&world.wire.issuer).unwrap_or(&target).to_owned();
    let mut plan = Plan::get(world, &signed, &token);
    plan.method = method.to_owned();
    plan.sign();
    let mut octets = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n").into_bytes();
    for (name, value) in &plan.fields {
        octets.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    octets.extend(b"\r\n");
    let mut answer = world.block(tell(&world.wire, Some(&world.agent.certificate), &octets)).answer(true);
    if answer.code.is_empty() && answer.status != 0 {
        let seen = world.deployment.stack.tool().journal().pop().expect("the tool was called");
        let same = format!("/t/mail{}", seen.path) == signed && seen.method == method;
        // The answer is the tool's own, in its own form.
        answer.problem = (!same).then(|| format!("the tool saw {} {}", seen.method, seen.path));
    }
    answer
}

#[test]
fn paths_and_targets() {
    run(&World::start(), CASES, attempt);
}
