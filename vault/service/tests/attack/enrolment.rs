//! Attacks on `enrol`.

use tgp_authority::{Operation, OperatorSecret, RecordKind, Revoke as RevokeOrder, RosterChange, Signed};
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::Tag;
use tgp_vault_client::wire::{Enrol, RefusalCode, RequestEnvelope, Revoke, SetRoster, StatementText};
use uuid::Uuid;
use x509_cert::der::DecodePem;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::actors::{Agent, Person, grant, invite, signed_post, signed_post_at};
use crate::deployment::{Deployment, ISSUER, OTHER_TENANT, other_text, refused};

fn first_certificate(chain: &str) -> x509_cert::Certificate {
    let end = chain.find("-----END CERTIFICATE-----").unwrap() + 26;
    x509_cert::Certificate::from_pem(&chain[..end]).unwrap()
}

#[test]
fn an_invited_agent_gets_what_its_invitation_says() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    let enrolled = agent.enrol(&at);
    assert_eq!(enrolled.facts.agent, agent.id);
    assert_eq!(enrolled.facts.handle, "travel-bot");
    assert_eq!(enrolled.facts.inviter, at.inviter.id);
    assert_eq!(enrolled.facts.keyid, agent.identity.public().keyid());
    assert_eq!(enrolled.facts.invitation_sha256, agent.invitation.digest().unwrap());
    let leaf = first_certificate(&enrolled.certificate.chain);
    let tbs = leaf.tbs_certificate();
    let (_, san) = tbs.get_extension::<SubjectAltName>().unwrap().unwrap();
    let [GeneralName::UniformResourceIdentifier(uri)] = san.0.as_slice() else {
        panic!("not one URI: {san:?}");
    };
    assert_eq!(uri.as_str(), format!("spiffe://tgp.example/agent/{}", agent.id));
    let lifetime = enrolled.certificate.not_after - enrolled.certificate.not_before;
    assert_eq!(lifetime, 86_400);
    let text = enrolled.master_key.expose_text().unwrap();
    assert!(text.starts_with(&format!("tgpmk_{}_1.1_", agent.id.simple())));
}

#[test]
fn an_enrolment_without_a_good_invitation_is_refused() {
    let at = Deployment::start();
    let stranger = Person::new();
    let lifetime = 3600;
    type Case<'a> = (&'a str, Box<dyn Fn(&mut Agent) + 'a>);
    let cases: Vec<Case<'_>> = vec![
        (
            "signed by nobody of the roster",
            Box::new(|a| {
                let order = Operation::Invite(invite(a.id, &a.code, at.now() + lifetime));
                a.invitation = stranger.signed(&at, &order, lifetime);
            }),
        ),
        (
            "signed by a stranger in the inviter's name",
            Box::new(|a| {
                let statement = a.invitation.statement.clone();
                a.invitation = statement.sign(&stranger.secret).unwrap();
            }),
        ),
        (
            "signed by a granter",
            Box::new(|a| {
                let order = Operation::Invite(invite(a.id, &a.code, at.now() + lifetime));
                a.invitation = at.granter.signed(&at, &order, lifetime);
            }),
        ),
        (
            "signed by an inviter of another tenant",
            Box::new(|a| {
                let order = Operation::Invite(invite(a.id, &a.code, at.now() + lifetime));
                a.invitation = at.outsider.signed(&at, &order, lifetime);
            }),
        ),
        (
            "for another deployment",
            Box::new(|a| {
                let mut statement = a.invitation.statement.clone();
                statement.deployment = other_text(&statement.deployment);
                a.invitation = statement.sign(&at.inviter.secret).unwrap();
            }),
        ),
        (
            "for another vault",
            Box::new(|a| {
                let mut statement = a.invitation.statement.clone();
                statement.vault = "vault-2".into();
                a.invitation = statement.sign(&at.inviter.secret).unwrap();
            }),
        ),
        (
            "for another agent, the signature kept",
            Box::new(|a| {
                a.id = Uuid::new_v4();
                a.invitation.statement.params["agent"] = a.id.to_string().into();
            }),
        ),
        (
            "in another tenant, the signature kept",
            Box::new(|a| {
                a.invitation.statement.params["tenant"] = OTHER_TENANT.to_string().into();
            }),
        ),
        (
            "with another handle, the signature kept",
            Box::new(|a| {
                a.invitation.statement.params["handle"] = "admin-bot".into();
            }),
        ),
        (
            "with the attacker's code key, the signature kept",
            Box::new(|a| {
                a.code = IdentitySecret::generate();
                let jwk = serde_json::to_value(a.code.public().to_jwk()).unwrap();
                a.invitation.statement.params["code_key"] = jwk;
            }),
        ),
        (
            "with a longer life, the signature kept",
            Box::new(|a| {
                a.invitation.statement.not_after += 3600;
            }),
        ),
        (
            "with another nonce, the signature kept",
            Box::new(|a| {
                a.invitation.statement.nonce = other_text(&a.invitation.statement.nonce);
            }),
        ),
        (
            "with one bit of the signature changed",
            Box::new(|a| {
                a.invitation.signature = other_text(&a.invitation.signature);
            }),
        ),
        (
            "for longer than seven days",
            Box::new(|a| {
                let week = 7 * 24 * 3600;
                let order = Operation::Invite(invite(a.id, &a.code, at.now() + 60));
                a.invitation = at.inviter.signed(&at, &order, week + 60);
            }),
        ),
        (
            "a grant in its place",
            Box::new(|a| {
                let order = Operation::Grant(grant(&at, a.id, "mail"));
                a.invitation = at.granter.signed(&at, &order, 600);
            }),
        ),
    ];
    for (what, forge) in cases {
        let mut agent = Agent::invited(&at);
        forge(&mut agent);
        let code = refused(what, at.call(agent.enrol_call(&at)));
        assert_eq!(code, RefusalCode::CodeInvalid, "{what}");
    }
    for text in ["", "{}", "null", "[1,2]"] {
        let agent = Agent::invited(&at);
        let call = Enrol { invitation: StatementText(text.into()), ..agent.enrol_call(&at) };
        assert_eq!(refused(text, at.call(call)), RefusalCode::CodeInvalid);
    }
}

#[test]
fn an_invitation_by_a_removed_operator_is_refused() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    let mut next = at.roster.clone();
    next.version = 2;
    next.operators.retain(|operator| operator.id != at.inviter.id);
    let change = Operation::Roster(RosterChange { roster: next });
    let statements = vec![at.owner.order(&at, &change)];
    assert_eq!(at.call(SetRoster { statements }).unwrap(), 2);
    let code = refused("removed inviter", at.call(agent.enrol_call(&at)));
    assert_eq!(code, RefusalCode::CodeInvalid);
}

#[test]
fn keys_swapped_in_an_enrolment_on_its_way_are_refused() {
    let at = Deployment::start();
    let attacker = IdentitySecret::generate();
    let attackers_tls = OperatorSecret::generate();
    let url = format!("{ISSUER}/v1/enrol");
    // Each makes of an agent's good enrolment what arrives, and says how it is refused.
    type Case<'a> = (&'a str, RefusalCode, Box<dyn Fn(&Agent, RequestEnvelope) -> RequestEnvelope + 'a>);
    let both = |a: &Agent, body: &[u8]| {
        signed_post(&at, "/v1/enrol", body, &[(Tag::Enrol, &a.identity), (Tag::EnrolCode, &a.code)])
    };
    let with = |a: &Agent, member: &str, value: serde_json::Value| {
        let mut body: serde_json::Value = serde_json::from_slice(&a.body()).unwrap();
        body[member] = value;
        serde_json::to_vec(&body).unwrap()
    };
    let jwk = serde_json::to_value(attacker.public().to_jwk()).unwrap();
    let cases: Vec<Case<'_>> = vec![
        (
            "identity key swapped in the body",
            RefusalCode::CodeInvalid,
            Box::new(|a, mut request| {
                request.body = with(a, "jwk", jwk.clone());
                request
            }),
        ),
        (
            "TLS key swapped in the body",
            RefusalCode::DigestMismatch,
            Box::new(|a, mut request| {
                request.body = with(a, "csr", attackers_tls.certificate_request().into());
                request
            }),
        ),
        (
            "identity key swapped and signed again without the code's key",
            RefusalCode::CodeInvalid,
            Box::new(|a, _| {
                let body = with(a, "jwk", jwk.clone());
                let keys = [(Tag::Enrol, &attacker), (Tag::EnrolCode, &attacker)];
                signed_post(&at, "/v1/enrol", &body, &keys)
            }),
        ),
        (
            "code signature missing",
            RefusalCode::SignatureMissing,
            Box::new(|a, _| signed_post(&at, "/v1/enrol", &a.body(), &[(Tag::Enrol, &a.identity)])),
        ),
        (
            "identity signature missing",
            RefusalCode::SignatureMissing,
            Box::new(|a, _| signed_post(&at, "/v1/enrol", &a.body(), &[(Tag::EnrolCode, &a.code)])),
        ),
        (
            "identity signature by the code's key",
            RefusalCode::CodeInvalid,
            Box::new(|a, _| {
                let keys = [(Tag::Enrol, &a.code), (Tag::EnrolCode, &a.code)];
                signed_post(&at, "/v1/enrol", &a.body(), &keys)
            }),
        ),
        (
            "another agent named in the body",
            RefusalCode::CodeInvalid,
            Box::new(|a, _| both(a, &with(a, "agent", Uuid::new_v4().to_string().into()))),
        ),
        (
            "a CSR that its key did not sign",
            RefusalCode::RequestMalformed,
            Box::new(|a, _| {
                let csr = a.tls.certificate_request();
                let at_byte = csr.len() / 2;
                let letter = if csr.as_bytes()[at_byte] == b'A' { "B" } else { "A" };
                let spoiled = format!("{}{letter}{}", &csr[..at_byte], &csr[at_byte + 1..]);
                both(a, &with(a, "csr", spoiled.into()))
            }),
        ),
        (
            "an identity key that is no key",
            RefusalCode::RequestMalformed,
            Box::new(|a, _| {
                let mut bad = jwk.clone();
                bad["crv"] = "P-256".into();
                both(a, &with(a, "jwk", bad))
            }),
        ),
        ("a member too many", RefusalCode::RequestMalformed, Box::new(|a, _| both(a, &with(a, "admin", true.into())))),
        (
            "another target",
            RefusalCode::SignatureInvalid,
            Box::new(|_, mut request| {
                request.target_uri = "https://elsewhere.example/v1/enrol".into();
                request
            }),
        ),
        (
            "signed for another deployment's endpoint",
            RefusalCode::SignatureInvalid,
            Box::new(|a, _| {
                let keys = [(Tag::Enrol, &a.identity), (Tag::EnrolCode, &a.code)];
                signed_post_at(at.now(), "https://other.example/v1/enrol", &a.body(), &keys)
            }),
        ),
        (
            "another method",
            RefusalCode::SignatureInvalid,
            Box::new(|_, mut request| {
                request.method = "PUT".into();
                request
            }),
        ),
        (
            "expired",
            RefusalCode::SignatureExpired,
            Box::new(|a, _| {
                let keys = [(Tag::Enrol, &a.identity), (Tag::EnrolCode, &a.code)];
                signed_post_at(at.now() - 61, &url, &a.body(), &keys)
            }),
        ),
        (
            "from the future",
            RefusalCode::SignatureInvalid,
            Box::new(|a, _| {
                let keys = [(Tag::Enrol, &a.identity), (Tag::EnrolCode, &a.code)];
                signed_post_at(at.now() + 45, &url, &a.body(), &keys)
            }),
        ),
        (
            "no fields at all",
            RefusalCode::SignatureMissing,
            Box::new(|_, mut request| {
                request.headers.clear();
                request
            }),
        ),
        (
            "a field with a line break",
            RefusalCode::RequestMalformed,
            Box::new(|_, mut request| {
                request.headers.push(("x".into(), "a\r\nb".into()));
                request
            }),
        ),
    ];
    for (what, expected, forge) in cases {
        let agent = Agent::invited(&at);
        let request = forge(&agent, agent.enrolment(&at));
        let call = Enrol { request, ..agent.enrol_call(&at) };
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
        // Nothing of it was spent: the agent itself still gets in.
        agent.enrol(&at);
    }
}

#[test]
fn an_enrolment_is_repeated_only_with_the_same_keys_and_within_ten_minutes() {
    let mut at = Deployment::start();
    let agent = Agent::invited_until(&at, 300);
    let first = agent.enrol(&at);
    let again = agent.enrol(&at);
    assert_eq!(again.facts, first.facts);
    assert!(again.master_key == first.master_key);

    let thief = |identity: bool| Agent {
        id: agent.id,
        identity: if identity { IdentitySecret::generate() } else { copy(&agent.identity) },
        tls: if identity { copy_tls(&agent.tls) } else { OperatorSecret::generate() },
        code: copy(&agent.code),
        invitation: agent.invitation.clone(),
    };
    for (what, other) in [("another identity key", thief(true)), ("another TLS key", thief(false))] {
        let code = refused(what, at.call(other.enrol_call(&at)));
        assert_eq!(code, RefusalCode::CodeUsed, "{what}");
    }
    // Past the code's expiry, within the ten minutes, over a restart.
    at.restart_later(400);
    assert_eq!(agent.enrol(&at).facts, first.facts);
    at.restart_later(300);
    let code = refused("after ten minutes", at.call(agent.enrol_call(&at)));
    assert_eq!(code, RefusalCode::CodeUsed);
    // Once the vault has forgotten the use, the invitation itself has long expired.
    at.restart_later(600);
    Agent::invited(&at).enrol(&at);
    let code = refused("forgotten", at.call(agent.enrol_call(&at)));
    assert_eq!(code, RefusalCode::CodeExpired);
}

#[test]
fn an_invitation_that_was_never_used_expires() {
    let mut at = Deployment::start();
    let statement_over = Agent::invited_until(&at, 60);
    // The code ends before the statement that carries it does.
    let mut code_over = Agent::invited(&at);
    let order = Operation::Invite(invite(code_over.id, &code_over.code, at.now() + 60));
    code_over.invitation = at.inviter.signed(&at, &order, 3600);
    at.restart_later(61);
    for (what, agent) in [("statement", statement_over), ("code", code_over)] {
        let code = refused(what, at.call(agent.enrol_call(&at)));
        assert_eq!(code, RefusalCode::CodeExpired, "{what}");
    }
}

#[test]
fn a_second_invitation_does_not_replace_an_agent_that_just_enrolled() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    agent.enrol(&at);
    let mut other = Agent::invited(&at);
    other.id = agent.id;
    let order = Operation::Invite(invite(other.id, &other.code, at.now() + 60));
    other.invitation = at.inviter.signed(&at, &order, 60);
    let code = refused("second invitation", at.call(other.enrol_call(&at)));
    assert_eq!(code, RefusalCode::CodeUsed);
}

#[test]
fn an_agent_is_enrolled_once_for_good_in_every_tenant() {
    let mut at = Deployment::start();
    let agent = Agent::invited(&at);
    agent.enrol(&at);
    // Long enough for the invitation and its repeats to be forgotten.
    at.restart_later(8 * 24 * 3600);
    let mut other = Agent::invited(&at);
    other.id = agent.id;
    let again = invite(other.id, &other.code, at.now() + 60);
    other.invitation = at.inviter.signed(&at, &Operation::Invite(again.clone()), 60);
    let code = refused("a new invitation", at.call(other.enrol_call(&at)));
    assert_eq!(code, RefusalCode::CodeUsed);
    let elsewhere = tgp_authority::Invite { tenant: OTHER_TENANT, ..again };
    other.invitation = at.outsider.signed(&at, &Operation::Invite(elsewhere), 60);
    let code = refused("in another tenant", at.call(Enrol { dek: at.other_dek, ..other.enrol_call(&at) }));
    assert_eq!(code, RefusalCode::CodeUsed);
}

#[test]
fn a_replayed_enrolment_is_refused() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    let call = || Enrol { ..agent.enrol_call(&at) };
    let (first, replay) = (call(), call());
    let replay = Enrol { request: first.request.clone(), ..replay };
    at.call(first).unwrap();
    assert_eq!(refused("replay", at.call(replay)), RefusalCode::SignatureReplayed);
}

#[test]
fn an_agent_that_was_revoked_before_it_enrolled_cannot_enrol() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    revoke_agent(&at, agent.id);
    let code = refused("revoked", at.call(agent.enrol_call(&at)));
    assert_eq!(code, RefusalCode::RecordStale);
}

#[test]
fn an_enrolment_is_sealed_with_no_other_key_than_its_tenants_record_key() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    for (what, dek) in [("metadata", at.metadata_dek), ("other tenant", at.other_dek)] {
        let call = Enrol { dek, ..agent.enrol_call(&at) };
        assert_eq!(refused(what, at.call(call)), RefusalCode::DekRefused, "{what}");
    }
    let dek = Uuid::new_v4();
    let call = Enrol { dek, ..agent.enrol_call(&at) };
    match at.call(call) {
        Err(tgp_vault_client::CallError::DekUnknown(id)) => assert_eq!(id, dek),
        other => panic!("{other:?}"),
    }
    agent.enrol(&at);
}

pub fn revoke_agent(at: &Deployment, agent: Uuid) {
    let order = Operation::Revoke(RevokeOrder {
        tenant: crate::deployment::TENANT,
        kind: RecordKind::Agent,
        id: agent.to_string(),
    });
    let statements = vec![at.inviter.order(at, &order)];
    assert_eq!(at.call(Revoke { statements }).unwrap().floor, 2);
}

fn copy(key: &IdentitySecret) -> IdentitySecret {
    IdentitySecret::from_bytes(&key.dangerous_to_bytes()).unwrap()
}

fn copy_tls(key: &OperatorSecret) -> OperatorSecret {
    OperatorSecret::from_pem(&key.dangerous_to_pem()).unwrap()
}

// Only its shape matters here: what an attacker can do with a statement he holds.
#[test]
fn a_statement_with_a_second_spelling_is_not_a_second_statement() {
    let at = Deployment::start();
    let agent = Agent::invited(&at);
    let text = serde_json::to_string(&agent.invitation).unwrap();
    let upper = text.replace(&agent.id.to_string(), &agent.id.to_string().to_uppercase());
    let spaced: Signed = serde_json::from_str(&text).unwrap();
    let doubled = text.replacen("{\"statement\":{", "{\"statement\":{\"vault\":\"vault-1\",", 1);
    assert_eq!(spaced, agent.invitation);
    for (what, text) in [("upper-case id", upper), ("doubled member", doubled)] {
        let call = Enrol { invitation: StatementText(text), ..agent.enrol_call(&at) };
        assert_eq!(refused(what, at.call(call)), RefusalCode::CodeInvalid, "{what}");
    }
}
