//! Refusals as HTTP answers: RFC 9457 problem documents, and RFC 6749 §5.2 errors for `/oauth2/*`.
//! This is the only place that gives a code its status.

use axum::body::Body;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::config::Origin;
use crate::issue::OauthError;
use crate::refusal::{Advice, Code, Refusal};

/// PROTOCOL.md, "Errors".
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::RequestMalformed
        | Code::SignatureInvalid
        | Code::SignatureExpired
        | Code::SignatureReplayed
        | Code::DigestMismatch
        | Code::PathNotCanonical
        | Code::CodeUsed
        | Code::CodeExpired => StatusCode::BAD_REQUEST,
        Code::TokenMissing
        | Code::TokenInvalid
        | Code::SignatureMissing
        | Code::CertificateRequired
        | Code::CertificateInvalid
        | Code::VerifierRequired
        | Code::CodeInvalid => StatusCode::UNAUTHORIZED,
        Code::ScopeInsufficient
        | Code::ActionUnknown
        | Code::CertificateMismatch
        | Code::AgentFrozen
        | Code::AgentRetired
        | Code::GrantMissing
        | Code::ResourceRefused
        | Code::DelegationRefused
        | Code::ApprovalRequired
        | Code::BodyRequired
        | Code::StatementRefused
        | Code::RoleInsufficient => StatusCode::FORBIDDEN,
        Code::ToolUnknown | Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Conflict => StatusCode::CONFLICT,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::LimitExceeded | Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::UpstreamRefused | Code::UpstreamBroken => StatusCode::BAD_GATEWAY,
        Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Code::VaultUnavailable | Code::StoreUnavailable | Code::ClockSkew | Code::GatewayStopping => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A problem document with the headers that its code calls for.
pub fn problem(issuer: &Origin, request_id: Uuid, refusal: &Refusal) -> Response<Body> {
    problem_as(status(refusal.code), issuer, request_id, refusal)
}

/// The same for a proxy that asks before it passes a request on: such know 401 and 403 and nothing else, so what it would
/// have been stands in fields beside the code.
pub fn forwarded(issuer: &Origin, request_id: Uuid, refusal: &Refusal) -> Response<Body> {
    let original = status(refusal.code);
    let answered = match original {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    let mut response = problem_as(answered, issuer, request_id, refusal);
    let headers = response.headers_mut();
    headers.insert("tgp-reason", HeaderValue::from_static(refusal.code.as_str()));
    headers.insert("tgp-status", HeaderValue::from(original.as_u16()));
    response
}

fn problem_as(status: StatusCode, issuer: &Origin, request_id: Uuid, refusal: &Refusal) -> Response<Body> {
    let code = refusal.code;
    let document = json!({
        "type": format!("{issuer}/problems/{code}"),
        "title": code.as_str().replace('-', " "),
        "status": status.as_u16(),
        "code": code.as_str(),
        "detail": refusal.detail,
        "request_id": request_id,
    });
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = challenge(refusal, status) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    advise(headers, refusal);
    response
}

/// RFC 6750 §3.
fn challenge(refusal: &Refusal, answered: StatusCode) -> Option<HeaderValue> {
    match (refusal.code, &refusal.advice) {
        (Code::TokenInvalid, _) => Some(HeaderValue::from_static("Bearer error=\"invalid_token\"")),
        (Code::ScopeInsufficient, Some(Advice::Scope(scope))) => {
            HeaderValue::from_str(&format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")).ok()
        }
        (Code::ScopeInsufficient, _) => Some(HeaderValue::from_static("Bearer error=\"insufficient_scope\"")),
        // RFC 9110 §15.5.2: a 401 names a scheme.
        _ if answered == StatusCode::UNAUTHORIZED => Some(HeaderValue::from_static("Bearer")),
        _ => None,
    }
}

/// RFC 9728 §5.1: a 401 or 403 says where the metadata of what was asked for is. `url` holds nothing that needs quoting.
pub fn name_metadata(mut response: Response<Body>, url: &str) -> Response<Body> {
    if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let challenge = response.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let text = match challenge {
            Some("Bearer") | None => format!("Bearer resource_metadata=\"{url}\""),
            Some(challenge) => format!("{challenge}, resource_metadata=\"{url}\""),
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
    }
    response
}

fn advise(headers: &mut http::HeaderMap, refusal: &Refusal) {
    match &refusal.advice {
        Some(Advice::RetryAfter(seconds)) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Some(Advice::Signature(value)) => {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static("accept-signature"), value);
            }
        }
        Some(Advice::Close) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Some(Advice::Allow(methods)) => {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        Some(Advice::Scope(_)) | None => {}
    }
}

fn oauth_status(error: OauthError, code: Code) -> StatusCode {
    match error {
        // RFC 6749 §5.2: 401 for a client that tried to authenticate, 400 for all else.
        OauthError::InvalidClient => StatusCode::UNAUTHORIZED,
        OauthError::TemporarilyUnavailable | OauthError::ServerError => status(code),
        OauthError::InvalidRequest => match code {
            Code::BodyTooLarge | Code::HeadersTooLarge | Code::MethodNotAllowed | Code::NotFound => status(code),
            _ => StatusCode::BAD_REQUEST,
        },
        _ => StatusCode::BAD_REQUEST,
    }
}

/// An RFC 6749 §5.2 error with `tgp_code`.
pub fn oauth(error: OauthError, request_id: Uuid, refusal: &Refusal) -> Response<Body> {
    // error_description is NQCHAR: no quotes, no backslash, ASCII only.
    let description: String =
        refusal.detail.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
    let document = json!({
        "error": error.as_str(),
        "error_description": description,
        "tgp_code": refusal.code.as_str(),
        "request_id": request_id,
    });
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = oauth_status(error, refusal.code);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if error == OauthError::InvalidClient {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tgp\""));
    }
    advise(headers, refusal);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn issuer() -> Origin {
        Origin::parse("https://gw.tgp.example").expect("an origin")
    }

    async fn json_of(response: Response<Body>) -> serde_json::Value {
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn every_code_has_the_protocols_status() {
        let table: &[(u16, &[Code])] = &[
            (400, &[Code::RequestMalformed, Code::SignatureReplayed, Code::PathNotCanonical, Code::CodeUsed]),
            (401, &[Code::TokenMissing, Code::TokenInvalid, Code::SignatureMissing, Code::CodeInvalid]),
            (403, &[Code::ScopeInsufficient, Code::ActionUnknown, Code::CertificateMismatch, Code::AgentFrozen]),
            (404, &[Code::ToolUnknown, Code::NotFound]),
            (405, &[Code::MethodNotAllowed]),
            (413, &[Code::BodyTooLarge]),
            (431, &[Code::HeadersTooLarge]),
            (429, &[Code::LimitExceeded, Code::RateLimited]),
            (502, &[Code::UpstreamRefused, Code::UpstreamBroken]),
            (504, &[Code::UpstreamTimeout]),
            (503, &[Code::VaultUnavailable, Code::StoreUnavailable, Code::ClockSkew, Code::GatewayStopping]),
        ];
        for (number, codes) in table {
            for code in *codes {
                assert_eq!(status(*code).as_u16(), *number, "{code}");
            }
        }
    }

    #[tokio::test]
    async fn a_problem_names_its_type_code_and_request() {
        let id = Uuid::new_v4();
        let refusal = Refusal::new(Code::PathNotCanonical, "send the path without dot segments");
        let response = problem(&issuer(), id, &refusal);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let document = json_of(response).await;
        assert_eq!(document["type"], "https://gw.tgp.example/problems/path-not-canonical");
        assert_eq!(document["code"], "path-not-canonical");
        assert_eq!(document["request_id"], id.to_string());
        assert_eq!(document["detail"], "send the path without dot segments");
    }

    #[test]
    fn an_insufficient_scope_names_the_scope_needed() {
        let refusal = Refusal::new(Code::ScopeInsufficient, "no").advise(Advice::Scope("mail:send".into()));
        let response = problem(&issuer(), Uuid::new_v4(), &refusal);
        assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"insufficient_scope\", scope=\"mail:send\"");
        let refusal = Refusal::new(Code::TokenInvalid, "no");
        let response = problem(&issuer(), Uuid::new_v4(), &refusal);
        assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
    }

    #[test]
    fn a_refusal_at_a_tool_says_where_its_metadata_is() {
        let named = |code| {
            let response = problem(&issuer(), Uuid::new_v4(), &Refusal::new(code, "no"));
            let response = name_metadata(response, "https://gw/x");
            response.headers().get("www-authenticate").map(|value| value.to_str().expect("text").to_owned())
        };
        let metadata = "resource_metadata=\"https://gw/x\"";
        assert_eq!(named(Code::TokenMissing), Some(format!("Bearer {metadata}")));
        assert_eq!(named(Code::TokenInvalid), Some(format!("Bearer error=\"invalid_token\", {metadata}")));
        assert_eq!(named(Code::ActionUnknown), Some(format!("Bearer {metadata}")));
        assert_eq!(named(Code::RequestMalformed), None);
    }

    #[test]
    fn limits_say_when_to_come_back() {
        let refusal = Refusal::new(Code::RateLimited, "slow down").advise(Advice::RetryAfter(7));
        assert_eq!(problem(&issuer(), Uuid::new_v4(), &refusal).headers()["retry-after"], "7");
        assert_eq!(oauth(OauthError::TemporarilyUnavailable, Uuid::new_v4(), &refusal).headers()["retry-after"], "7");
    }

    #[tokio::test]
    async fn an_oauth_error_carries_our_code_and_a_challenge() {
        let refusal = Refusal::new(Code::CodeInvalid, "the \"master key\" is not this agent's");
        let response = oauth(OauthError::InvalidClient, Uuid::new_v4(), &refusal);
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"tgp\"");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let document = json_of(response).await;
        assert_eq!(document["error"], "invalid_client");
        assert_eq!(document["tgp_code"], "code-invalid");
        assert_eq!(document["error_description"], "the master key is not this agent's");
    }
}
