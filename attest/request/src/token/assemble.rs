//! A token's text around a signature that is made elsewhere, in the token device.

use serde::Serialize;

use super::{Claims, TYP};
use crate::b64;
use crate::name::{ActionName, Slug};

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

/// What ES256 is computed over: base64url of header, a dot, base64url of claims.
pub fn signing_input(kid: &str, claims: &Claims) -> String {
    signing_input_of(TYP, kid, claims)
}

/// The same for claims of another `typ`.
pub(crate) fn signing_input_of(typ: &'static str, kid: &str, claims: &impl Serialize) -> String {
    let header = serde_json::to_vec(&Header { typ, alg: "ES256", kid }).expect("three strings always serialise");
    let claims = serde_json::to_vec(claims).expect("claims hold only strings, numbers and lists");
    format!("{}.{}", b64::encode(&header), b64::encode(&claims))
}

/// The whole token; `signature` is r‖s.
pub fn assemble(mut signing_input: String, signature: &[u8; 64]) -> String {
    signing_input.push('.');
    signing_input.push_str(&b64::encode(signature));
    signing_input
}

/// The `scope` claim for these actions of one tool.
pub fn scope_text(tool: &Slug, actions: &[ActionName]) -> String {
    let scopes: Vec<String> = actions.iter().map(|action| format!("{tool}:{action}")).collect();
    scopes.join(" ")
}
