//! What is accepted, and everything that must be refused.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{
    AGENT, Deployment, NOW, OTHER_TENANT, Person, STARTED, TENANT, VAULT, certify_operator, certify_server, credential,
    grant, invite, new_dek, revoke, roster_change,
};
use tgp_authority::{Op, Operation, OperatorSecret, RecordKind, Role, Roster, Signed, Statement, Tenants};

#[test]
fn each_operation_is_authorised_by_whom_the_roster_says() {
    let d = Deployment::new();
    let [one, two, _] = &d.owners;
    let next = d.next(|doc| doc.operators.truncate(3));
    let cases: Vec<(Operation, Vec<&Person>)> = vec![
        (invite(), vec![&d.inviter]),
        (grant(), vec![&d.granter]),
        (credential(), vec![&d.granter]),
        (revoke(RecordKind::Agent), vec![&d.inviter]),
        (revoke(RecordKind::Agent), vec![&d.tenant_owner]),
        (revoke(RecordKind::Grant), vec![&d.granter]),
        (revoke(RecordKind::Credential), vec![one]),
        (roster_change(next), vec![one, two]),
        (certify_operator(&d.auditor), vec![&d.auditor]),
        (certify_operator(&d.auditor), vec![two]),
        (certify_server(), vec![two, one]),
        (new_dek(), vec![&d.tenant_owner]),
    ];
    for (operation, by) in cases {
        let signed: Vec<_> = by.iter().map(|person| d.sign(&operation, person)).collect();
        let authorised = d.check(&signed).unwrap_or_else(|error| panic!("{}: {error}", operation.op()));
        assert_eq!(authorised.operation(), &operation);
        assert_eq!(authorised.signers(), by.iter().map(|person| person.id).collect::<Vec<_>>());
        let nonces: Vec<_> = signed.iter().map(|one| (one.statement.nonce.clone(), one.statement.not_after)).collect();
        assert_eq!(authorised.nonces(), nonces);
    }
}

/// Who may order what, written down a second time, against everyone in the roster.
#[test]
fn whoever_lacks_the_role_or_the_tenant_is_refused() {
    let d = Deployment::new();
    let next = d.next(|_| {});
    let elsewhere = |operation: &Operation| {
        let mut params = operation.params();
        params["tenant"] = json!(OTHER_TENANT);
        Operation::parse(operation.op().as_str(), &params).unwrap()
    };
    let cases: Vec<(Operation, &[Role])> = vec![
        (invite(), &[Role::Inviter]),
        (grant(), &[Role::Granter]),
        (credential(), &[Role::Granter]),
        (revoke(RecordKind::Agent), &[Role::Inviter, Role::Owner]),
        (revoke(RecordKind::Grant), &[Role::Granter, Role::Owner]),
        (revoke(RecordKind::Credential), &[Role::Granter, Role::Owner]),
        (new_dek(), &[Role::Owner]),
        (roster_change(next), &[Role::Owner]),
        (certify_server(), &[Role::Owner]),
        (certify_operator(&d.auditor), &[Role::Owner]),
    ];
    let code = |operation: &Operation, person: &Person| match d.check(&[d.sign(operation, person)]) {
        Ok(_) => "ok",
        Err(error) => error.code(),
    };
    for (operation, roles) in &cases {
        for person in d.everyone() {
            let has_role = person.roles.iter().any(|role| roles.contains(role));
            let everywhere = person.tenants == Tenants::All;
            let own = operation.op() == Op::CertifyOperator && person.id == d.auditor.id;
            let alone = d.roster.quorum(operation.op()) == 1;
            let expected = match (own || has_role, own || everywhere || operation.tenant().is_some()) {
                (false, _) => "role-missing",
                (true, false) => "tenant-refused",
                (true, true) if alone => "ok",
                (true, true) => "quorum-missing",
            };
            assert_eq!(code(operation, person), expected, "{} by {:?}", operation.op(), person.roles);
            if operation.tenant().is_some() {
                let expected = match (has_role, everywhere) {
                    (false, _) => "role-missing",
                    (true, false) => "tenant-refused",
                    (true, true) => "ok",
                };
                assert_eq!(code(&elsewhere(operation), person), expected, "elsewhere, {:?}", person.roles);
            }
        }
    }
}

#[test]
fn a_statement_holds_until_its_last_second_and_no_further_ahead_than_its_kind_allows() {
    let d = Deployment::new();
    for (operation, by, furthest) in [(invite(), &d.inviter, 604_800), (grant(), &d.granter, 900)] {
        let params_end = if operation.op() == Op::Invite { 24 * 3600 } else { 0 };
        for (ahead, expected) in [
            (0, "statement-expired"),
            (-1, "statement-expired"),
            (furthest, "ok"),
            (furthest + 1, "statement-too-far-ahead"),
            (params_end.max(1), "ok"),
        ] {
            let mut statement = d.statement(&operation, by);
            statement.not_after = NOW + ahead;
            let checked = d.check(&[statement.sign(&by.secret).unwrap()]);
            let code = checked.map_or_else(|error| error.code(), |_| "ok");
            assert_eq!(code, expected, "{} {ahead} s ahead", operation.op());
        }
    }
}

#[test]
fn a_clock_set_back_does_not_revive_a_statement_from_before_the_start() {
    let d = Deployment::new();
    let mut statement = d.statement(&grant(), &d.granter);
    statement.not_after = NOW + 10;
    let signed = [statement.sign(&d.granter.secret).unwrap()];
    let at = |now, started| d.roster.check(&signed, &d.deployment(), VAULT, now, started);
    assert!(at(NOW, NOW).is_ok());
    assert_eq!(at(NOW, NOW + 10).unwrap_err().code(), "statement-expired");
    assert_eq!(at(NOW + 10, NOW).unwrap_err().code(), "statement-expired");
}

/// One row: what was done to good statements, and the rule that must catch it.
fn refused(d: &Deployment) -> Vec<(&'static str, Vec<Signed>, &'static str)> {
    let [one, two, three] = &d.owners;
    let sign = |operation: &Operation, by: &Person, change: &dyn Fn(&mut Statement)| {
        let mut statement = d.statement(operation, by);
        change(&mut statement);
        statement.sign(&by.secret).unwrap()
    };
    let as_is = |_: &mut Statement| {};
    let after = |mut signed: Signed, change: &dyn Fn(&mut Signed)| {
        change(&mut signed);
        vec![signed]
    };
    let good = || d.sign(&grant(), &d.granter);
    let stranger = Person::new(99, &[Role::Granter], Tenants::All);
    let certify = certify_server();
    let mut impostor = d.statement(&grant(), &d.granter);
    impostor.signer = d.granter.id;
    let forged = impostor.sign(&d.auditor.secret).unwrap();
    let same_nonce = |by: &Person| sign(&certify, by, &|it| it.nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let other_names = |by: &Person| sign(&certify, by, &|it| it.params = json!({"names": ["evil.example"]}));
    let code_too_long = sign(&invite(), &d.inviter, &|it| it.not_after = NOW + 24 * 3600 - 1);
    let mut wrong_csr = certify_operator(&d.auditor).params();
    wrong_csr["csr"] = json!(d.granter.secret.certificate_request());
    let mut foreign_csr = certify_operator(&d.auditor).params();
    foreign_csr["csr"] = json!(OperatorSecret::generate().certificate_request());
    let mut no_such_operator = certify_operator(&d.auditor).params();
    no_such_operator["operator"] = json!(AGENT);

    vec![
        ("no statement", vec![], "statement-missing"),
        ("seventeen statements", vec![good(); 17], "statements-too-many"),
        ("forged: another operator's key", vec![forged], "signature-invalid"),
        ("forged: a stranger", vec![sign(&grant(), &stranger, &as_is)], "signer-unknown"),
        ("signature of zeros", after(good(), &|it| it.signature = "A".repeat(86)), "signature-invalid"),
        (
            "signature too short",
            after(good(), &|it| {
                it.signature.pop();
            }),
            "malformed",
        ),
        ("signature padded", after(good(), &|it| it.signature.push_str("==")), "malformed"),
        ("signature of another statement", after(good(), &|it| it.signature = good().signature), "signature-invalid"),
        ("signer renamed", after(good(), &|it| it.statement.signer = d.inviter.id), "signature-invalid"),
        (
            "nonce changed",
            after(good(), &|it| it.statement.nonce = "AAAAAAAAAAAAAAAAAAAAAA".into()),
            "signature-invalid",
        ),
        ("not_after changed", after(good(), &|it| it.statement.not_after -= 1), "signature-invalid"),
        ("params changed", after(good(), &|it| it.statement.params["version"] = json!(2)), "signature-invalid"),
        (
            "op renamed to another of other shape",
            after(good(), &|it| it.statement.op = "credential".into()),
            "malformed",
        ),
        ("op renamed to none", after(good(), &|it| it.statement.op = "Grant".into()), "malformed"),
        (
            "op renamed in one of two",
            vec![
                d.sign(&certify, one),
                after(d.sign(&certify, two), &|it| it.statement.op = "new-dek".into()).remove(0),
            ],
            "signature-invalid",
        ),
        (
            "other deployment",
            vec![sign(&grant(), &d.granter, &|it| it.deployment = "A".repeat(43))],
            "deployment-other",
        ),
        ("deployment not a digest", vec![sign(&grant(), &d.granter, &|it| it.deployment = "x".into())], "malformed"),
        ("other vault", vec![sign(&grant(), &d.granter, &|it| it.vault = "vault-2".into())], "vault-other"),
        ("vault not a name", vec![sign(&grant(), &d.granter, &|it| it.vault = "vault 1".into())], "malformed"),
        ("nonce too short", vec![sign(&grant(), &d.granter, &|it| it.nonce = "AAAA".into())], "malformed"),
        (
            "nonce with loose bits",
            vec![sign(&grant(), &d.granter, &|it| it.nonce = "AAAAAAAAAAAAAAAAAAAAAB".into())],
            "malformed",
        ),
        ("expired", vec![sign(&grant(), &d.granter, &|it| it.not_after = NOW)], "statement-expired"),
        ("too far ahead", vec![sign(&grant(), &d.granter, &|it| it.not_after = NOW + 901)], "statement-too-far-ahead"),
        (
            "an invitation's time for a grant",
            vec![sign(&grant(), &d.granter, &|it| it.not_after = NOW + 604_800)],
            "statement-too-far-ahead",
        ),
        ("not_after negative", vec![sign(&grant(), &d.granter, &|it| it.not_after = -1)], "malformed"),
        ("wrong role", vec![d.sign(&grant(), &d.inviter)], "role-missing"),
        ("owner is no inviter", vec![d.sign(&invite(), one)], "role-missing"),
        (
            "wrong tenant",
            vec![sign(&grant(), &d.granter, &|it| it.params["tenant"] = json!(OTHER_TENANT))],
            "tenant-refused",
        ),
        ("a tenant's owner for the deployment", vec![d.sign(&certify, &d.tenant_owner)], "tenant-refused"),
        ("one where two must sign", vec![d.sign(&certify, one)], "quorum-missing"),
        ("the same person twice", vec![d.sign(&certify, one), d.sign(&certify, one)], "person-repeated"),
        ("the same statement twice", vec![d.sign(&certify, one); 2], "person-repeated"),
        ("two persons, one nonce", vec![same_nonce(one), same_nonce(two)], "nonce-repeated"),
        ("params differ between signers", vec![d.sign(&certify, one), other_names(two)], "operations-differ"),
        (
            "op differs, params do not",
            vec![d.sign(&certify, one), sign(&certify, two, &|it| it.op = "new-dek".into())],
            "operations-differ",
        ),
        ("two operations", vec![d.sign(&certify, one), d.sign(&new_dek(), two)], "operations-differ"),
        (
            "a bad third beside two good",
            vec![
                d.sign(&certify, one),
                d.sign(&certify, two),
                after(d.sign(&certify, three), &|it| it.statement.not_after -= 1).remove(0),
            ],
            "signature-invalid",
        ),
        (
            "a third without the role beside two good",
            vec![d.sign(&certify, one), d.sign(&certify, two), d.sign(&certify, &d.auditor)],
            "role-missing",
        ),
        ("unknown field in params", vec![sign(&grant(), &d.granter, &|it| it.params["extra"] = json!(1))], "malformed"),
        (
            "field left out",
            vec![sign(&grant(), &d.granter, &|it| {
                it.params.as_object_mut().unwrap().remove("not_before");
            })],
            "malformed",
        ),
        ("params as a list", vec![sign(&new_dek(), one, &|it| it.params = json!([TENANT, "record"]))], "malformed"),
        (
            "upper-case uuid",
            vec![sign(&new_dek(), one, &|it| it.params["tenant"] = json!("ABCDEF00-0000-4000-8000-000000000001"))],
            "malformed",
        ),
        ("the code outlives its invitation", vec![code_too_long], "operation-refused"),
        (
            "certify: key of another operator",
            vec![sign(&certify_operator(&d.auditor), &d.auditor, &|it| it.params = wrong_csr.clone())],
            "operation-refused",
        ),
        (
            "certify: key of nobody",
            vec![sign(&certify_operator(&d.auditor), one, &|it| it.params = foreign_csr.clone())],
            "operation-refused",
        ),
        (
            "certify: no such operator",
            vec![sign(&certify_operator(&d.auditor), one, &|it| it.params = no_such_operator.clone())],
            "operation-refused",
        ),
        ("certify: someone else, no owner", vec![d.sign(&certify_operator(&d.auditor), &d.granter)], "role-missing"),
    ]
}

#[test]
fn statements_that_must_not_count_are_refused_by_the_rule_that_is_meant() {
    let d = Deployment::new();
    for (what, signed, code) in refused(&d) {
        match d.check(&signed) {
            Ok(_) => panic!("accepted: {what}"),
            Err(error) => assert_eq!(error.code(), code, "{what}: {error}"),
        }
    }
}

#[test]
fn a_removed_operator_and_a_removed_key_order_nothing_any_more() {
    let d = Deployment::new();
    let signed = [d.sign(&grant(), &d.granter)];
    let at = |roster: &Roster| roster.check(&signed, &d.deployment(), VAULT, NOW, STARTED);
    assert!(at(&d.roster).is_ok());
    let without = d.next(|doc| doc.operators.retain(|operator| operator.id != d.granter.id));
    assert_eq!(at(&Roster::try_from(without).unwrap()).unwrap_err().code(), "signer-unknown");
    let rekeyed = d.next(|doc| {
        let place = doc.operators.iter().position(|it| it.id == d.granter.id).unwrap();
        doc.operators[place].keys = Person::new(0, &[], Tenants::All).entry().keys;
    });
    assert_eq!(at(&Roster::try_from(rekeyed).unwrap()).unwrap_err().code(), "signature-invalid");
}

/// Out-of-bounds values in otherwise good params: what the types alone would let through.
#[test]
fn params_out_of_bounds_are_malformed() {
    let many = |count: usize, text: &dyn Fn(usize) -> String| json!((0..count).map(text).collect::<Vec<_>>());
    let rows: Vec<(Operation, &str, Value)> = vec![
        (invite(), "agent", json!("00000000-0000-0000-0000-000000000000")),
        (invite(), "handle", json!("Travel-Bot")),
        (invite(), "aan", json!("7284019953310474")),
        (invite(), "methods", json!([])),
        (invite(), "methods", json!(["client_secret_basic", "client_secret_basic"])),
        (invite(), "methods", json!(["client_secret_post"])),
        (invite(), "not_after", json!(-1)),
        (invite(), "not_after", json!(9_007_199_254_740_992_i64)),
        (invite(), "code_key", json!({"crv": "secp256k1", "kty": "EC", "x": "AA", "y": "AA"})),
        (grant(), "version", json!(0)),
        (grant(), "version", json!(4_294_967_296_i64)),
        (grant(), "version", json!("1")),
        (grant(), "resource", json!("https://tgp.example/t/mail/")),
        (grant(), "resource", json!("https://TGP.example/t/mail")),
        (grant(), "resource", json!("")),
        (grant(), "actions", json!([])),
        (grant(), "actions", json!(["a", "a"])),
        (grant(), "actions", json!(["a/b"])),
        (grant(), "actions", many(65, &|number| format!("a{number}"))),
        (grant(), "not_before", json!(NOW + 90 * 24 * 3600)),
        (grant(), "tool", json!("-mail")),
        (credential(), "origins", json!([])),
        (credential(), "origins", json!(["https://mail.example/path"])),
        (credential(), "origins", json!(["https://mail.example", "https://mail.example"])),
        (credential(), "origins", many(17, &|number| format!("https://h{number}.example"))),
        (credential(), "placement", json!({"kind": "header", "name": "X-Api-Key"})),
        (credential(), "placement", json!({"kind": "bearer", "name": "x"})),
        (credential(), "placement", json!({"kind": "header", "name": "host"})),
        (credential(), "secret_sha256", json!("AAAA")),
        (credential(), "version", json!(0)),
        (revoke(RecordKind::Agent), "id", json!("mail")),
        (revoke(RecordKind::Grant), "id", json!("6F1C1C52-6A53-4A5E-9F0E-0D5F5F5A0001")),
        (revoke(RecordKind::Credential), "id", json!("Mail")),
        (revoke(RecordKind::Agent), "kind", json!("roster")),
        (certify_server(), "names", json!([])),
        (certify_server(), "names", json!(["tgp.example", "tgp.example"])),
        (certify_server(), "names", json!(["TGP.example"])),
        (certify_server(), "names", json!(["*.example"])),
        (certify_server(), "names", many(33, &|number| format!("h{number}.example"))),
        (new_dek(), "purpose", json!("all")),
    ];
    for (operation, member, value) in rows {
        let mut params = operation.params();
        params[member] = value.clone();
        let parsed = Operation::parse(operation.op().as_str(), &params);
        assert!(parsed.is_err(), "accepted: {} with {member} = {value}", operation.op());
    }
}

#[test]
fn signed_json_text_is_read_in_its_one_spelling_only() {
    let d = Deployment::new();
    let text = serde_json::to_string(&d.sign(&grant(), &d.granter)).unwrap();
    let parsed = Signed::parse(text.as_bytes()).unwrap();
    assert!(d.check(&[parsed]).is_ok());
    let signer = d.granter.id.to_string();
    for (what, bad) in [
        ("duplicate member", text.replace(r#""op":"grant""#, r#""op":"revoke","op":"grant""#)),
        ("duplicate member in params", text.replace(r#""version":1"#, r#""version":2,"version":1"#)),
        ("unknown member", text.replace(r#""op":"grant""#, r#""op":"grant","x":1"#)),
        ("unknown member outside", text.replacen('{', r#"{"x":1,"#, 1)),
        ("float", text.replace(r#""version":1"#, r#""version":1.0"#)),
        ("exponent", text.replace(r#""version":1"#, r#""version":1e0"#)),
        ("upper-case signer", text.replace(&signer, &signer.to_uppercase())),
        ("signer without dashes", text.replace(&signer, &signer.replace('-', ""))),
        ("trailing text", format!("{text}x")),
        ("second value", format!("{text}{text}")),
        ("too long", format!("{}{text}", " ".repeat(256 * 1024))),
        ("list for object", format!("[{},\"\"]", &text)),
        ("empty", String::new()),
    ] {
        assert_ne!(bad, text, "{what}");
        assert!(Signed::parse(bad.as_bytes()).is_err(), "accepted: {what}");
    }
}

#[test]
fn a_duplicate_member_of_params_is_refused_wherever_a_statement_is_embedded() {
    let d = Deployment::new();
    let text = serde_json::to_string(&d.sign(&grant(), &d.granter)).unwrap();
    assert!(serde_json::from_str::<Signed>(&text).is_ok());
    for bad in [r#""version":1,"version":1"#, r#""version":1.5"#, r#""version":9007199254740992"#] {
        let bad = text.replace(r#""version":1"#, bad);
        assert!(serde_json::from_str::<Signed>(&bad).is_err(), "accepted: {bad}");
    }
}

#[test]
fn a_statement_survives_the_vault_s_wire_format() {
    let d = Deployment::new();
    for signed in [d.sign(&credential(), &d.granter), d.sign(&roster_change(d.next(|_| {})), &d.owners[0])] {
        let bytes = postcard::to_stdvec(&signed).unwrap();
        assert_eq!(postcard::from_bytes::<Signed>(&bytes).unwrap(), signed);
    }
}

#[test]
fn the_digest_names_what_was_ordered_whoever_signed_it() {
    let d = Deployment::new();
    let [one, two, three] = &d.owners;
    let by = |a, b| *d.check(&[d.sign(&certify_server(), a), d.sign(&certify_server(), b)]).unwrap().digest();
    assert_eq!(by(one, two), by(two, three));
    let other = *d.check(&[d.sign(&new_dek(), one)]).unwrap().digest();
    assert_ne!(by(one, two), other);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_statement_with_one_byte_changed_is_accepted(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (d, good) = fixed();
        let mut text = good.clone();
        let place = place.index(text.len());
        prop_assume!(text[place] != byte);
        text[place] = byte;
        if let Ok(signed) = Signed::parse(&text) {
            prop_assert!(d.check(&[signed]).is_err(), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn an_operation_reads_back_from_its_own_params(
        version in 1..=u32::MAX, start in 0..4_000_000_000_i64, length in 1..4_000_000_000_i64,
        actions in prop::collection::btree_set("[a-z]{1,8}(\\.\\*)?", 1..8), tool in "[a-z0-9][a-z0-9-]{0,62}",
        resources in prop::collection::btree_set("[a-z]{1,8}(/[a-z]{1,8}|/\\*)?(/\\*\\*)?", 0..4),
        tenant in any::<u128>(), agent in 1..u128::MAX,
    ) {
        let Operation::Grant(mut it) = grant() else { unreachable!() };
        it.version = version;
        (it.not_before, it.not_after) = (start, start + length);
        it.actions = actions.iter().map(|text| text.parse().unwrap()).collect();
        it.resources = resources.iter().map(|text| text.parse().unwrap()).collect();
        it.resource = format!("https://tgp.example/t/{tool}");
        it.tool = tool.parse().unwrap();
        (it.tenant, it.agent) = (uuid::Uuid::from_u128(tenant), uuid::Uuid::from_u128(agent));
        let operation = Operation::Grant(it);
        prop_assert_eq!(Operation::parse("grant", &operation.params()).unwrap(), operation);
    }
}

/// One deployment with one good statement, made once.
fn fixed() -> &'static (Deployment, Vec<u8>) {
    thread_local! {
        static FIXED: &'static (Deployment, Vec<u8>) = {
            let d = Deployment::new();
            let text = serde_json::to_vec(&d.sign(&grant(), &d.granter)).unwrap();
            Box::leak(Box::new((d, text)))
        };
    }
    FIXED.with(|fixed| *fixed)
}
