//! `content-digest` against the content that arrived.

use crate::plan::{BODY, Plan, attempt, sha256, sha512};
use crate::table::{Case, run};
use crate::world::World;

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Plan<'_>)>] = &[
    ("sha-256", |_| {}, 200, ""),
    ("sha-512 alone", |p| p.set("content-digest", &sha512(BODY)), 200, ""),
    ("both", |p| p.set("content-digest", &format!("{}, {}", sha256(BODY), sha512(BODY))), 200, ""),
    ("both, on two lines", |p| p.add("content-digest", &sha512(BODY)), 200, ""),
    ("sha-256 right, sha-512 wrong", |p| p.set("content-digest", &format!("{}, {}", sha256(BODY), sha512(b"x"))), 400, "digest-mismatch"),
    ("sha-256 wrong, sha-512 right", |p| p.set("content-digest", &format!("{}, {}", sha256(b"x"), sha512(BODY))), 400, "digest-mismatch"),
    ("sha-256 twice, the first wrong", |p| p.set("content-digest", &format!("{}, {}", sha256(b"x"), sha256(BODY))), 400, "digest-mismatch"),
    ("sha-256 twice, the last wrong", |p| p.set("content-digest", &format!("{}, {}", sha256(BODY), sha256(b"x"))), 400, "digest-mismatch"),
    ("sha-256 twice, both right", |p| p.set("content-digest", &format!("{0}, {0}", sha256(BODY))), 200, ""),
    ("of another body", |p| p.set("content-digest", &sha256(b"x")), 400, "digest-mismatch"),
    ("of an empty body", |p| p.set("content-digest", &sha256(b"")), 400, "digest-mismatch"),
    ("of the body with a line's end", |p| p.set("content-digest", &sha256(&[BODY, b"\n"].concat())), 400, "digest-mismatch"),
    ("the body changed afterwards", |p| p.after = |p| p.body = br#"{"to":"eve","text":"hello"}"#.to_vec(), 400, "digest-mismatch"),
    ("the body longer afterwards", |p| p.after = |p| p.body.push(b' '), 400, "digest-mismatch"),
    ("the body gone afterwards", |p| p.after = |p| p.body.clear(), 400, "digest-mismatch"),
    ("a body where none was signed", |p| { p.bodiless(); p.after = |p| { p.body = BODY.to_vec(); p.add("content-type", "application/json"); p.add("content-digest", &sha256(BODY)) } }, 400, "signature-invalid"),
    ("a body where none was signed, without its fields", |p| { p.bodiless(); p.after = |p| { p.body = BODY.to_vec() } }, 400, "request-malformed"),
    ("a body without a digest", |p| { p.uncover("content-digest"); p.remove("content-digest") }, 400, "digest-mismatch"),
    ("an algorithm that nobody knows, beside sha-256", |p| p.set("content-digest", &format!("{}, crc32c=:AAAA:", sha256(BODY))), 200, ""),
    ("algorithms that nobody knows, alone", |p| p.set("content-digest", "crc32c=:AAAA:, md5=:AAAA:"), 400, "digest-mismatch"),
    ("sha-1 alone", |p| p.set("content-digest", "sha=:2jmj7l5rSw0yVb/vlWAYkK/YBwk=:"), 400, "digest-mismatch"),
    ("sha-256 in capitals", |p| p.set("content-digest", &sha256(BODY).replace("sha-256", "SHA-256")), 400, "digest-mismatch"),
    ("sha-256 as a string", |p| p.set("content-digest", &sha256(BODY).replace(':', "\"")), 400, "digest-mismatch"),
    ("sha-256 in hexadecimal", |p| p.set("content-digest", "sha-256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), 400, "digest-mismatch"),
    ("sha-256 as a list", |p| p.set("content-digest", &(sha256(BODY).replacen('=', "=(", 1) + ")")), 400, "digest-mismatch"),
    ("sha-256 as a flag", |p| p.set("content-digest", "sha-256"), 400, "digest-mismatch"),
    ("sha-256 cut short", |p| p.set("content-digest", "sha-256=:AAAA:"), 400, "digest-mismatch"),
    ("sha-256 without octets", |p| p.set("content-digest", "sha-256=::"), 400, "digest-mismatch"),
    ("sha-256 with a parameter", |p| p.set("content-digest", &format!("{};q=1", sha256(BODY))), 200, ""),
    ("not a dictionary", |p| p.set("content-digest", "{}"), 400, "digest-mismatch"),
    ("an empty field", |p| p.set("content-digest", ""), 400, "digest-mismatch"),
    ("a digest after a broken member", |p| p.set("content-digest", &format!("{}, =", sha256(BODY))), 400, "digest-mismatch"),
    ("the digest of the content once decoded", |p| { p.add("content-encoding", "gzip"); p.set("content-digest", &sha256(b"decoded")) }, 400, "digest-mismatch"),
    ("repr-digest in its place", |p| { p.remove("content-digest"); p.uncover("content-digest"); p.add("repr-digest", &sha256(BODY)); p.cover("repr-digest") }, 400, "digest-mismatch"),
    ("a digest of no body, right", |p| { p.method = "GET".into(); p.body.clear(); p.set("content-digest", &sha256(b"")); let token = p.world.list(); p.set("authorization", &format!("Bearer {token}")) }, 200, ""),
    ("a digest of no body, wrong", |p| { p.method = "GET".into(); p.body.clear(); let token = p.world.list(); p.set("authorization", &format!("Bearer {token}")) }, 400, "digest-mismatch"),
    ("a body of 1 MiB", |p| { p.body = vec![b'x'; 1024 * 1024]; let digest = sha256(&p.body); p.set("content-digest", &digest) }, 200, ""),
    ("a body of 1 MiB and one octet", |p| { p.body = vec![b'x'; 1024 * 1024 + 1]; let digest = sha256(&p.body); p.set("content-digest", &digest) }, 413, "body-too-large"),
];

#[test]
fn digests_of_the_content() {
    run(&World::start(), CASES, attempt);
}
