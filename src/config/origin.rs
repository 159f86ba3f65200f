//! An origin: scheme, host and port, and nothing behind them, in the one form that is signed.

use std::fmt;

/// `https://host[:port]`, lower case, no default port, no trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: String,
    authority_at: usize,
}

impl Origin {
    pub fn parse(text: &str) -> Result<Self, String> {
        let authority = text.strip_prefix("https://").ok_or_else(|| "must begin with https://".to_owned())?;
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return Err("must be an origin, https://host[:port], with nothing behind it".to_owned());
        }
        if authority.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err("must be lower case".to_owned());
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| "does not hold a valid host".to_owned())?;
        if parsed.host().is_empty() {
            return Err("does not hold a host".to_owned());
        }
        match parsed.port() {
            Some(port) if port.as_u16() == 443 => {
                return Err("must leave out the default port :443".to_owned());
            }
            None if parsed.as_str().ends_with(':') => return Err("ends in a bare colon".to_owned()),
            _ => {}
        }
        Ok(Self { text: text.to_owned(), authority_at: "https://".len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host[:port]`
    pub fn authority(&self) -> &str {
        &self.text[self.authority_at..]
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_an_origin_is_accepted() {
        for good in ["https://gw.tgp.example", "https://localhost:8443", "https://[::1]:8443"] {
            assert_eq!(Origin::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "http://gw.tgp.example",
            "https://gw.tgp.example/",
            "https://GW.tgp.example",
            "https://gw.tgp.example:443",
            "https://gw.tgp.example?x",
            "https://me@gw.tgp.example",
            "https://",
            "https://:8443",
            "gw.tgp.example",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
