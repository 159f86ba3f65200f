//! A request whose signature nobody checked.

use tgp_request::signature::{UnverifiedRequest, VerifiedRequest};

fn skip(request: UnverifiedRequest) -> VerifiedRequest {
    request.body(b"").unwrap()
}

fn main() {
    let _ = skip;
}
