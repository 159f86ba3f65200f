//! Frames that are none, for every operation there is.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use tgp_authority::{Operation, Purpose};
use tgp_vault_client::wire::{
    self, BlindIndex, Call, CertifyOperator, CertifyServer, Describe, Door, ExchangeToken, HEADER_LEN, Health,
    Inventory, LoadDek, NewDek, Op, Open, OpenItem, Refusal, RefusalCode, Renew, Revoke, Seal, SealAccessToken,
    SealItem, SetCredential, SetGrant, SetRoster, SignStatusList, Status, TlsSign, WireSecret,
};

use crate::actors::{SALT, SECRET, Working, grant, resource};
use crate::deployment::{Deployment, TENANT};
use crate::socket::{frame, open, reply};

const DOORS: [Door; 3] = [Door::Calls, Door::Tls, Door::Slow];

fn encoded<C: Call>(call: &C) -> (Op, Vec<u8>) {
    let mut octets = Vec::new();
    wire::encode_call(&mut octets, 0, call).unwrap();
    (C::OP, octets.split_off(HEADER_LEN))
}

/// One message of every operation, as a gateway would send it.
fn messages(at: &Deployment) -> Vec<(Op, Vec<u8>)> {
    let working = Working::new(at);
    let token = working.token(at);
    let order = |operation: Operation| at.owner.order(at, &operation);
    let statement = || order(Operation::NewDek(tgp_authority::NewDek { tenant: TENANT, purpose: Purpose::Record }));
    let statements = || vec![statement(), statement()];
    let request = || working.agent.request(at, &token, &format!("{}/1", resource("mail")));
    let (table, column, key) = (|| "agent".to_owned(), || "name".to_owned(), || "row".to_owned());
    let sealed = SealItem { table: table(), column: column(), key: key(), version: 1, plaintext: vec![1; 40] };
    let opened = OpenItem { table: table(), column: column(), key: key(), version: 1, sealed: vec![1; 140] };
    let granted = at.granter.order(at, &Operation::Grant(grant(at, working.agent.id, "mail")));
    let all = vec![
        encoded(&Describe {}),
        encoded(&working.mint_call()),
        encoded(&working.release_call(request())),
        encoded(&Seal { tenant: TENANT, dek: at.metadata_dek, items: vec![sealed] }),
        encoded(&Open { tenant: TENANT, items: vec![opened] }),
        encoded(&BlindIndex { tenant: TENANT, table: table(), column: column(), value: b"ada".to_vec() }),
        encoded(&SignStatusList { agents: vec![working.agent.id], tokens: vec![] }),
        encoded(&SealAccessToken {
            credential_record: working.credential.record.clone(),
            ticket: vec![1; 140],
            access_token: WireSecret::new(SECRET.to_vec()),
            refresh_token: None,
            expires_in_s: 600,
        }),
        encoded(&ExchangeToken {
            agent_record: working.enrolled.record.clone(),
            proof: working.mint_call().proof,
            subject_token: WireSecret::from(token.clone()),
            parent_record: working.enrolled.record.clone(),
            principal_records: vec![working.enrolled.record.clone()],
            grant_record: working.grant.record.clone(),
            actions: vec!["mail.send".to_owned()],
            resources: vec![],
            may_act: None,
            lifetime_s: 300,
        }),
        encoded(&TlsSign { scheme: 0x0403, message: vec![b' '; 130] }),
        encoded(&crate::actors::Agent::invited(at).enrol_call(at)),
        encoded(&Renew { agent_record: working.enrolled.record.clone(), request: request() }),
        encoded(&SetGrant { statement: granted, dek: at.dek }),
        encoded(&SetCredential {
            statement: statement(),
            salt: SALT.to_vec(),
            secret: WireSecret::new(SECRET.to_vec()),
            dek: at.dek,
        }),
        encoded(&Revoke { statements: statements() }),
        encoded(&SetRoster { statements: statements() }),
        encoded(&CertifyOperator { statement: statement() }),
        encoded(&CertifyServer { statements: statements() }),
        encoded(&NewDek { statement: statement() }),
        encoded(&LoadDek { dek: at.wrapped[0].clone() }),
        encoded(&Inventory {}),
        encoded(&Health {}),
    ];
    let ops: Vec<Op> = all.iter().map(|(op, _)| *op).collect();
    assert_eq!(ops, Op::ALL, "an operation has no message here");
    all
}

/// Sends frames through one connection and reads as many answers.
fn answers(at: &Deployment, door: Door, frames: &[(u8, Vec<u8>)]) -> Vec<(Option<Status>, Vec<u8>)> {
    let mut stream = open(at, &wire::hello(door));
    let mut out = Vec::new();
    // Few at a time: nobody who does not read is served for long.
    for (n, batch) in frames.chunks(64).enumerate() {
        let ids = (n as u64) << 8..;
        let octets: Vec<u8> = ids.clone().zip(batch).flat_map(|(id, (op, body))| frame(id, *op, body)).collect();
        stream.write_all(&octets).unwrap();
        for (id, _) in ids.zip(batch) {
            let (answered, status, body) = reply(&mut stream);
            assert_eq!(answered, id);
            out.push((status, body));
        }
    }
    out
}

#[track_caller]
fn expect_all(what: &str, answers: &[(Option<Status>, Vec<u8>)], expected: RefusalCode) {
    for (n, (status, body)) in answers.iter().enumerate() {
        assert_eq!(*status, Some(Status::Refused), "{what}, frame {n}");
        let refusal: Refusal = wire::decode(body).unwrap();
        assert_eq!(refusal.code, expected, "{what}, frame {n}");
    }
}

fn counted(at: &Deployment, code: RefusalCode) -> u64 {
    let report = at.call(Health {}).unwrap();
    report.refusals.iter().find(|row| row.name == code.as_str()).map_or(0, |row| row.count)
}

#[test]
fn a_malformed_message_of_any_operation_is_refused_and_counted() {
    let at = Deployment::start();
    let mut sent = 0;
    for (op, message) in messages(&at) {
        let number = op as u8;
        let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
        // Cut anywhere, within reason.
        let step = (message.len() / 150).max(1);
        frames.extend((0..message.len()).step_by(step).map(|cut| (number, message[..cut].to_vec())));
        frames.push((number, [&message[..], &[0]].concat()));
        frames.push((number, [&message[..], &message[..], &[1]].concat()));
        // Lengths and counts of up to 2^64 at every place where one may stand.
        for lead in [0, 1, 16, 17, 32, 33] {
            let huge = [&message[..message.len().min(lead)], &[0xff; 9], &[0x01], &[0; 16]].concat();
            frames.push((number, huge));
        }
        frames.push((number, vec![0xff; 64]));
        frames.push((number, vec![0xff; 1024 * 1024]));
        expect_all(op.as_str(), &answers(&at, op.door(), &frames), RefusalCode::Malformed);
        sent += frames.len() as u64;
    }
    assert_eq!(counted(&at, RefusalCode::Malformed), sent);
}

#[test]
fn an_operation_goes_through_its_own_door_only_and_the_rest_is_counted() {
    let at = Deployment::start();
    let messages = messages(&at);
    let (mut wrong, mut unknown) = (0, 0);
    for door in DOORS {
        let elsewhere = messages.iter().filter(|(op, _)| op.door() != door);
        let frames: Vec<_> = elsewhere.map(|(op, message)| (*op as u8, message.clone())).collect();
        expect_all("another door", &answers(&at, door, &frames), RefusalCode::WrongDoor);
        wrong += frames.len() as u64;
        let none = (0..=u8::MAX).filter(|number| Op::from_byte(*number).is_none());
        let frames: Vec<_> = none.flat_map(|number| [(number, vec![]), (number, vec![7; 50])]).collect();
        expect_all("no operation", &answers(&at, door, &frames), RefusalCode::OperationUnknown);
        unknown += frames.len() as u64;
    }
    assert_eq!(counted(&at, RefusalCode::WrongDoor), wrong);
    assert_eq!(counted(&at, RefusalCode::OperationUnknown), unknown);
}

#[test]
fn a_flipped_bit_anywhere_in_any_message_is_answered_and_breaks_nothing() {
    let at = Deployment::start();
    let before = at.call(Health {}).unwrap();
    for (op, message) in messages(&at) {
        let step = (message.len() / 100).max(1);
        let flipped = (0..message.len()).step_by(step).map(|place| {
            let mut message = message.clone();
            message[place] ^= 1 << (place % 8);
            (op as u8, message)
        });
        let frames: Vec<_> = flipped.collect();
        let answers = answers(&at, op.door(), &frames);
        assert!(answers.iter().all(|(status, _)| status.is_some()), "{}", op.as_str());
    }
    let after = at.call(Health {}).unwrap();
    assert!(after.known_answer && after.started == before.started);
    let panicked = after.connections.iter().find(|row| row.name == "cut-panicked").unwrap();
    assert_eq!(panicked.count, 0);
}

#[test]
fn a_reply_that_would_be_longer_than_a_frame_is_refused() {
    let at = Deployment::start();
    // Each item grows by an envelope's header and tag.
    let item = || SealItem { table: "t".into(), column: "c".into(), key: "k".into(), version: 1, plaintext: vec![] };
    let items = (0..100_000).map(|_| item()).collect();
    let call = Seal { tenant: TENANT, dek: at.metadata_dek, items };
    let code = crate::deployment::refused("a long reply", at.call(call));
    assert_eq!(code, RefusalCode::OutOfRange);
}

#[test]
fn a_stream_that_is_none_of_ours_is_cut_and_counted() {
    let at = Deployment::start();
    let hello = wire::hello(Door::Slow);
    let streams = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"TGPv1\0\0\0\x09".to_vec(),
        [&hello[..], &[0; 13]].concat(),
        [&hello[..], &[0xff; 13]].concat(),
        [&hello[..], &hello[..]].concat(),
    ];
    let sent = streams.len() as u64;
    for octets in streams {
        let mut stream: UnixStream = open(&at, &octets);
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert!(rest.is_empty(), "{octets:?} was answered");
    }
    let report = at.call(Health {}).unwrap();
    let cut = report.connections.iter().find(|row| row.name == "cut-malformed").unwrap();
    assert_eq!(cut.count, sent);
}
