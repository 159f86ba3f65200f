//! A credential for two requests.

fn two(credential: &tgp::proxy::Credential) -> tgp::proxy::Credential {
    credential.clone()
}

fn main() {
    let _ = two;
}
