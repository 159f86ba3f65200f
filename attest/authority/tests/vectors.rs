//! The language-neutral vectors hold, byte for byte.
//!
//! `tests/vectors/operator-statement.json` is what another implementation checks itself with. Its keys
//! are test keys, each scalar the SHA-256 of an ASCII seed. After a deliberate change of the format
//! `TGP_WRITE_VECTORS=1 cargo test -p tgp-authority --test vectors` writes it anew, and the difference
//! is read before it is committed.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use support::{Deployment, NOW, Person, STARTED, VAULT, certify_server, credential, grant, invite, new_dek, revoke};
use tgp_authority::{
    Op, Operation, OperatorSecret, RecordKind, Role, Roster, Signed, Tenants, canonical, parse_strict,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/operator-statement.json");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    about: Vec<String>,
    now: i64,
    started: i64,
    vault: String,
    /// base64url of SHA-256 of `roster`.
    deployment: String,
    /// Canonical text.
    roster: String,
    keys: Vec<Key>,
    canonical_json: Vec<Canonical>,
    refused_json: Vec<String>,
    accepted: Vec<Accepted>,
    refused: Vec<Refused>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    operator: uuid::Uuid,
    private_pem: String,
    spki: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Canonical {
    text: String,
    canonical: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    name: String,
    statements: Vec<Example>,
    /// base64url of SHA-256 of JCS of {deployment, op, params, vault}.
    operation_sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// JSON text of statement and signature.
    signed: String,
    /// JCS of the statement; the prefix and this are what is signed.
    canonical: String,
    /// base64url of SHA-256 of the signed bytes.
    signed_sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    /// JSON texts of statements that together must be refused.
    signed: Vec<String>,
    /// The rule; `malformed` also where the text itself must not be read.
    code: String,
}

fn read() -> Vectors {
    let text = std::fs::read(FILE).expect("the vectors are part of the source");
    serde_json::from_slice(&text).expect("the vectors are in their form")
}

fn judge(vectors: &Vectors, texts: &[String]) -> Result<[u8; 32], &'static str> {
    let roster = Roster::parse(vectors.roster.as_bytes()).unwrap();
    let signed: Result<Vec<_>, _> = texts.iter().map(|text| Signed::parse(text.as_bytes())).collect();
    signed
        .and_then(|signed| roster.check(&signed, &vectors.deployment, &vectors.vault, vectors.now, vectors.started))
        .map(|authorised| *authorised.digest())
        .map_err(|error| error.code())
}

#[test]
fn the_roster_of_the_vectors_names_their_deployment() {
    let vectors = read();
    let roster = Roster::parse(vectors.roster.as_bytes()).unwrap();
    assert_eq!(roster.to_canonical(), vectors.roster.as_bytes());
    assert_eq!(roster.digest_text(), vectors.deployment);
    for key in &vectors.keys {
        let public = OperatorSecret::from_pem(&key.private_pem).unwrap().public();
        assert_eq!(URL_SAFE_NO_PAD.encode(public.to_spki_der()), key.spki);
    }
}

#[test]
fn the_accepted_statements_come_out_byte_for_byte() {
    let vectors = read();
    for accepted in &vectors.accepted {
        let mut texts = Vec::new();
        for example in &accepted.statements {
            let signed = Signed::parse(example.signed.as_bytes()).unwrap();
            let bytes = signed.statement.signing_bytes().unwrap();
            assert_eq!(bytes, [b"tgp op v1\0", example.canonical.as_bytes()].concat(), "{}", accepted.name);
            assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(&bytes)), example.signed_sha256);
            assert_eq!(URL_SAFE_NO_PAD.encode(signed.digest().unwrap()), example.signed_sha256);
            // RFC 6979 makes the signature itself a vector.
            let key = vectors.keys.iter().find(|key| key.operator == signed.statement.signer).unwrap();
            let secret = OperatorSecret::from_pem(&key.private_pem).unwrap();
            assert_eq!(signed.statement.clone().sign(&secret).unwrap(), signed, "{}", accepted.name);
            texts.push(example.signed.clone());
        }
        let digest = judge(&vectors, &texts).unwrap_or_else(|code| panic!("{}: {code}", accepted.name));
        assert_eq!(URL_SAFE_NO_PAD.encode(digest), accepted.operation_sha256);
    }
}

#[test]
fn the_refused_statements_are_refused_by_their_rule() {
    let vectors = read();
    for refused in &vectors.refused {
        let code = judge(&vectors, &refused.signed).err();
        assert_eq!(code, Some(refused.code.as_str()), "{}", refused.name);
    }
}

#[test]
fn json_texts_have_their_canonical_form_or_none() {
    let vectors = read();
    for example in &vectors.canonical_json {
        let value = parse_strict(example.text.as_bytes(), 4096).unwrap();
        assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), example.canonical);
    }
    for text in &vectors.refused_json {
        assert!(parse_strict(text.as_bytes(), 4096).is_err(), "accepted: {text}");
    }
}

#[test]
fn the_file_is_what_this_code_makes() {
    let d = Deployment::new();
    let [one, two, _] = &d.owners;
    let keys = d.everyone().map(|person| Key {
        operator: person.id,
        private_pem: person.secret.dangerous_to_pem().to_string(),
        spki: URL_SAFE_NO_PAD.encode(person.secret.public().to_spki_der()),
    });
    let vectors = Vectors {
        about: [
            "Operator statements of the Tool Gateway Protocol. All keys are test keys.",
            "A signature is ECDSA P-256 with SHA-256, r||s in base64url, over the bytes 'tgp op v1', 00, RFC 8785 of the statement.",
            "Each entry of accepted and refused is judged with roster, deployment, vault, now and started as given here.",
            "Signatures were made with RFC 6979 nonces; a verifier accepts any valid one, high s too.",
        ]
        .map(str::to_owned)
        .to_vec(),
        now: NOW,
        started: STARTED,
        vault: VAULT.to_owned(),
        deployment: d.deployment(),
        roster: String::from_utf8(d.roster.to_canonical()).unwrap(),
        keys: keys.collect(),
        canonical_json: [
            r#"{"b":1,"a":[true,null,"\u0041"]}"#,
            r#"{ "\u20ac": 1, "\r": 2, "1": 3, "\ud83d\ude00": 4, "\ufb33": 5 }"#,
            r#"{"a":"\/\u001f\"\\\b\f\n\r\t\u007f"}"#,
            "[-9007199254740991, 0, 9007199254740991]",
        ]
        .map(|text| {
            let value = parse_strict(text.as_bytes(), 4096).unwrap();
            Canonical { text: text.to_owned(), canonical: String::from_utf8(canonical(&value).unwrap()).unwrap() }
        })
        .into(),
        refused_json: [
            "1.0", "1e3", "-0", "9007199254740992", r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#""\ud800""#, "1 2",
        ]
        .map(str::to_owned)
        .to_vec(),
        accepted: accepted(&d),
        refused: refused(&d, one, two),
    };
    for accepted in &vectors.accepted {
        let texts: Vec<_> = accepted.statements.iter().map(|example| example.signed.clone()).collect();
        judge(&vectors, &texts).unwrap();
    }
    let mut text = serde_json::to_string_pretty(&vectors).unwrap();
    text.push('\n');
    if std::env::var_os("TGP_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert!(
        text == std::fs::read_to_string(FILE).unwrap(),
        "the format changed; TGP_WRITE_VECTORS=1 writes the file anew"
    );
}

fn accepted(d: &Deployment) -> Vec<Accepted> {
    let [one, two, three] = &d.owners;
    let cases: Vec<(&str, Operation, Vec<&Person>)> = vec![
        ("an inviter invites an agent", invite(), vec![&d.inviter]),
        ("a granter grants actions", grant(), vec![&d.granter]),
        ("a granter sets a credential", credential(), vec![&d.granter]),
        ("an inviter retires an agent", revoke(RecordKind::Agent), vec![&d.inviter]),
        ("an owner revokes a credential", revoke(RecordKind::Credential), vec![one]),
        ("an auditor asks for a certificate", support::certify_operator(&d.auditor), vec![&d.auditor]),
        ("two of three owners certify the server", certify_server(), vec![one, three]),
        ("an owner makes a data key", new_dek(), vec![&d.tenant_owner]),
        ("two owners sign the next roster", next_roster(d), vec![one, two]),
    ];
    let finished = |(name, operation, by): (&str, Operation, Vec<&Person>)| {
        let signed: Vec<_> = by.iter().map(|person| d.sign(&operation, person)).collect();
        let authorised = d.check(&signed).unwrap();
        let example = |signed: &Signed| Example {
            signed: serde_json::to_string(signed).unwrap(),
            canonical: String::from_utf8(signed.statement.signing_bytes().unwrap().split_off(10)).unwrap(),
            signed_sha256: URL_SAFE_NO_PAD.encode(signed.digest().unwrap()),
        };
        Accepted {
            name: name.to_owned(),
            statements: signed.iter().map(example).collect(),
            operation_sha256: URL_SAFE_NO_PAD.encode(authorised.digest()),
        }
    };
    cases.into_iter().map(finished).collect()
}

fn next_roster(d: &Deployment) -> Operation {
    support::roster_change(d.next(|doc| doc.operators.retain(|operator| operator.id != d.auditor.id)))
}

fn refused(d: &Deployment, one: &Person, two: &Person) -> Vec<Refused> {
    let text = |signed: &Signed| serde_json::to_string(signed).unwrap();
    let good = text(&d.sign(&grant(), &d.granter));
    let by = |operation: &Operation, person: &Person| text(&d.sign(operation, person));
    let changed = |operation: &Operation, person: &Person, change: &dyn Fn(&mut tgp_authority::Statement)| {
        let mut statement = d.statement(operation, person);
        change(&mut statement);
        text(&statement.sign(&person.secret).unwrap())
    };
    let stranger = Person::new(99, &[Role::Granter], Tenants::All);
    let forged = text(&d.statement(&grant(), &d.granter).sign(&d.auditor.secret).unwrap());
    let server = certify_server();
    let mut skipped = next_roster(d).params();
    skipped["roster"]["version"] = 3.into();
    let mut unreachable = next_roster(d).params();
    unreachable["roster"]["quorum"] = serde_json::json!({"roster": 4});
    let grant = grant();
    let rows: Vec<(&str, Vec<String>, &str)> = vec![
        ("another operator's key", vec![forged], "signature-invalid"),
        ("a stranger", vec![by(&grant, &stranger)], "signer-unknown"),
        (
            "a byte of the params changed",
            vec![good.replace("travel", "gravel").replace("mail.*", "mall.*")],
            "signature-invalid",
        ),
        (
            "another deployment",
            vec![changed(&grant, &d.granter, &|it| it.deployment = "A".repeat(43))],
            "deployment-other",
        ),
        ("another vault", vec![changed(&grant, &d.granter, &|it| it.vault = "vault-2".into())], "vault-other"),
        ("expired this second", vec![changed(&grant, &d.granter, &|it| it.not_after = NOW)], "statement-expired"),
        (
            "a second too far ahead",
            vec![changed(&grant, &d.granter, &|it| it.not_after = NOW + 901)],
            "statement-too-far-ahead",
        ),
        (
            "an invitation a second too far ahead",
            vec![changed(&invite(), &d.inviter, &|it| it.not_after = NOW + 604_801)],
            "statement-too-far-ahead",
        ),
        ("the wrong role", vec![by(&grant, &d.inviter)], "role-missing"),
        (
            "the wrong tenant",
            vec![changed(&grant, &d.granter, &|it| it.params["tenant"] = serde_json::json!(support::OTHER_TENANT))],
            "tenant-refused",
        ),
        ("one where two must sign", vec![by(&server, one)], "quorum-missing"),
        ("the same person twice", vec![by(&server, one), by(&server, one)], "person-repeated"),
        (
            "params that differ",
            vec![
                by(&server, one),
                changed(&server, two, &|it| it.params = serde_json::json!({"names": ["evil.example"]})),
            ],
            "operations-differ",
        ),
        ("op renamed", vec![good.replace(r#""op":"grant""#, r#""op":"credential""#)], "malformed"),
        ("an unknown op", vec![changed(&grant, &d.granter, &|it| it.op = "everything".into())], "malformed"),
        (
            "an unknown member in the params",
            vec![changed(&grant, &d.granter, &|it| it.params["extra"] = 1.into())],
            "malformed",
        ),
        ("an unknown member", vec![good.replacen('{', r#"{"extra":1,"#, 1)], "malformed"),
        ("a duplicate member", vec![good.replace(r#""op":"grant""#, r#""op":"grant","op":"grant""#)], "malformed"),
        (
            "a duplicate member in the params",
            vec![good.replace(r#""version":1"#, r#""version":1,"version":1"#)],
            "malformed",
        ),
        ("a float", vec![good.replace(r#""version":1"#, r#""version":1.0"#)], "malformed"),
        ("a padded signature", vec![good.replace(r#""signature":""#, r#""signature":"=="#)], "malformed"),
        (
            "a roster that leaves a version out",
            vec![
                changed(&next_roster(d), one, &|it| it.params = skipped.clone()),
                changed(&next_roster(d), two, &|it| it.params = skipped.clone()),
            ],
            "succession-refused",
        ),
        (
            "a roster whose quorum nobody reaches",
            vec![
                changed(&next_roster(d), one, &|it| it.params = unreachable.clone()),
                changed(&next_roster(d), two, &|it| it.params = unreachable.clone()),
            ],
            "roster-invalid",
        ),
    ];
    assert_eq!(d.roster.quorum(Op::Roster), 2);
    rows.into_iter()
        .map(|(name, signed, code)| Refused { name: name.to_owned(), signed, code: code.to_owned() })
        .collect()
}
