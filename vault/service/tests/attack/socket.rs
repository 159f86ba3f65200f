//! Attacks on the socket itself.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tgp_vault_client::wire::{
    self, Describe, Door, FRAME_LIMIT, HEADER_LEN, Header, Health, Mode, Op, Refusal, RefusalCode, Status, TlsSign,
};

use crate::child;
use crate::deployment::{Deployment, refused};

pub fn open(at: &Deployment, hello: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(at.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(hello).unwrap();
    stream
}

pub fn is_closed(stream: &mut UnixStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
        Ok(_) => false,
    }
}

pub fn frame(id: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(9 + body.len()).unwrap();
    [&length.to_be_bytes()[..], &id.to_be_bytes(), &[kind], body].concat()
}

pub fn reply(stream: &mut UnixStream) -> (u64, Option<Status>, Vec<u8>) {
    let mut head = [0; HEADER_LEN];
    stream.read_exact(&mut head).unwrap();
    let header = Header::parse(&head).unwrap().unwrap();
    let mut body = vec![0; header.body_len];
    stream.read_exact(&mut body).unwrap();
    (header.id, Status::from_byte(header.kind), body)
}

#[test]
fn a_user_who_is_not_listed_is_turned_away() {
    let at = Deployment::provisioned();
    let mut vault = child::spawn(at.dir(), &at.role(vec![Deployment::own_uid() + 1]));
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut stream = loop {
        if let Ok(stream) = UnixStream::connect(at.socket()) {
            break stream;
        }
        assert!(Instant::now() < deadline && vault.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    drop(stream.write_all(&wire::hello(Door::Calls)));
    assert!(is_closed(&mut stream));
    vault.kill().unwrap();
    vault.wait().unwrap();
}

#[test]
fn what_is_not_a_frame_closes_that_connection_only() {
    let at = Deployment::start();
    let mut bystander = at.connect(Door::Calls).unwrap();
    bystander.call(&Describe {}).unwrap();
    let calls = wire::hello(Door::Calls);
    let after_hello = |octets: &[u8]| [&calls[..], octets].concat();
    let too_long = u32::try_from(FRAME_LIMIT + 1).unwrap().to_be_bytes();
    let cases = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("another version", b"TGPv2\0\0\0\0".to_vec()),
        ("an unknown door", b"TGPv1\0\0\0\x07".to_vec()),
        ("a frame of no length", after_hello(&[0; 16])),
        ("a frame shorter than its header", after_hello(&[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("a frame over the limit", after_hello(&[&too_long[..], &[0; 9]].concat())),
        ("a frame of four gigabytes", after_hello(&[0xff; 16])),
    ];
    for (what, octets) in cases {
        let mut stream = open(&at, &octets);
        assert!(is_closed(&mut stream), "{what}");
        bystander.call(&Describe {}).unwrap();
    }
}

#[test]
fn a_frame_that_is_no_message_is_refused_and_the_next_is_served() {
    let at = Deployment::start();
    let mut stream = open(&at, &wire::hello(Door::Calls));
    let mut input = Vec::new();
    input.extend(frame(1, 0, b""));
    input.extend(frame(2, 255, b"x"));
    input.extend(frame(3, Op::MintToken as u8, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    input.extend(frame(4, Op::Release as u8, b""));
    input.extend(frame(5, Op::Describe as u8, b"more"));
    input.extend(frame(6, Op::Enrol as u8, b""));
    input.extend(frame(7, Op::TlsSign as u8, b""));
    input.extend(frame(8, Op::Describe as u8, b""));
    // In pieces of every length: a frame is whole when its last octet is there.
    for piece in input.chunks(7) {
        stream.write_all(piece).unwrap();
    }
    use RefusalCode::{Malformed, OperationUnknown, WrongDoor};
    let codes = [OperationUnknown, OperationUnknown, Malformed, Malformed, Malformed, WrongDoor, WrongDoor];
    for (expected_id, expected) in (1..).zip(codes) {
        let (id, status, body) = reply(&mut stream);
        assert_eq!((id, status), (expected_id, Some(Status::Refused)));
        let refusal: Refusal = wire::decode(&body).unwrap();
        assert_eq!(refusal.code, expected, "frame {id}");
    }
    let (id, status, _) = reply(&mut stream);
    assert_eq!((id, status), (8, Some(Status::Ok)));
}

#[test]
fn a_request_of_many_fields_is_refused_and_the_vault_goes_on() {
    let at = Deployment::start();
    let agent = crate::actors::Agent::invited(&at);
    for _ in 0..3 {
        let mut call = agent.enrol_call(&at);
        call.request.headers = vec![(String::new(), String::new()); 200_000];
        assert!(at.call(call).is_err());
        let mut call = agent.enrol_call(&at);
        call.request.headers = vec![("a".to_owned(), String::new()); 200_000];
        assert!(at.call(call).is_err());
    }
    agent.enrol(&at);
}

#[test]
fn the_servers_key_signs_handshakes_and_nothing_else() {
    let at = Deployment::start();
    let context = b"TLS 1.3, server CertificateVerify\0";
    let good = [&[b' '; 64][..], context, &[7; 32]].concat();
    let signature = at.call(TlsSign { scheme: 0x0403, message: good.clone() }).unwrap();
    assert_eq!(signature[0], 0x30);
    let others: [(&str, u16, Vec<u8>); 7] = [
        ("RSA", 0x0804, good.clone()),
        ("secp384r1", 0x0503, good.clone()),
        ("nothing", 0x0403, vec![]),
        ("a token", 0x0403, b"eyJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJ4In0".to_vec()),
        ("an operator's statement", 0x0403, b"tgp op v1\0{}".to_vec()),
        ("a certificate", 0x0403, [&[0x30, 0x82][..], &[1; 300]].concat()),
        ("a client's handshake", 0x0403, {
            let context = b"TLS 1.3, client CertificateVerify\0";
            [&[b' '; 64][..], context, &[7; 32]].concat()
        }),
    ];
    for (what, scheme, message) in others {
        let code = refused(what, at.call(TlsSign { scheme, message }));
        assert_eq!(code, RefusalCode::NotAHandshake, "{what}");
    }
}

#[test]
fn health_is_a_known_answer_and_counts_what_was_asked() {
    let at = Deployment::start();
    refused("tls", at.call(TlsSign { scheme: 0, message: vec![] }));
    let health = at.call(Health {}).unwrap();
    assert!(health.known_answer);
    // Test and vault are one user here.
    assert_eq!(health.mode, Mode::SingleDomain);
    let count = |name: &str| {
        let row = health.calls.iter().find(|row| row.op == name).unwrap();
        (row.ok, row.refused)
    };
    assert_eq!(count("new_dek"), (3, 0));
    assert_eq!(count("tls_sign"), (0, 1));
}

#[test]
fn a_vault_that_crashes_leaves_no_core_file() {
    let at = Deployment::start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", at.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}
