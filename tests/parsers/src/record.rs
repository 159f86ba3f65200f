//! What the vault sealed and keeps: records, envelopes, its state file.
//!
//! The first octet is what is tried: 1 to 3 a record of that kind as it arrives, 11 to 13 the plaintext of one that is
//! sealed here (a fuzzer cannot forge the envelope before it), 20 the state file's text, 30 a bare envelope.

use tgp_vault::fuzzing::{open_envelope, open_record, seal_envelope, seal_record, state_file};

pub const DEK: [u8; 32] = [3; 32];

pub fn check(data: &[u8]) -> bool {
    let [what, rest @ ..] = data else { return false };
    match what {
        1..=3 => open_record(*what, &DEK, rest).is_some(),
        11..=13 => sealed(what - 10, rest),
        20 => state(rest),
        30 => envelope(rest),
        _ => false,
    }
}

/// A plaintext that is a record seals, opens as it was, and nowhere else.
fn sealed(kind: u8, plaintext: &[u8]) -> bool {
    let Some((octets, encoded)) = seal_record(kind, &DEK, plaintext) else { return false };
    assert!(encoded.len() <= plaintext.len(), "no encoding is shorter than ours");
    assert_eq!(open_record(kind, &DEK, &octets).expect("it was sealed just now"), encoded);
    for other in (1..=3).filter(|other| *other != kind) {
        assert!(open_record(other, &DEK, &octets).is_none(), "it is not taken for another kind");
        let mut relabelled = octets.clone();
        relabelled[4] = other;
        assert!(open_record(other, &DEK, &relabelled).is_none(), "nor under another label");
    }
    let at = plaintext.len() % octets.len();
    let mut flipped = octets.clone();
    flipped[at] ^= 1 << (at % 8);
    assert!(open_record(kind, &DEK, &flipped).is_none(), "one bit spoils it");
    assert!(open_record(kind, &[4; 32], &octets).is_none(), "so does another key");
    assert!(open_record(kind, &DEK, &octets[..octets.len() - 1]).is_none());
    true
}

fn state(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let Some(written) = state_file(text) else { return false };
    // Maps are written in any order.
    let said = |text: &str| -> serde_json::Value {
        let (body, _) = text.split_once('\t').expect("a body and its MAC");
        serde_json::from_str(body).expect("JSON")
    };
    let again = state_file(&written).expect("what was written reads back");
    let (mut before, mut after) = (said(&written), said(&again));
    for said in [&mut before, &mut after] {
        if let Some(enrolled) = said.pointer_mut("/tables/enrolled").and_then(serde_json::Value::as_array_mut) {
            enrolled.sort_by_key(ToString::to_string);
        }
    }
    assert_eq!(before, after);
    true
}

/// The plaintext opens in its own place only; as an envelope the same octets open nothing.
fn envelope(octets: &[u8]) -> bool {
    assert!(open_envelope(&DEK, ["tool", "upstream", "k"], octets).is_none());
    let text = String::from_utf8_lossy(octets);
    let mut parts = text.splitn(4, '\n').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (table, column, key, plaintext) = (part(), part(), part(), part());
    let place = [table.as_str(), column.as_str(), key.as_str()];
    let sealed = seal_envelope(&DEK, place, plaintext.as_bytes());
    assert_eq!(open_envelope(&DEK, place, &sealed).expect("in its place"), plaintext.as_bytes());
    let moved = [format!("{table}{column}"), String::new(), key.clone()];
    let moved = [moved[0].as_str(), moved[1].as_str(), moved[2].as_str()];
    assert!(moved == place || open_envelope(&DEK, moved, &sealed).is_none(), "cut elsewhere it is another place");
    assert!(open_envelope(&[4; 32], place, &sealed).is_none());
    true
}
