//! Enrolment: the code that is handed over, the body that is sent, the invitation that an inviter signed.

use serde_json::Value;
use tgp_authority::{Op, Operation};
use tgp_request::enrol::{EnrolmentCode, EnrolmentRequest};
use tgp_request::jwk::IdentityKey;

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    code(text) || body(text) || invitation(text)
}

fn code(text: &str) -> bool {
    let Ok(code) = EnrolmentCode::parse(text) else { return false };
    assert_eq!(code.text().as_str(), text, "a code has one text");
    true
}

fn body(text: &str) -> bool {
    let Ok(request) = serde_json::from_str::<EnrolmentRequest>(text) else { return false };
    let written = serde_json::to_string(&request).unwrap();
    let again: EnrolmentRequest = serde_json::from_str(&written).expect("what was written reads back");
    assert_eq!((again.agent, &again.csr), (request.agent, &request.csr));
    if let Ok(key) = IdentityKey::from_jwk(&request.jwk) {
        assert_eq!(IdentityKey::from_jwk(&again.jwk), Ok(key));
    }
    true
}

fn invitation(text: &str) -> bool {
    let Ok(params) = serde_json::from_str::<Value>(text) else { return false };
    let Ok(operation) = Operation::parse(Op::Invite.as_str(), &params) else { return false };
    let Operation::Invite(invite) = &operation else { panic!("an invitation is read as one") };
    assert_eq!(operation.params(), params, "an invitation has one spelling");
    assert!(!invite.agent.is_nil() && (1..=2).contains(&invite.methods.len()) && invite.not_after >= 0);
    assert!(IdentityKey::from_jwk(&invite.code_key).is_ok_and(|key| key.to_jwk() == invite.code_key));
    true
}
