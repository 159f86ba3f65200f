//! What the server's key may sign: handshake structures, and nothing that another signature could be taken for.

use tgp_vault::fuzzing::is_handshake;

pub fn check(data: &[u8]) -> bool {
    if !is_handshake(data) {
        return false;
    }
    assert!(data.len() >= 64 + 4, "two randoms or the padding stand first");
    // Tokens, statements, signature bases and JSON are text without control characters.
    assert!(data[64..].iter().any(|byte| matches!(byte, 0 | 3)), "a text would be signed");
    assert!(!data.starts_with(b"tgp op v1\0{") || serde_json::from_slice::<serde_json::Value>(&data[10..]).is_err());
    let text = std::str::from_utf8(data);
    assert!(!text.is_ok_and(|text| text.split('.').count() == 2 && text.starts_with("eyJ") && !text.contains('\u{3}')));
    let longer = [data, b"x"].concat();
    let shorter = &data[..data.len() - 1];
    assert!(!is_handshake(shorter) && !is_handshake(&longer), "its length is part of it");
    true
}
