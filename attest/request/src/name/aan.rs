//! The Agent Authentication Number: a number that a person can read over the phone.
//!
//! It is never a secret and never an authenticator.

use super::{NameError, text_name};

text_name!(
    /// 16 digits: issuer prefix (4), random (11), Luhn check digit (ISO/IEC 7812-1).
    Aan, "AAN", check_aan
);

impl Aan {
    /// Builds a number from its issuer prefix and eleven digits, each 0 to 9, which the caller
    /// draws at random without bias.
    pub fn from_random(prefix: &str, digits: [u8; 11]) -> Result<Self, NameError> {
        let error = |why| NameError { what: "AAN", why };
        if prefix.len() != 4 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error("its issuer prefix has 4 digits"));
        }
        if digits.iter().any(|&digit| digit > 9) {
            return Err(error("its random part has 11 digits"));
        }
        let mut text = String::with_capacity(16);
        text.push_str(prefix);
        text.extend(digits.iter().map(|digit| char::from(b'0' + digit)));
        // The check digit makes the sum of all a multiple of ten.
        text.push('0');
        let check = (10 - luhn_sum(&text) % 10) % 10;
        text.pop();
        text.push(char::from_digit(check, 10).expect("a remainder modulo ten is a digit"));
        Ok(Self(text))
    }

    /// Four groups of four, as people read it: `7284 0199 5331 0473`.
    pub fn grouped(&self) -> String {
        let text = &self.0;
        format!("{} {} {} {}", &text[..4], &text[4..8], &text[8..12], &text[12..])
    }
}

fn check_aan(text: &str) -> Result<(), &'static str> {
    if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("it has 16 digits");
    }
    if !luhn_sum(text).is_multiple_of(10) {
        return Err("its check digit does not match");
    }
    Ok(())
}

/// Every second digit from the right, the check digit not among them, counts double, digits summed.
fn luhn_sum(digits: &str) -> u32 {
    digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            match (index % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_protocol_is_valid_and_grouped_as_there() {
        let aan: Aan = "7284019953310473".parse().unwrap();
        assert_eq!(aan.grouped(), "7284 0199 5331 0473");
        assert_eq!(Aan::from_random("7284", [0, 1, 9, 9, 5, 3, 3, 1, 0, 4, 7]).unwrap(), aan);
    }

    #[test]
    fn what_is_not_sixteen_digits_with_their_check_digit_is_refused() {
        for bad in [
            "",
            "7284019953310474",
            "728401995331047",
            "72840199533104730",
            "7284 0199 5331 0473",
            "728401995331047x",
            "٧284019953310473",
        ] {
            assert!(bad.parse::<Aan>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_is_made_of_a_prefix_of_four_digits_and_eleven_digits() {
        assert!(Aan::from_random("728", [0; 11]).is_err());
        assert!(Aan::from_random("72a4", [0; 11]).is_err());
        assert!(Aan::from_random("72845", [0; 11]).is_err());
        assert!(Aan::from_random("7284", [10; 11]).is_err());
        assert!(Aan::from_random("0000", [0; 11]).is_ok());
    }
}
