//! `https://host[:port]`, in its one spelling: what signatures name and connections go to.

use std::fmt;

use crate::ClientError;

/// A gateway's origin. It must be spelled as the gateway's issuer is: that is what gets signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Parses an origin; one trailing slash is forgiven, nothing else is.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let refuse = |why: &str| ClientError::Input(format!("{text:?} is not a gateway's URL: {why}"));
        let bare = text.strip_suffix('/').unwrap_or(text);
        let authority = bare.strip_prefix("https://").ok_or_else(|| refuse("it begins with https://"))?;
        if authority.contains(['/', '?', '#', '@']) {
            return Err(refuse("it is https://host[:port] with nothing behind it"));
        }
        if authority.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse("it is written in lower case"));
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| refuse("its host is malformed"))?;
        if parsed.host().is_empty() || authority.ends_with(':') {
            return Err(refuse("a host is missing, or a port behind the colon"));
        }
        if parsed.port_u16() == Some(443) {
            return Err(refuse("the default port is left out"));
        }
        Ok(Self(bare.to_owned()))
    }

    /// `https://host[:port]`
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The absolute URI of a path and query of this origin.
    pub fn join(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        assert_eq!(Origin::parse("https://localhost:8443/").unwrap().as_str(), "https://localhost:8443");
        assert_eq!(Origin::parse("https://[::1]:8443").unwrap().join("/x?y=%20"), "https://[::1]:8443/x?y=%20");
        for bad in [
            "http://gw.example",
            "https://",
            "https://gw.example/tgp",
            "https://gw.example:443",
            "https://GW.example",
            "https://me@gw.example",
            "https://gw.example:",
            "https://gw.example?x",
            "gw.example",
            "https://gw.example//",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
