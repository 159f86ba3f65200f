//! What credentials are made of and what is fetched with them. The first line says which: `reply` of a token endpoint,
//! `query` (a name, a secret and a query on a line each), `aws` access key, `pem` certificate with key, `placement`.

use http::{HeaderValue, Uri};
use serde_json::{Value, json};
use tgp::issue::form::decode;
use tgp::proxy::client_certificate::ClientCertificate;
use tgp::proxy::oauth2::reply::{Granted, error_code};
use tgp::proxy::query::with_parameter;
use tgp::proxy::sigv4::AccessKey;
use tgp::proxy::upstream::Upstream;
use tgp_authority::Placement;

pub fn check(data: &[u8]) -> bool {
    let Some(end) = data.iter().position(|octet| *octet == b'\n') else { return false };
    let (what, rest) = (&data[..end], &data[end + 1..]);
    match what {
        b"reply" => reply(rest),
        b"query" => std::str::from_utf8(rest).is_ok_and(query),
        b"aws" => std::str::from_utf8(rest).is_ok_and(aws),
        b"pem" => ClientCertificate::parse(rest).is_ok(),
        b"placement" => placement(rest),
        _ => false,
    }
}

/// What is granted fits a field, and reads back; what is refused is told in the standard's words alone.
fn reply(body: &[u8]) -> bool {
    if let Some(code) = error_code(body) {
        assert!(code.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_'));
    }
    let Ok(granted) = Granted::parse(body) else { return false };
    let text = |secret: &tgp_vault_client::wire::WireSecret| secret.expose_text().expect("visible").to_owned();
    let access = text(&granted.access_token);
    assert!(!access.is_empty() && HeaderValue::from_str(&format!("Bearer {access}")).is_ok() && !access.contains(' '));
    let refresh = granted.refresh_token.as_ref().map(text);
    let mut again = json!({ "access_token": access, "token_type": "Bearer", "expires_in": granted.expires_in_s });
    if let Some(refresh) = &refresh {
        again["refresh_token"] = Value::String(refresh.clone());
    }
    let again = Granted::parse(again.to_string().as_bytes()).expect("our own spelling");
    assert_eq!((text(&again.access_token), again.refresh_token.as_ref().map(text)), (access, refresh));
    assert_eq!(again.expires_in_s, granted.expires_in_s);
    true
}

/// The name is there once, however the query is read, and nothing else is lost.
fn query(text: &str) -> bool {
    let mut lines = text.splitn(3, '\n');
    let (Some(name), Some(secret), Some(query)) = (lines.next(), lines.next(), lines.next()) else { return false };
    if Placement::query(name).is_err() || format!("http://a/?{query}").parse::<Uri>().is_err() {
        return false;
    }
    let with = with_parameter(Some(query), name, secret.as_bytes());
    let uri: Uri = format!("http://a/?{}", with.as_str()).parse().expect("still a query");
    let pieces = |query: &str| -> Vec<(String, String)> {
        let pairs = query.split(['&', ';']).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let named = |key: &str| decode(key).is_some_and(|key| key.eq_ignore_ascii_case(name));
    let (before, after) = (pieces(query), pieces(uri.query().unwrap_or_default()));
    let values: Vec<_> = after.iter().filter(|(key, _)| named(key)).collect();
    assert_eq!(values.len(), 1, "{}", with.as_str());
    assert_eq!(decode(&values[0].1).as_deref(), Some(secret));
    let others = |all: &[(String, String)]| -> Vec<(String, String)> {
        all.iter().filter(|pair| !(named(&pair.0) || pair.0.is_empty() && pair.1.is_empty())).cloned().collect()
    };
    assert_eq!(others(&before), others(&after));
    true
}

fn aws(text: &str) -> bool {
    let Some(key) = AccessKey::parse(text) else { return false };
    let parts: Vec<&str> = [Some(key.id), Some(key.secret), key.session_token].into_iter().flatten().collect();
    assert_eq!(parts.join(":"), text);
    assert!(parts.iter().all(|part| HeaderValue::from_str(part).is_ok()));
    true
}

/// Reads back in both of its forms; a token endpoint can be asked.
fn placement(octets: &[u8]) -> bool {
    let Ok(placement) = serde_json::from_slice::<Placement>(octets) else { return false };
    let json = serde_json::to_string(&placement).expect("it was read");
    assert_eq!(serde_json::from_str::<Placement>(&json).expect("our own spelling"), placement);
    let packed = postcard::to_stdvec(&placement).expect("it was read");
    assert_eq!(postcard::from_bytes::<Placement>(&packed).expect("our own"), placement);
    if let Placement::OAuth2(oauth2) = &placement {
        let endpoint = Upstream::parse(&oauth2.token_endpoint).expect("what can be signed can be asked");
        assert!(oauth2.token_endpoint.starts_with(endpoint.origin()));
    }
    true
}
