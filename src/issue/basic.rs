//! `client_secret_basic`: user = agent UUID, password = master key. Both halves are form-decoded after
//! base64 (RFC 6749 §2.3.1). The master key is wiped wherever it was held on the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap};
use tgp_request::MasterKey;
use tgp_request::name::parse_uuid;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::form::decode;
use crate::refusal::{Code, Refusal};

/// The agent's UUID and its master key. Whether the key is genuine only the vault can tell.
pub struct Basic {
    pub agent: Uuid,
    pub master_key: Zeroizing<String>,
}

impl Basic {
    /// `None` without an authorization field.
    pub fn parse(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let missing = || {
            Refusal::new(Code::CodeInvalid, "authenticate as client_secret_basic: the agent's UUID and its master key")
        };
        let malformed = || Refusal::new(Code::CodeInvalid, "the agent's UUID or its master key is not of its form");
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Refusal::new(Code::RequestMalformed, "send one authorization header"));
        }
        let (scheme, encoded) = value.to_str().map_err(|_| malformed())?.trim().split_once(' ').ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(missing());
        }
        let pair = Zeroizing::new(STANDARD.decode(encoded.trim_start()).map_err(|_| malformed())?);
        let pair = std::str::from_utf8(&pair).map_err(|_| malformed())?;
        let (user, password) = pair.split_once(':').ok_or_else(malformed)?;
        let user = decode(user).ok_or_else(malformed)?;
        let master_key = Zeroizing::new(decode(password).ok_or_else(malformed)?);
        let agent = parse_uuid(&user).map_err(|_| malformed())?;
        let parsed = MasterKey::parse(&master_key).map_err(|_| malformed())?;
        if parsed.agent != agent {
            return Err(malformed());
        }
        Ok(Some(Self { agent, master_key }))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const AGENT: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";

    fn headers(pair: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("bAsIc {}", STANDARD.encode(pair));
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).expect("ASCII"));
        headers
    }

    fn key() -> String {
        MasterKey::new(parse_uuid(AGENT).expect("a uuid"), 1, 1, [0xff; 32]).expose_text().to_string()
    }

    #[test]
    fn both_halves_are_form_decoded_after_base64() {
        let encoded = key().replace('_', "%5F");
        let pair = format!("{}:{encoded}", AGENT.replace('-', "%2D"));
        let presented = Basic::parse(&headers(&pair)).expect("parses").expect("is there");
        assert_eq!(presented.agent.to_string(), AGENT);
        assert_eq!(*presented.master_key, key());
    }

    #[test]
    fn a_key_of_another_agent_or_none_is_refused_alike() {
        let other = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5e";
        for pair in [format!("{other}:{}", key()), format!("{AGENT}:"), format!("{AGENT}:tgpmk_x"), AGENT.to_owned()] {
            assert_eq!(Basic::parse(&headers(&pair)).err().expect("refused").code, Code::CodeInvalid, "{pair}");
        }
        assert!(Basic::parse(&HeaderMap::new()).expect("no refusal").is_none());
    }

    #[test]
    fn two_authorization_headers_are_malformed() {
        let mut two = headers(&format!("{AGENT}:{}", key()));
        let again = two[AUTHORIZATION].clone();
        two.append(AUTHORIZATION, again);
        assert_eq!(Basic::parse(&two).err().expect("refused").code, Code::RequestMalformed);
    }
}
