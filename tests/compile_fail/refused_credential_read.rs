//! A credential taken out of its one use.

fn read(credential: tgp::proxy::Credential) -> Vec<u8> {
    credential.secret.expose_secret().to_vec()
}

fn main() {
    let _ = read;
}
