//! People who order and agents who ask, as the real ones do.

use http::{HeaderMap, HeaderValue};
use tgp_authority::{
    Credential, Grant, Invite, Method, Operation, OperatorSecret, Placement, Signed, Statement, salted_secret_sha256,
};
use tgp_request::enrol::EnrolmentRequest;
use tgp_request::jwk::IdentitySecret;
use tgp_request::name::Aan;
use tgp_request::signature::{Params, Tag, sign_request};
use tgp_vault_client::CallError;
use tgp_vault_client::wire::{
    self, Draw, Enrolled, MintToken, Minted, Proof, RequestEnvelope, SealedCredential, SealedGrant, StatementText,
    WireSecret,
};
use uuid::Uuid;

use crate::deployment::{Deployment, ISSUER, TENANT};

pub fn resource(tool: &str) -> String {
    format!("{ISSUER}/t/{tool}")
}

fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    for chunk in out.chunks_mut(16) {
        chunk.copy_from_slice(&Uuid::new_v4().as_bytes()[..chunk.len()]);
    }
    out
}

/// An operator.
pub struct Person {
    pub id: Uuid,
    pub secret: OperatorSecret,
}

impl Person {
    pub fn new() -> Self {
        Person { id: Uuid::new_v4(), secret: OperatorSecret::generate() }
    }

    /// A good statement of this person's.
    pub fn order(&self, at: &Deployment, operation: &Operation) -> StatementText {
        StatementText::of(&self.signed(at, operation, 600))
    }

    pub fn signed(&self, at: &Deployment, operation: &Operation, lifetime: i64) -> Signed {
        let statement = self.statement(at, operation, lifetime);
        statement.sign(&self.secret).unwrap()
    }

    pub fn statement(&self, at: &Deployment, operation: &Operation, lifetime: i64) -> Statement {
        let until = at.now() + lifetime;
        Statement::new(operation, &at.name, "vault-1", self.id, random(), until)
    }
}

/// An agent, its invitation, and what it has after enrolment.
pub struct Agent {
    pub id: Uuid,
    pub identity: IdentitySecret,
    pub tls: OperatorSecret,
    pub code: IdentitySecret,
    pub invitation: Signed,
}

impl Agent {
    /// One that the deployment's inviter invited.
    pub fn invited(at: &Deployment) -> Self {
        Self::invited_until(at, 3600)
    }

    pub fn invited_until(at: &Deployment, lifetime: i64) -> Self {
        let (id, code) = (Uuid::new_v4(), IdentitySecret::generate());
        let invite = invite(id, &code, at.now() + lifetime);
        let invitation = at.inviter.signed(at, &Operation::Invite(invite), lifetime);
        Agent { id, identity: IdentitySecret::generate(), tls: OperatorSecret::generate(), code, invitation }
    }

    pub fn body(&self) -> Vec<u8> {
        let body = EnrolmentRequest {
            agent: self.id,
            csr: self.tls.certificate_request(),
            jwk: self.identity.public().to_jwk(),
        };
        serde_json::to_vec(&body).unwrap()
    }

    /// The enrolment as this agent sends it.
    pub fn enrolment(&self, at: &Deployment) -> RequestEnvelope {
        let keys = [(Tag::Enrol, &self.identity), (Tag::EnrolCode, &self.code)];
        signed_post(at, "/v1/enrol", &self.body(), &keys)
    }

    pub fn enrol_call(&self, at: &Deployment) -> wire::Enrol {
        wire::Enrol { invitation: StatementText::of(&self.invitation), request: self.enrolment(at), dek: at.dek }
    }

    pub fn enrol(&self, at: &Deployment) -> Enrolled {
        at.call(self.enrol_call(at)).unwrap()
    }

    /// A call of a tool, signed.
    pub fn request(&self, at: &Deployment, token: &str, url: &str) -> RequestEnvelope {
        let params = Params::new(at.now(), random());
        self.request_with(token, url, &self.identity, params)
    }

    pub fn request_with(&self, token: &str, url: &str, key: &IdentitySecret, params: Params) -> RequestEnvelope {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        headers.insert("authorization", bearer);
        sign_request("GET", url, &mut headers, &[], Tag::Request, key, params, "sig").unwrap();
        envelope("GET", url, &headers, &[])
    }
}

pub fn invite(agent: Uuid, code: &IdentitySecret, not_after: i64) -> Invite {
    Invite {
        agent,
        tenant: TENANT,
        handle: "travel-bot".parse().unwrap(),
        aan: Aan::from_random("7284", [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]).unwrap(),
        methods: vec![Method::ClientSecretBasic],
        code_key: code.public().to_jwk(),
        not_after,
    }
}

/// A signed JSON request to the deployment.
pub fn signed_post(at: &Deployment, path: &str, body: &[u8], keys: &[(Tag, &IdentitySecret)]) -> RequestEnvelope {
    signed_post_at(at.now(), &format!("{ISSUER}{path}"), body, keys)
}

pub fn signed_post_at(created: i64, url: &str, body: &[u8], keys: &[(Tag, &IdentitySecret)]) -> RequestEnvelope {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    for (n, (tag, key)) in keys.iter().enumerate() {
        let (params, label) = (Params::new(created, random()), format!("sig{n}"));
        sign_request("POST", url, &mut headers, body, *tag, key, params, &label).unwrap();
    }
    envelope("POST", url, &headers, body)
}

fn envelope(method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> RequestEnvelope {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    RequestEnvelope {
        method: method.into(),
        target_uri: url.into(),
        headers: headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect(),
        body: body.to_vec(),
    }
}

/// A grant of `mail.*` at a tool, valid for an hour.
pub fn grant(at: &Deployment, agent: Uuid, tool: &str) -> Grant {
    Grant {
        grant: Uuid::new_v4(),
        version: 1,
        tenant: TENANT,
        agent,
        tool: tool.parse().unwrap(),
        resource: resource(tool),
        actions: vec!["mail.*".parse().unwrap()],
        resources: vec![],
        not_before: at.now() - 10,
        not_after: at.now() + 3600,
        credential: None,
    }
}

pub fn set_grant(at: &Deployment, grant: &Grant) -> Result<SealedGrant, CallError> {
    let statement = at.granter.order(at, &Operation::Grant(grant.clone()));
    at.call(wire::SetGrant { statement, dek: at.dek })
}

pub const SALT: &[u8] = b"0123456789abcdef";
pub const SECRET: &[u8] = b"s3cr3t-of-the-upstream";

pub fn credential(tool: &str, version: u32) -> Credential {
    Credential {
        tenant: TENANT,
        tool: tool.parse().unwrap(),
        name: None,
        resource: resource(tool),
        version,
        origins: vec!["https://mail.upstream.example".into()],
        placement: Placement::Bearer,
        secret_sha256: salted_secret_sha256(SALT, SECRET),
    }
}

pub fn set_credential(at: &Deployment, credential: &Credential) -> Result<SealedCredential, CallError> {
    let statement = at.granter.order(at, &Operation::Credential(credential.clone()));
    at.call(wire::SetCredential {
        statement,
        salt: SALT.to_vec(),
        secret: WireSecret::new(SECRET.to_vec()),
        dek: at.dek,
    })
}

/// An agent that enrolled and may do `mail.*` at `mail`, and all records about it.
pub struct Working {
    pub agent: Agent,
    pub enrolled: Enrolled,
    pub grant: SealedGrant,
    pub credential: SealedCredential,
}

impl Working {
    pub fn new(at: &Deployment) -> Self {
        let agent = Agent::invited(at);
        let enrolled = agent.enrol(at);
        let grant = set_grant(at, &grant(at, agent.id, "mail")).unwrap();
        // One tool, one credential, however many agents.
        let credential = at.mail.get_or_init(|| set_credential(at, &credential("mail", 1)).unwrap());
        Working { agent, enrolled, grant, credential: credential.clone() }
    }

    pub fn master_key(&self) -> &str {
        self.enrolled.master_key.expose_text().unwrap()
    }

    pub fn mint_call(&self) -> MintToken {
        MintToken {
            agent_record: self.enrolled.record.clone(),
            grant_record: self.grant.record.clone(),
            proof: Proof::MasterKey(WireSecret::from(self.master_key().to_owned())),
            tool: "mail".into(),
            resource: resource("mail"),
            actions: vec!["mail.send".into()],
            resources: vec![],
            may_act: None,
            lifetime_s: 300,
        }
    }

    pub fn mint(&self, at: &Deployment) -> Minted {
        at.call(self.mint_call()).unwrap()
    }

    pub fn token(&self, at: &Deployment) -> String {
        self.mint(at).token.expose_text().unwrap().to_owned()
    }

    pub fn release_call(&self, request: RequestEnvelope) -> wire::Release {
        wire::Release {
            agent_record: self.enrolled.record.clone(),
            grant_record: self.grant.record.clone(),
            principal_records: vec![],
            credential_record: self.credential.record.clone(),
            request,
            draw: Draw::Secret,
        }
    }
}
