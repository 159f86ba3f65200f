//! Bodies too long to be read whole: what is refused before a piece of them goes anywhere. What is found out later is in
//! `tests/it/uploads.rs`, since the tool has then seen the head.

use crate::plan::{Plan, sha256, sha512};
use crate::table::{Answer, Case, run};
use crate::world::World;

const LONG: usize = 1024 * 1024 + 512 * 1024;

// Where a body is refused before it has come, HTTP/2: over HTTP/1.1 a client that still writes when the connection closes may
// not hear why.
#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Plan<'_>)>] = &[
    ("what was signed", |_| {}, 200, ""),
    ("what was signed, by sha-512", |p| { let digest = sha512(&p.body); p.set("content-digest", &digest) }, 200, ""),
    ("what was signed, over HTTP/2", |p| p.http2 = true, 200, ""),
    ("without a digest", |p| { p.uncover("content-digest"); p.remove("content-digest") }, 400, "digest-mismatch"),
    ("without a digest, over HTTP/2", |p| { p.http2 = true; p.uncover("content-digest"); p.remove("content-digest") }, 400, "digest-mismatch"),
    ("with a digest that is not signed", |p| p.uncover("content-digest"), 400, "signature-invalid"),
    ("with a type that is not signed", |p| p.uncover("content-type"), 400, "signature-invalid"),
    ("without a type", |p| { p.uncover("content-type"); p.remove("content-type") }, 400, "request-malformed"),
    ("with a digest that nobody knows", |p| p.set("content-digest", "md5=:AAAA:"), 400, "digest-mismatch"),
    ("with sha-1 alone", |p| p.set("content-digest", "sha=:2jmj7l5rSw0yVb/vlWAYkK/YBwk=:"), 400, "digest-mismatch"),
    ("changed, and short enough to be read whole", |p| p.after = |p| p.body = b"{}".to_vec(), 400, "digest-mismatch"),
    ("longer than anything may be", |p| { p.http2 = true; long(p, 3 * 1024 * 1024) }, 413, "body-too-large"),
    ("for an action that is not marked", |p| { p.http2 = true; p.method = "DELETE".into(); p.target = "/t/mail/messages/1".into() }, 413, "body-too-large"),
    ("for no action at all", |p| { p.http2 = true; p.target = "/t/mail/nothing".into() }, 413, "body-too-large"),
    ("for a tool that is not there", |p| p.target = "/t/nothing/messages".into(), 404, "tool-unknown"),
    ("with a token for something else", |p| { let token = p.world.list(); p.set("authorization", &format!("Bearer {token}")) }, 403, "scope-insufficient"),
    ("with a signature that is wrong", |p| p.forge = |mut signature| { signature[40] ^= 1; signature.to_vec() }, 400, "signature-invalid"),
    ("used before", |p| p.use_up(), 400, "signature-replayed"),
];

fn long(plan: &mut Plan<'_>, length: usize) {
    plan.body = vec![b'x'; length];
    let digest = sha256(&plan.body);
    plan.set("content-digest", &digest);
}

fn attempt(world: &World, with: fn(&mut Plan<'_>)) -> Answer {
    let mut plan = Plan::new(world);
    long(&mut plan, LONG);
    with(&mut plan);
    plan.sign();
    let after = plan.after;
    after(&mut plan);
    plan.send()
}

#[test]
fn bodies_that_pass_as_they_come() {
    let world = World::with("stream_bytes = 2097152\n");
    world.deployment.operator(&["tool", "update", "mail", "--stream", "send"]);
    run(&world, CASES, attempt);
}
