//! Attacks on `seal`, `open`, `blind_index` and `load_dek`.

use tgp_vault_client::CallError;
use tgp_vault_client::wire::{BlindIndex, LoadDek, Open, OpenItem, RefusalCode, Seal, SealItem, WrappedDek};
use uuid::Uuid;

use crate::actors::Working;
use crate::deployment::{Deployment, OTHER_TENANT, TENANT, refused};

fn item(table: &str, plaintext: &[u8]) -> SealItem {
    SealItem {
        table: table.into(),
        column: "name".into(),
        key: "row-1".into(),
        version: 1,
        plaintext: plaintext.to_vec(),
    }
}

fn found(table: &str, sealed: &[u8]) -> OpenItem {
    OpenItem { table: table.into(), column: "name".into(), key: "row-1".into(), version: 1, sealed: sealed.to_vec() }
}

#[test]
fn a_sealed_value_opens_in_its_own_place_and_nowhere_else() {
    let at = Deployment::start();
    let items = (0..100).map(|n: u8| item("agent", &[n; 100])).collect();
    let sealed = at.call(Seal { tenant: TENANT, dek: at.metadata_dek, items }).unwrap();
    let opened = at.call(Open { tenant: TENANT, items: sealed.iter().map(|s| found("agent", s)).collect() }).unwrap();
    assert!(opened.iter().zip(0_u8..).all(|(plain, n)| *plain == [n; 100]));

    let one = || found("agent", &sealed[0]);
    let mut edited = sealed[0].clone();
    *edited.last_mut().unwrap() ^= 1;
    let open = |tenant, item| Open { tenant, items: vec![item] };
    let cases = [
        ("another table", open(TENANT, found("tool", &sealed[0])), RefusalCode::SealInvalid),
        ("another column", open(TENANT, OpenItem { column: "mail".into(), ..one() }), RefusalCode::SealInvalid),
        ("another row", open(TENANT, OpenItem { key: "row-2".into(), ..one() }), RefusalCode::SealInvalid),
        ("another version", open(TENANT, OpenItem { version: 2, ..one() }), RefusalCode::SealInvalid),
        ("another tenant", open(OTHER_TENANT, one()), RefusalCode::DekRefused),
        ("edited", open(TENANT, found("agent", &edited)), RefusalCode::SealInvalid),
        ("nothing", open(TENANT, found("agent", &[])), RefusalCode::SealInvalid),
        ("a plaintext", open(TENANT, found("agent", b"Ada Lovelace")), RefusalCode::SealInvalid),
    ];
    for (what, call, expected) in cases {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
}

#[test]
fn records_do_not_pass_the_door_for_metadata() {
    let at = Deployment::start();
    let working = Working::new(&at);
    for table in ["record/agent", "record/grant", "record/credential", "record/", "/"] {
        let seal = Seal { tenant: TENANT, dek: at.metadata_dek, items: vec![item(table, b"x")] };
        assert_eq!(refused(table, at.call(seal)), RefusalCode::ContextReserved, "seal {table}");
        let open = Open { tenant: TENANT, items: vec![found(table, &working.credential.record)] };
        assert_eq!(refused(table, at.call(open)), RefusalCode::ContextReserved, "open {table}");
    }
    // The envelope of a credential, without its label, under the name of a general table.
    let record = &working.credential.record;
    let envelope = &record[26 + "mail".len()..];
    assert_eq!(&envelope[..4], b"TGPe");
    let open = Open { tenant: TENANT, items: vec![found("record_credential", envelope)] };
    assert_eq!(refused("envelope", at.call(open)), RefusalCode::DekRefused);
    let seal = Seal { tenant: TENANT, dek: at.dek, items: vec![item("agent", b"x")] };
    assert_eq!(refused("record key", at.call(seal)), RefusalCode::DekRefused);
    let seal = Seal { tenant: OTHER_TENANT, dek: at.metadata_dek, items: vec![item("agent", b"x")] };
    assert_eq!(refused("other tenant", at.call(seal)), RefusalCode::DekRefused);
}

#[test]
fn a_data_key_is_loaded_only_as_what_it_was_made_for() {
    let mut at = Deployment::start();
    at.restart_later(0);
    let good = at.wrapped[1].clone();
    at.stop();
    at.serve();
    let seal = || Seal { tenant: TENANT, dek: good.id, items: vec![item("agent", b"x")] };
    assert!(matches!(at.call(seal()), Err(CallError::DekUnknown(id)) if id == good.id));
    let mut cut = good.wrapped.clone();
    cut.pop();
    let mut edited = good.wrapped.clone();
    edited[20] ^= 1;
    let forged = [
        ("another tenant", WrappedDek { tenant: OTHER_TENANT, ..good.clone() }),
        ("another purpose", WrappedDek { purpose: "record".into(), ..good.clone() }),
        ("an unknown purpose", WrappedDek { purpose: "all".into(), ..good.clone() }),
        ("another id", WrappedDek { id: Uuid::new_v4(), ..good.clone() }),
        ("another key version", WrappedDek { kek_version: 2, ..good.clone() }),
        ("another key's octets", WrappedDek { wrapped: at.wrapped[0].wrapped.clone(), ..good.clone() }),
        ("edited", WrappedDek { wrapped: edited, ..good.clone() }),
        ("cut short", WrappedDek { wrapped: cut, ..good.clone() }),
        ("empty", WrappedDek { wrapped: vec![], ..good.clone() }),
        ("a key of the attacker's own", WrappedDek { wrapped: vec![7; 60], ..good.clone() }),
    ];
    for (what, dek) in forged {
        let code = refused(what, at.call(LoadDek { dek }));
        assert_eq!(code, RefusalCode::DekRefused, "{what}");
    }
    assert!(matches!(at.call(seal()), Err(CallError::DekUnknown(_))));
    at.call(LoadDek { dek: good.clone() }).unwrap();
    at.call(LoadDek { dek: good.clone() }).unwrap();
    at.call(seal()).unwrap();
}

#[test]
fn a_blind_index_tells_tenants_and_columns_apart() {
    let at = Deployment::start();
    let index = |tenant, table: &str, column: &str, value: &[u8]| {
        at.call(BlindIndex { tenant, table: table.into(), column: column.into(), value: value.to_vec() })
    };
    let one = index(TENANT, "agent", "name", b"ada").unwrap();
    assert_eq!(index(TENANT, "agent", "name", b"ada").unwrap(), one);
    let others = [
        index(OTHER_TENANT, "agent", "name", b"ada").unwrap(),
        index(TENANT, "tool", "name", b"ada").unwrap(),
        index(TENANT, "agent", "mail", b"ada").unwrap(),
        index(TENANT, "agent", "name", b"adb").unwrap(),
        index(TENANT, "agentn", "ame", b"ada").unwrap(),
    ];
    assert!(others.iter().all(|other| *other != one));
    let code = refused("reserved", index(TENANT, "record/agent", "name", b"ada"));
    assert_eq!(code, RefusalCode::ContextReserved);
}
