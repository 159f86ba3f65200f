//! A credential in a log.

fn log(credential: &tgp::proxy::Credential) -> String {
    format!("{credential:?}")
}

fn main() {
    let _ = log;
}
