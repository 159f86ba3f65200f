//! Attacks on `renew`.

use tgp_authority::OperatorSecret;
use tgp_request::signature::Tag;
use tgp_vault_client::wire::{RefusalCode, Renew};

use crate::actors::{Working, signed_post, signed_post_at};
use crate::deployment::{Deployment, ISSUER, refused};
use crate::enrolment::revoke_agent;

#[test]
fn a_clock_set_back_across_a_restart_brings_no_proof_back() {
    let mut at = Deployment::start();
    let working = Working::new(&at);
    let renew = |at: &Deployment| {
        let csr = OperatorSecret::generate().certificate_request();
        let body = serde_json::json!({ "csr": csr }).to_string();
        let request = signed_post(at, "/v1/certificates", body.as_bytes(), &[(Tag::Renew, &working.agent.identity)]);
        Renew { agent_record: working.enrolled.record.clone(), request }
    };
    let seen = renew(&at);
    let again = || Renew { agent_record: seen.agent_record.clone(), request: seen.request.clone() };
    at.call(again()).unwrap();
    // Now it lies ahead of the clock, within what is allowed for a clock that differs.
    at.restart_later(-15);
    assert_eq!(refused("seen", at.call(again())), RefusalCode::SignatureExpired);
    // Whoever signs in the seconds that were lost is told to sign again; after them all is well.
    assert_eq!(refused("lost seconds", at.call(renew(&at))), RefusalCode::SignatureExpired);
    at.restart_later(17);
    at.call(renew(&at)).unwrap();
}

#[test]
fn a_certificate_is_renewed_only_for_the_key_of_the_record() {
    let at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    let csr = |tls: &OperatorSecret| serde_json::json!({ "csr": tls.certificate_request() }).to_string();
    let body = csr(&OperatorSecret::generate());
    let request = |key| signed_post(&at, "/v1/certificates", body.as_bytes(), &[(Tag::Renew, key)]);
    let record = || one.enrolled.record.clone();

    let good = request(&one.agent.identity);
    let renewed = at.call(Renew { agent_record: record(), request: good.clone() }).unwrap();
    assert!(renewed.not_after - renewed.not_before <= 86_400);

    let identity = &one.agent.identity;
    let mut swapped = request(identity);
    swapped.body = csr(&OperatorSecret::generate()).into_bytes();
    let enrol_tag = signed_post(&at, "/v1/certificates", body.as_bytes(), &[(Tag::Enrol, identity)]);
    let elsewhere = signed_post(&at, "/v1/enrol", body.as_bytes(), &[(Tag::Renew, identity)]);
    let no_csr = signed_post(&at, "/v1/certificates", b"{}", &[(Tag::Renew, identity)]);
    let stale = {
        let url = format!("{ISSUER}/v1/certificates");
        signed_post_at(at.now() - 61, &url, body.as_bytes(), &[(Tag::Renew, identity)])
    };
    let cases = [
        ("replayed", record(), good, RefusalCode::SignatureReplayed),
        ("another agent's key", record(), request(&two.agent.identity), RefusalCode::SignatureInvalid),
        ("another agent's record", two.enrolled.record.clone(), request(identity), RefusalCode::SignatureInvalid),
        ("CSR swapped on its way", record(), swapped, RefusalCode::DigestMismatch),
        ("an enrolment's tag", record(), enrol_tag, RefusalCode::SignatureMissing),
        ("another endpoint", record(), elsewhere, RefusalCode::SignatureInvalid),
        ("no CSR", record(), no_csr, RefusalCode::RequestMalformed),
        ("expired", record(), stale, RefusalCode::SignatureExpired),
        ("a grant as record", one.grant.record.clone(), request(identity), RefusalCode::RecordInvalid),
    ];
    for (what, agent_record, request, expected) in cases {
        let code = refused(what, at.call(Renew { agent_record, request }));
        assert_eq!(code, expected, "{what}");
    }
    revoke_agent(&at, one.agent.id);
    let call = Renew { agent_record: record(), request: request(identity) };
    assert_eq!(refused("revoked", at.call(call)), RefusalCode::RecordStale);
}
