//! The vault's socket: the hello, frames, every operation's call and reply.
//!
//! The first octet is an operation, the second `ff` for a call or else a reply's status, the rest the body. Operation 0 is
//! a connection from its first octet.

use tgp_vault_client::wire::{
    BlindIndex, Call, CertifyOperator, CertifyServer, Describe, Enrol, ExchangeToken, FRAME_LIMIT, HEADER_LEN,
    HELLO_LEN, Header, Health, Inventory, LoadDek, MintToken, NewDek, Op, Open, Release, Renew, Revoke, Seal,
    SealAccessToken, SetCredential, SetGrant, SetRoster, SignStatusList, Status, TlsSign, decode, decode_hello, encode,
    encode_call, encode_reply, hello,
};
use tgp_vault_client::{CallError, fuzzing};

/// In the second octet: the body is a call.
pub const CALL: u8 = 0xff;

pub fn check(data: &[u8]) -> bool {
    let [kind, rest @ ..] = data else { return false };
    if *kind == 0 {
        return connection(rest);
    }
    let (Some(op), [status, body @ ..]) = (Op::from_byte(*kind), rest) else { return false };
    assert_eq!(op as u8, *kind);
    message(op, *status, body)
}

macro_rules! operations {
    ($($name:ident),*) => {
        fn message(op: Op, status: u8, body: &[u8]) -> bool {
            match op {
                $(Op::$name if status == CALL => call::<$name>(body),
                  Op::$name => reply::<$name>(status, body),)*
                _ => panic!("{op:?} has no line here"),
            }
        }
    };
}

operations!(
    Describe,
    MintToken,
    ExchangeToken,
    Release,
    Seal,
    Open,
    BlindIndex,
    SignStatusList,
    SealAccessToken,
    TlsSign,
    Enrol,
    Renew,
    SetGrant,
    SetCredential,
    Revoke,
    SetRoster,
    CertifyOperator,
    CertifyServer,
    NewDek,
    LoadDek,
    Inventory,
    Health
);

/// Whatever is read as a call can be sent again, and is then the same call in its one encoding.
fn call<C: Call>(body: &[u8]) -> bool {
    let Ok(read) = decode::<C>(body) else { return false };
    let mut frame = Vec::new();
    encode_call(&mut frame, 7, &read).expect("what fitted a frame fits a frame");
    let header = Header::parse(&frame).expect("our own").expect("whole");
    assert_eq!((header.id, header.kind, header.body_len), (7, C::OP as u8, frame.len() - HEADER_LEN));
    let written = &frame[HEADER_LEN..];
    assert!(written.len() <= body.len(), "no encoding is shorter than ours");
    let again: C = decode(written).expect("what was written reads back");
    let mut second = Vec::new();
    encode_call(&mut second, 7, &again).expect("as before");
    assert_eq!(second, frame);
    true
}

/// A reply means one thing, whatever its body is.
fn reply<C: Call>(status: u8, body: &[u8]) -> bool {
    let mut frame = Vec::new();
    match (Status::from_byte(status), fuzzing::reply::<C>(status, body)) {
        (Some(Status::Ok), Ok(read)) => {
            encode_reply(&mut frame, 7, Status::Ok, &read).expect("as long as it was");
            let again = fuzzing::reply::<C>(status, &frame[HEADER_LEN..]).expect("what was written reads back");
            let mut second = Vec::new();
            encode_reply(&mut second, 7, Status::Ok, &again).expect("as before");
            assert_eq!(second, frame);
            true
        }
        (Some(Status::Refused), Err(CallError::Refused(refusal))) => {
            encode(&mut frame, 7, status, &refusal).expect("as long as it was");
            let again = fuzzing::reply::<C>(status, &frame[HEADER_LEN..]).err();
            assert!(matches!(again, Some(CallError::Refused(it)) if it == refusal));
            true
        }
        (Some(Status::DekUnknown), Err(CallError::DekUnknown(_))) => true,
        (_, Err(CallError::Unavailable(_))) => false,
        (status, outcome) => panic!("{status:?} ended as {:?}", outcome.err()),
    }
}

/// The octets of a connection: a hello, then frames until one is not whole or not a frame.
fn connection(octets: &[u8]) -> bool {
    let Some((first, mut rest)) = octets.split_first_chunk::<HELLO_LEN>() else { return false };
    let Ok(door) = decode_hello(first) else { return false };
    assert_eq!(&hello(door), first);
    while let Ok(Some(header)) = Header::parse(rest) {
        let whole = HEADER_LEN + header.body_len;
        assert!(whole - 4 <= FRAME_LIMIT);
        for cut in 0..HEADER_LEN {
            assert!(matches!(Header::parse(&rest[..cut]), Ok(None)), "a header cut short is none");
        }
        let Some((frame, after)) = rest.split_at_checked(whole) else { return true };
        if let Some(op) = Op::from_byte(header.kind)
            && op.door() == door
        {
            message(op, CALL, &frame[HEADER_LEN..]);
        }
        rest = after;
    }
    true
}
