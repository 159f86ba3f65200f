//! A credential in an answer.

fn answer(credential: &tgp::proxy::Credential) -> String {
    serde_json::to_string(credential).unwrap()
}

fn main() {
    let _ = answer;
}
