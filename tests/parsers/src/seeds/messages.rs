//! One call and one reply of every operation, and one record of every kind.

use serde::Serialize;
use serde_json::json;
use tgp_vault_client::wire::{
    AgentFacts, Attribute, BlindIndex, CallCount, Certificate, CertifyOperator, CertifyServer, Count, Describe,
    Description, Door, Draw, Enrol, Enrolled, ExchangeToken, Fetched, GrantFacts, Health, HealthReport, Inventory,
    KeyEntry, LoadDek, MintToken, Minted, Mode, NewDek, Op, Open, OpenItem, Placement, Proof, Refusal, RefusalCode,
    Release, Released, Renew, RequestEnvelope, Revoke, Revoked, Seal, SealAccessToken, SealItem, SealedAccessToken,
    SealedCredential, SealedGrant, SetCredential, SetGrant, SetRoster, SignStatusList, SignedStatusList, StatementText,
    Status, TlsSign, WireSecret, WrappedDek, encode_call, hello,
};
use uuid::Uuid;

use super::{Seeds, text};
use crate::vectors::{AGENT, STATEMENTS};
use crate::wire::CALL;

const ID: Uuid = Uuid::from_u128(0x0198_f2c4_6d1e_7c3a_9b52_3f8e_1a2b_4c5d);

fn message(op: Op, status: u8, body: &impl Serialize) -> Vec<u8> {
    let mut octets = vec![op as u8, status];
    octets.extend(postcard::to_stdvec(body).unwrap());
    octets
}

pub(super) fn wire(seeds: &mut Seeds) {
    calls(seeds);
    replies(seeds);
    for (status, body) in [
        (Status::Refused, postcard::to_stdvec(&Refusal::new(RefusalCode::OutOfRange, "no")).unwrap()),
        (Status::DekUnknown, postcard::to_stdvec(&ID).unwrap()),
    ] {
        seeds.good("wire", [&[Op::Open as u8, status as u8][..], &body].concat());
    }
    seeds.bad("wire", [&[Op::Open as u8, Status::Unavailable as u8][..], b"\x04away"].concat());
    let mut stream = vec![0];
    stream.extend(hello(Door::Tls));
    for id in 1..3 {
        encode_call(&mut stream, id, &TlsSign { scheme: 0x0403, message: vec![7; 9] }).unwrap();
    }
    stream.extend([0, 0, 0, 200, 1]);
    seeds.good("wire", stream);
    seeds.bad("wire", b"\0TGPv1\0\0\0\x09");
}

fn request() -> RequestEnvelope {
    RequestEnvelope {
        method: "POST".into(),
        target_uri: "https://gw.tgp.example/t/mail/messages".into(),
        headers: vec![("authorization".into(), "Bearer x".into()), ("signature".into(), "sig=:AA==:".into())],
        body: b"{}".to_vec(),
    }
}

fn statement() -> StatementText {
    StatementText(text(&STATEMENTS["accepted"][0]["statements"][0], "signed").to_owned())
}

fn dek() -> WrappedDek {
    WrappedDek { id: ID, tenant: ID, purpose: "record".into(), kek_version: 1, wrapped: vec![1; 60] }
}

fn calls(seeds: &mut Seeds) {
    let place = || ("tool".to_owned(), "upstream".to_owned(), "mail".to_owned());
    let (table, column, key) = place();
    let sealing = SealItem { table, column, key, version: 1, plaintext: b"https://a".to_vec() };
    let (table, column, key) = place();
    let opening = OpenItem { table, column, key, version: 1, sealed: vec![2; 130] };
    let (table, column, _) = place();
    let records = || (vec![1; 40], vec![2; 40]);
    let (agent_record, grant_record) = records();
    let proof = Proof::MasterKey(WireSecret::from("tgpmk_x".to_owned()));
    let mint = MintToken {
        agent_record,
        grant_record,
        proof,
        tool: "mail".into(),
        resource: "https://gw.tgp.example/t/mail".into(),
        actions: vec!["send".into()],
        resources: vec!["octocat/*".into()],
        may_act: Some(ID),
        lifetime_s: 300,
    };
    let (agent_record, parent_record) = records();
    let exchange = ExchangeToken {
        agent_record,
        proof: Proof::Assertion(WireSecret::from("a.b.c".to_owned())),
        subject_token: WireSecret::from("d.e.f".to_owned()),
        parent_record,
        principal_records: vec![vec![3; 40]],
        grant_record: vec![4; 40],
        actions: vec!["send".into()],
        resources: vec![],
        may_act: None,
        lifetime_s: 300,
    };
    let (agent_record, credential_record) = records();
    let release = Release {
        agent_record,
        grant_record: vec![3; 40],
        principal_records: vec![],
        credential_record,
        request: request(),
        draw: Draw::Secret,
    };
    let (agent_record, credential_record) = records();
    let fetch = Release {
        agent_record,
        grant_record: vec![3; 40],
        principal_records: vec![],
        credential_record,
        request: request(),
        draw: Draw::Fetch(Some(Fetched(vec![4; 140]))),
    };
    let fetched = SealAccessToken {
        credential_record: vec![2; 40],
        ticket: vec![5; 140],
        access_token: WireSecret::from("access".to_owned()),
        refresh_token: Some(WireSecret::from("refresh".to_owned())),
        expires_in_s: 3600,
    };
    let secret = WireSecret::from("hush".to_owned());
    let credential = SetCredential { statement: statement(), salt: vec![1; 16], secret, dek: ID };
    for octets in [
        message(Op::Describe, CALL, &Describe {}),
        message(Op::MintToken, CALL, &mint),
        message(Op::ExchangeToken, CALL, &exchange),
        message(Op::Release, CALL, &release),
        message(Op::Release, CALL, &fetch),
        message(Op::SealAccessToken, CALL, &fetched),
        message(Op::Seal, CALL, &Seal { tenant: ID, dek: ID, items: vec![sealing] }),
        message(Op::Open, CALL, &Open { tenant: ID, items: vec![opening] }),
        message(Op::BlindIndex, CALL, &BlindIndex { tenant: ID, table, column, value: b"Ada".to_vec() }),
        message(Op::SignStatusList, CALL, &SignStatusList { agents: vec![ID], tokens: vec![ID, ID] }),
        message(Op::TlsSign, CALL, &TlsSign { scheme: 0x0403, message: vec![b' '; 130] }),
        message(Op::Enrol, CALL, &Enrol { invitation: statement(), request: request(), dek: ID }),
        message(Op::Renew, CALL, &Renew { agent_record: vec![1; 40], request: request() }),
        message(Op::SetGrant, CALL, &SetGrant { statement: statement(), dek: ID }),
        message(Op::SetCredential, CALL, &credential),
        message(Op::Revoke, CALL, &Revoke { statements: vec![statement()] }),
        message(Op::SetRoster, CALL, &SetRoster { statements: vec![statement(), statement()] }),
        message(Op::CertifyOperator, CALL, &CertifyOperator { statement: statement() }),
        message(Op::CertifyServer, CALL, &CertifyServer { statements: vec![statement()] }),
        message(Op::NewDek, CALL, &NewDek { statement: statement() }),
        message(Op::LoadDek, CALL, &LoadDek { dek: dek() }),
        message(Op::Inventory, CALL, &Inventory {}),
        message(Op::Health, CALL, &Health {}),
    ] {
        seeds.good("wire", octets);
    }
}

fn replies(seeds: &mut Seeds) {
    let name = || "x".to_owned();
    let certificate =
        || Certificate { chain: name(), serial: "40".into(), sha256: [1; 32], not_before: 1, not_after: 86_400 };
    let facts = AgentFacts {
        tenant: ID,
        agent: ID,
        handle: "bot".into(),
        aan: "7284019953310473".into(),
        keyid: AGENT.public().keyid().to_owned(),
        jwk: serde_json::to_string(&AGENT.public().to_jwk()).unwrap(),
        methods: vec!["client_secret_basic".into()],
        root_version: 1,
        generation: 1,
        version: 1,
        inviter: ID,
        invitation_sha256: [3; 32],
    };
    let enrolled = Enrolled {
        record: vec![1; 40],
        facts,
        certificate: certificate(),
        ca_bundle: name(),
        master_key: WireSecret::from("tgpmk_x".to_owned()),
    };
    let grant = GrantFacts {
        grant: ID,
        version: 1,
        tenant: ID,
        agent: ID,
        tool: "mail".into(),
        resource: "https://a".into(),
        actions: vec!["mail.*".into()],
        resources: vec!["octocat/*".into()],
        not_before: 0,
        not_after: 10,
        granter: ID,
        credential: Some("alice".into()),
    };
    let released = Released {
        placement: Placement::header("x-api-key").unwrap(),
        secret: WireSecret::from("hush".to_owned()),
        origins: vec!["https://a".into()],
        version: 1,
        ticket: vec![5; 140],
    };
    let key = KeyEntry {
        label: "kek".into(),
        id: "01".into(),
        class: "secret-key".into(),
        kind: "aes-256".into(),
        fingerprint: "aa".into(),
        pinned: true,
        attributes: vec![Attribute { name: "CKA_SENSITIVE".into(), value: Some("true".into()) }],
    };
    let report = HealthReport {
        state_sound: true,
        known_answer: true,
        started: 1,
        mode: Mode::TwoDomain,
        calls: vec![CallCount { op: "mint_token".into(), ok: 1, refused: 0, failed: 0 }],
        refusals: vec![Count { name: "signature-invalid".into(), count: 2 }],
        connections: vec![Count { name: "cut".into(), count: 1 }],
        state_version: 3,
        memory: "secret".into(),
        sandbox: "landlock, seccomp".into(),
        logins: 1,
        token_starts: 1,
    };
    let sealed = SealedCredential {
        record: vec![1; 40],
        tenant: ID,
        tool: "mail".into(),
        name: Some("alice".into()),
        version: 1,
        origins: vec![],
    };
    let fetched = SealedAccessToken { fetched: Fetched(vec![4; 140]), expires: 3601 };
    let minted = Minted { token: WireSecret::from("a.b.c".to_owned()), jti: ID, iat: 1, exp: 301, resources: vec![] };
    let ok = Status::Ok as u8;
    for octets in [
        message(Op::Describe, ok, &description()),
        message(Op::MintToken, ok, &minted),
        message(Op::ExchangeToken, ok, &minted),
        message(Op::Release, ok, &released),
        message(Op::SealAccessToken, ok, &fetched),
        message(Op::Seal, ok, &vec![vec![1_u8; 130]]),
        message(Op::Open, ok, &vec![b"https://a".to_vec()]),
        message(Op::BlindIndex, ok, &[7_u8; 32]),
        message(Op::SignStatusList, ok, &SignedStatusList { text: "a.b.c".into(), iat: 1, exp: 61 }),
        message(Op::TlsSign, ok, &vec![0x30_u8; 70]),
        message(Op::Enrol, ok, &enrolled),
        message(Op::Renew, ok, &certificate()),
        message(Op::SetGrant, ok, &SealedGrant { record: vec![1; 40], facts: grant }),
        message(Op::SetCredential, ok, &sealed),
        message(Op::Revoke, ok, &Revoked { floor: 2 }),
        message(Op::SetRoster, ok, &2_u32),
        message(Op::CertifyOperator, ok, &certificate()),
        message(Op::CertifyServer, ok, &certificate()),
        message(Op::NewDek, ok, &dek()),
        message(Op::LoadDek, ok, &()),
        message(Op::Inventory, ok, &vec![key]),
        message(Op::Health, ok, &report),
    ] {
        seeds.good("wire", octets);
    }
}

fn description() -> Description {
    let [deployment, vault, roster] = ["deployment", "vault", "roster"].map(|it| text(&STATEMENTS, it).to_owned());
    Description {
        deployment,
        vault,
        trust_domain: "tgp.example".into(),
        issuer: "https://gw.tgp.example".into(),
        jwks: r#"{"keys":[]}"#.into(),
        ca_pem: "x".into(),
        server_chain_pem: "y".into(),
        roster,
        roster_version: 1,
    }
}

/// Each record as postcard writes it: the fields in their order.
pub(super) fn records(seeds: &mut Seeds) {
    let bytes = |octets: &[u8]| octets.to_vec();
    let point = AGENT.public().to_sec1();
    let agent = postcard::to_stdvec(&(
        (ID, ID, "bot", "7284019953310473", bytes(&point), AGENT.public().keyid()),
        (vec!["client_secret_basic"], 1_u32, 1_u32, 1_u32, ID, [3_u8; 32]),
    ));
    let grant = postcard::to_stdvec(&(
        (ID, 1_u32, ID, ID, "mail", "https://a"),
        (vec!["mail.*"], 0_i64, 10_i64, ID),
        Some("alice"),
        vec!["octocat/*"],
    ));
    let placement = r#"{"kind":"bearer"}"#;
    let credential = (ID, "mail", None::<&str>, "https://a", 1_u32, vec!["https://a"], placement, bytes(b"hush"));
    let credential = postcard::to_stdvec(&credential);
    for (kind, plaintext) in [(1, agent), (2, grant), (3, credential)] {
        let plaintext = plaintext.unwrap();
        let (sealed, _) = tgp_vault::fuzzing::seal_record(kind, &crate::record::DEK, &plaintext).expect("a record");
        seeds.good("record", [&[kind + 10][..], &plaintext].concat());
        seeds.good("record", [&[kind][..], &sealed].concat());
        seeds.bad("record", [&[kind][..], &plaintext].concat());
    }
    seeds.good("record", b"\x1etool\nupstream\nmail\nhttps://a");
    let digest = "A".repeat(43);
    let state = json!({
        "state": {
            "version": 3, "deployment": text(&STATEMENTS, "deployment"), "vault": "vault-1",
            "roster": serde_json::from_str::<serde_json::Value>(text(&STATEMENTS, "roster")).unwrap(),
            "ca_pem": "x", "server_chain_pem": "y", "pins": [{ "label": "kek", "id": "01", "fingerprint": "aa" }],
            "forgotten_until": 0, "horizon": 5,
        },
        "tables": {
            "floors": { "grant": { ID.to_string(): { ID.to_string(): 2 } } },
            "spent": { "AAAA": 1_900_000_000 },
            "enrolments": { ID.to_string(): {
                "invitation": digest, "identity_key": digest, "tls_key": digest, "first_use": 1, "forget_after": 2,
            } },
            "enrolled": [ID],
        },
    });
    let state = format!("{state}\t{digest}\n");
    seeds.good("record", [b"\x14", state.as_bytes()].concat());
    seeds.bad("record", [b"\x14", state.trim_end().as_bytes()].concat());
}
