//! The sixty-four octets of a signature: r and s, in and out of range.

use tgp_request::jwk::IdentitySecret;

use crate::plan::{Plan, attempt};
use crate::table::{Case, run};
use crate::world::World;

/// The order of secp256k1 (SEC 2 §2.4.1).
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Plan<'_>)>] = &[
    ("low s", |_| {}, 200, ""),
    ("high s", |p| p.forge = high_s, 200, ""),
    ("r zero", |p| p.forge = |it| with_r(it, [0; 32]), 400, "signature-invalid"),
    ("s zero", |p| p.forge = |it| with_s(it, [0; 32]), 400, "signature-invalid"),
    ("both zero", |p| p.forge = |_| vec![0; 64], 400, "signature-invalid"),
    ("r one, s one", |p| p.forge = |it| with_s(with_r(it, one()).try_into().expect("64"), one()), 400, "signature-invalid"),
    ("r the order", |p| p.forge = |it| with_r(it, N), 400, "signature-invalid"),
    ("s the order", |p| p.forge = |it| with_s(it, N), 400, "signature-invalid"),
    ("r one more than the order", |p| p.forge = |it| with_r(it, above()), 400, "signature-invalid"),
    ("s one more than the order", |p| p.forge = |it| with_s(it, above()), 400, "signature-invalid"),
    ("r all ones", |p| p.forge = |it| with_r(it, [0xff; 32]), 400, "signature-invalid"),
    ("s all ones", |p| p.forge = |it| with_s(it, [0xff; 32]), 400, "signature-invalid"),
    ("r and s exchanged", |p| p.forge = |it| [&it[32..], &it[..32]].concat(), 400, "signature-invalid"),
    ("one bit of r turned", |p| p.forge = |mut it| { it[7] ^= 1; it.to_vec() }, 400, "signature-invalid"),
    ("one bit of s turned", |p| p.forge = |mut it| { it[63] ^= 1; it.to_vec() }, 400, "signature-invalid"),
    ("sixty-three octets", |p| p.forge = |it| it[..63].to_vec(), 400, "signature-invalid"),
    ("sixty-five octets", |p| p.forge = |it| [&it[..], &[0]].concat(), 400, "signature-invalid"),
    ("with a recovery octet in front", |p| p.forge = |it| [&[27], &it[..]].concat(), 400, "signature-invalid"),
    ("DER in place of r and s", |p| p.forge = der, 400, "signature-invalid"),
    ("no octets", |p| p.forge = |_| Vec::new(), 400, "signature-invalid"),
    ("another agent's key under our keyid", |p| p.key = &p.world.other.identity, 400, "signature-invalid"),
    ("a key that nobody registered", |p| p.key = stranger(), 400, "signature-invalid"),
    ("a key that nobody registered, by its own keyid", |p| { p.key = stranger(); let keyid = p.key.public().keyid().to_owned(); p.set_param("keyid", &format!("\"{keyid}\"")) }, 400, "signature-invalid"),
];

/// The other signature that is as good: n − s.
pub fn high_s(signature: [u8; 64]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut s = [0_u8; 32];
    for at in (0..32).rev() {
        let digit = i16::from(N[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(digit < 0);
        s[at] = u8::try_from(digit.rem_euclid(256)).expect("a digit");
    }
    with_s(signature, s)
}

fn with_r(signature: [u8; 64], r: [u8; 32]) -> Vec<u8> {
    [&r[..], &signature[32..]].concat()
}

fn with_s(signature: [u8; 64], s: [u8; 32]) -> Vec<u8> {
    [&signature[..32], &s[..]].concat()
}

fn one() -> [u8; 32] {
    let mut one = [0; 32];
    one[31] = 1;
    one
}

fn above() -> [u8; 32] {
    let mut above = N;
    above[31] += 1;
    above
}

fn der(signature: [u8; 64]) -> Vec<u8> {
    let integer = |part: &[u8]| [&[2, 33, 0], part].concat();
    let both = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [&[0x30, u8::try_from(both.len()).expect("short")], &both[..]].concat()
}

fn stranger() -> &'static IdentitySecret {
    static STRANGER: std::sync::OnceLock<IdentitySecret> = std::sync::OnceLock::new();
    STRANGER.get_or_init(IdentitySecret::generate)
}

#[test]
fn r_and_s() {
    run(&World::start(), CASES, attempt);
}
