//! Unpadded base64url, strict: one text for one value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes exactly `N` bytes without allocating.
pub(crate) fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut exact = [0; N];
    decode_into(text, &mut exact).then_some(exact)
}

/// The same, for secrets: into their place, and nowhere else.
pub(crate) fn decode_into<const N: usize>(text: &str, out: &mut [u8; N]) -> bool {
    // The engine demands room for its estimate, which exceeds N by up to two bytes.
    let mut buffer = [0u8; 96];
    debug_assert!(N + 3 <= buffer.len());
    if text.len() > buffer.len() * 4 / 3 {
        return false;
    }
    let fits = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer) == Ok(N);
    if fits {
        out.copy_from_slice(&buffer[..N]);
    }
    zeroize::Zeroize::zeroize(&mut buffer);
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_text() {
        assert_eq!(decode_exact::<1>("AA"), Some([0]));
        for other in ["AA==", "AB", "A", "AA ", "+A", "AAA", ""] {
            assert_eq!(decode_exact::<1>(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_longest_value_fits_and_longer_text_does_not_panic() {
        let longest = [7u8; 89];
        assert_eq!(decode_exact::<89>(&encode(&longest)), Some(longest));
        assert_eq!(decode_exact::<89>(&"A".repeat(500)), None);
    }
}
