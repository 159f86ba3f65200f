//! AWS Signature Version 4 over exactly what is forwarded. The secret key makes the signature and goes nowhere.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use zeroize::Zeroizing;

use crate::refusal::Refusal;

/// What those change who stand between us and the service: a signature over them would not hold.
const NOT_SIGNED: &[&str] = &["via", "traceparent", "tracestate", "baggage"];

/// What the signer sets: the agent's own never goes, though a manifest may name them.
const SET_HERE: &[&str] = &["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// `access-key-id:secret-access-key`, with `:session-token` behind it for temporary ones.
pub struct AccessKey<'a> {
    pub id: &'a str,
    pub secret: &'a str,
    pub session_token: Option<&'a str>,
}

impl<'a> AccessKey<'a> {
    /// None of its parts holds a colon or is empty.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let (id, secret, session_token) = (parts.next()?, parts.next()?, parts.next());
        let visible = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_graphic());
        let whole = visible(id) && visible(secret) && session_token.is_none_or(visible) && parts.next().is_none();
        whole.then_some(Self { id, secret, session_token })
    }
}

/// Signs the request as it will be sent; `now` in Unix seconds.
pub fn sign_request(
    key: &AccessKey<'_>,
    (region, service): (&str, &str),
    parts: &mut Parts,
    content_sha256: &[u8; 32],
    now: i64,
) -> Result<(), Refusal> {
    let mut settings = SigningSettings::default();
    // The path is canonical already, or it would have been refused: it is signed as it stands.
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    // S3 alone reads paths without escaping them once more, and wants the content's digest in a field.
    if service == "s3" || service.starts_with("s3-") {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let session_token = key.session_token.map(str::to_owned);
    let identity = Credentials::new(key.id, key.secret, session_token, None, "tgp").into();
    let seconds = u64::try_from(now).map_err(|error| Refusal::internal(&error))?;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(UNIX_EPOCH + Duration::from_secs(seconds))
        .settings(settings)
        .build()
        .map_err(|error| Refusal::internal(&error))?
        .into();
    for name in SET_HERE {
        parts.headers.remove(*name);
    }
    let uri = parts.uri.to_string();
    let signed = |name: &HeaderName| !NOT_SIGNED.contains(&name.as_str());
    let fields: Zeroizing<Vec<(String, String)>> = Zeroizing::new(
        parts
            .headers
            .iter()
            .filter(|(name, _)| signed(name))
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect(),
    );
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let content_sha256 = content_sha256.iter().map(|octet| format!("{octet:02x}")).collect();
    let signable = SignableRequest::new(parts.method.as_str(), &uri, fields, SignableBody::Precomputed(content_sha256))
        .map_err(|error| Refusal::internal(&error))?;
    let (instructions, _) = sign(signable, &params).map_err(|error| Refusal::internal(&error))?.into_parts();
    // Applied to a request without content: nothing but fields is added.
    let mut request = http::Request::from_parts(parts.clone(), ());
    instructions.apply_to_request_http1x(&mut request);
    parts.headers = request.into_parts().0.headers;
    for name in [AUTHORIZATION, HeaderName::from_static("x-amz-security-token")] {
        if let Some(value) = parts.headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn signed(uri: &str, service: &str, key: &str, fields: &[(&'static str, &str)], content: &'static [u8]) -> Parts {
        let (mut parts, ()) = Request::get(uri).body(()).expect("a request").into_parts();
        for (name, value) in fields {
            parts.headers.insert(HeaderName::from_static(name), value.parse().expect("a value"));
        }
        let key = AccessKey::parse(key).expect("a key");
        // 20150830T123600Z, as in AWS's test suite.
        let content = Sha256::digest(content).into();
        sign_request(&key, ("us-east-1", service), &mut parts, &content, 1_440_938_160).expect("signed");
        parts
    }

    const KEY: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// `get-vanilla` of AWS's own test suite.
    #[test]
    fn the_signature_is_the_one_that_aws_publishes() {
        let parts = signed("https://example.amazonaws.com/", "service", KEY, &[], b"");
        assert_eq!(
            parts.headers["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert!(parts.headers["authorization"].is_sensitive());
    }

    #[test]
    fn fields_query_and_content_are_signed_and_what_others_change_is_not() {
        let signature = |uri: &str, fields: &[(&'static str, &str)], content| {
            signed(uri, "s3", KEY, fields, content).headers["authorization"].to_str().expect("text").to_owned()
        };
        let plain = signature("https://b.example/k?x=1", &[("content-type", "text/plain"), ("via", "1.1 tgp")], b"a");
        assert!(plain.contains("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date,"), "{plain}");
        let end = |text: &str| text.rsplit_once('=').expect("a signature").1.to_owned();
        for (what, other) in [
            ("query", signature("https://b.example/k?x=2", &[("content-type", "text/plain")], b"a")),
            ("path", signature("https://b.example/l?x=1", &[("content-type", "text/plain")], b"a")),
            ("host", signature("https://c.example/k?x=1", &[("content-type", "text/plain")], b"a")),
            ("field", signature("https://b.example/k?x=1", &[("content-type", "text/html")], b"a")),
            ("content", signature("https://b.example/k?x=1", &[("content-type", "text/plain")], b"b")),
        ] {
            assert_ne!(end(&plain), end(&other), "{what}");
        }
        let same = signature("https://b.example/k?x=1", &[("content-type", "text/plain"), ("via", "1.1 other")], b"a");
        assert_eq!(end(&plain), end(&same));
    }

    #[test]
    fn what_the_signer_sets_is_never_the_agents() {
        let own = SET_HERE.iter().map(|name| (*name, "the-agents")).collect::<Vec<_>>();
        for service in ["s3", "service"] {
            let plain = signed("https://example.amazonaws.com/", service, KEY, &[], b"");
            let parts = signed("https://example.amazonaws.com/", service, KEY, &own, b"");
            assert_eq!(parts.headers, plain.headers);
        }
    }

    #[test]
    fn a_session_token_goes_with_a_temporary_key() {
        let parts = signed("https://example.amazonaws.com/", "service", &format!("{KEY}:the-session"), &[], b"");
        assert_eq!(parts.headers["x-amz-security-token"], "the-session");
        assert!(parts.headers["authorization"].to_str().expect("text").contains("x-amz-security-token"));
    }

    #[test]
    fn an_access_key_has_two_or_three_parts() {
        for bad in ["", "a", "a:", ":b", "a:b:", "a:b:c:d", "a:b c", "a:b\n"] {
            assert!(AccessKey::parse(bad).is_none(), "{bad:?}");
        }
        assert!(AccessKey::parse("a:b").is_some_and(|key| key.session_token.is_none()));
        assert!(AccessKey::parse("a:b:c").is_some_and(|key| key.session_token == Some("c")));
    }
}
