//! The token endpoint: the form in the body, or, where the first line is an `authorization` field, `client_secret_basic`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use tgp::issue::OauthRefusal;
use tgp::issue::basic::Basic;
use tgp::issue::form::{Asked, Form, GrantType, Narrowed, Way, decode};
use tgp_request::MasterKey;

const CLIENT: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";
const FIELD: &[u8] = b"authorization: ";

pub fn check(data: &[u8]) -> bool {
    match data.strip_prefix(FIELD) {
        Some(value) => basic(value),
        None => body(data),
    }
}

fn body(data: &[u8]) -> bool {
    let parse = |body: &[u8]| {
        let form = Form::parse(body)?;
        match form.grant_type(CLIENT.parse().unwrap())? {
            GrantType::ClientCredentials => Asked::parse(form),
            GrantType::TokenExchange => {
                let (token, narrowed) = Narrowed::parse(form)?;
                assert!(!token.is_empty() && narrowed.resources.len() <= 16, "what is there is something");
                Err(OauthRefusal::unsupported_grant_type())
            }
        }
    };
    let Ok(asked) = parse(data) else { return false };
    let Asked { tool, resource, actions, resources, may_act, way } = &asked;
    assert!((1..=64).contains(&actions.len()));
    assert!((1..actions.len()).all(|at| !actions[..at].contains(&actions[at])), "each action once");
    assert!(resources.len() <= 16 && (*way == Way::Details || resources.is_empty()));
    let again = match (way, resource) {
        (Way::Scope, Some(resource)) => {
            let scopes: Vec<String> = actions.iter().map(|action| format!("{tool}:{action}")).collect();
            format!("scope={}&resource={}", encode(&scopes.join(" ")), encode(resource))
        }
        (Way::Scope, None) => panic!("scope goes with resource"),
        (Way::Details, _) => {
            let locations = resource.as_ref().map(|it| vec![it]);
            let patterns = (!resources.is_empty()).then_some(resources);
            let detail = serde_json::json!([{
                "type": "tgp_tool", "identifier": tool, "actions": actions, "locations": locations, "resources": patterns,
            }]);
            format!("authorization_details={}", encode(&detail.to_string()))
        }
    };
    let may_act = may_act.map_or(String::new(), |agent| format!("&may_act={agent}"));
    let again = format!("grant_type=client_credentials&client_id={CLIENT}&{again}{may_act}");
    assert_eq!(parse(again.as_bytes()).expect("our own spelling"), asked);
    // RFC 6749 §3.1: a parameter is sent once.
    let twice = [data, b"&grant_type=client_credentials"].concat();
    assert!(parse(&twice).is_err());
    true
}

fn basic(value: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(value) else { return false };
    let Ok(shown) = Basic::parse(&HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])) else {
        return false;
    };
    let shown = shown.expect("the field is there");
    let key = MasterKey::parse(&shown.master_key).expect("it was read as one");
    assert_eq!(key.agent, shown.agent);
    let pair = format!("{}:{}", encode(&shown.agent.to_string()), encode(&shown.master_key));
    let field = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).unwrap();
    let again = Basic::parse(&HeaderMap::from_iter([(http::header::AUTHORIZATION, field)]));
    let again = again.expect("our own spelling").expect("the field is there");
    assert_eq!((again.agent, &again.master_key), (shown.agent, &shown.master_key));
    true
}

/// Every octet escaped: what a value may always be written as.
fn encode(text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(decode(&escaped).as_deref(), Some(text));
    escaped
}
