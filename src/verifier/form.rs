//! The form of introspection (RFC 7662 §2.1) and revocation (RFC 7009 §2.1): one token, and hints that we need not.

use zeroize::Zeroizing;

use crate::issue::form::decode;
use crate::refusal::{Code, Refusal};

/// The `token` of a form.
pub fn token(body: &[u8]) -> Result<Zeroizing<String>, Refusal> {
    let malformed = |detail: &str| Refusal::new(Code::RequestMalformed, detail);
    let text = std::str::from_utf8(body).map_err(|_| malformed("the body is not a form"))?;
    let mut token = None;
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name).ok_or_else(|| malformed("the body is not a form"))?;
        let value = Zeroizing::new(decode(value).ok_or_else(|| malformed("the body is not a form"))?);
        if name == "token" && token.replace(value).is_some() {
            return Err(malformed("a parameter is repeated"));
        }
    }
    token.filter(|token| !token.is_empty()).ok_or_else(|| malformed("token is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_is_read_and_hints_are_passed_over() {
        let read = |body: &str| token(body.as_bytes()).map(|token| token.to_string()).map_err(|refusal| refusal.code);
        assert_eq!(read("token_type_hint=access_token&token=a.b%2Ec&x"), Ok("a.b.c".to_owned()));
        for bad in ["", "token=", "token", "x=y", "token=a&token=b", "token=%zz", "%zz=1&token=a"] {
            assert_eq!(read(bad), Err(Code::RequestMalformed), "{bad}");
        }
    }
}
