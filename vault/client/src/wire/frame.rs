//! Frames: `u32 length | u64 id | u8 op | body` out, `u32 length | u64 id | u8 status | body` back.
//!
//! Numbers are big-endian. The length counts what follows it. A connection begins with
//! `TGPv1\0\0\0` and the byte of its door.

use serde::{Serialize, de::DeserializeOwned};

use super::{Call, Door, Refusal};

/// No frame is longer than this, its length field not counted.
pub const FRAME_LIMIT: usize = 2 * 1024 * 1024;
/// Length, id and op or status.
pub const HEADER_LEN: usize = 4 + 8 + 1;
/// The magic and the door.
pub const HELLO_LEN: usize = 9;

const MAGIC: &[u8; 8] = b"TGPv1\0\0\0";

/// What makes a stream unusable: the connection is closed, others go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first bytes are not ours.
    #[error("the connection does not begin with a known hello")]
    Hello,
    /// Shorter than its own header, or longer than the limit.
    #[error("frame length {0} is out of range")]
    Length(u32),
    /// The body is not this call's message.
    #[error("the frame's body is malformed")]
    Body,
    /// The message would exceed the limit.
    #[error("the message is longer than a frame may be")]
    TooLong,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The body is the reply.
    Ok = 0,
    /// The body is a [`Refusal`].
    Refused = 1,
    /// The token could not be used; the body says what failed.
    Unavailable = 2,
    /// The body is the id of the data encryption key to load first.
    DekUnknown = 3,
}

impl Status {
    /// The status with this number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Status::Ok),
            1 => Some(Status::Refused),
            2 => Some(Status::Unavailable),
            3 => Some(Status::DekUnknown),
            _ => None,
        }
    }
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the client; freed by the reply only.
    pub id: u64,
    /// Operation, or status in a reply.
    pub kind: u8,
    /// Octets of body that follow.
    pub body_len: usize,
}

impl Header {
    /// Reads a header from the front of `input`; `None` while it is not all there.
    ///
    /// # Errors
    /// When the length cannot be that of a frame.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some((length, rest)) = input.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let body_len = (length as usize)
            .checked_sub(HEADER_LEN - 4)
            .filter(|_| length as usize <= FRAME_LIMIT)
            .ok_or(FrameError::Length(length))?;
        let Some((id, rest)) = rest.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let Some(&kind) = rest.first() else {
            return Ok(None);
        };
        Ok(Some(Header { id: u64::from_be_bytes(*id), kind, body_len }))
    }
}

/// The first bytes of a connection.
pub fn hello(door: Door) -> [u8; HELLO_LEN] {
    let mut out = [0; HELLO_LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8] = door as u8;
    out
}

/// The door that a connection's first bytes ask for.
///
/// # Errors
/// When they are not a hello of this version.
pub fn decode_hello(bytes: &[u8; HELLO_LEN]) -> Result<Door, FrameError> {
    if &bytes[..8] != MAGIC {
        return Err(FrameError::Hello);
    }
    Door::from_byte(bytes[8]).ok_or(FrameError::Hello)
}

/// Appends one frame to `out`.
///
/// # Errors
/// When it would be longer than [`FRAME_LIMIT`]; `out` is then as it was.
pub fn encode<T: Serialize + ?Sized>(out: &mut Vec<u8>, id: u64, kind: u8, body: &T) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_be_bytes());
    out.push(kind);
    let fitted = postcard::serialize_with_flavor(body, Append(&mut *out))
        .ok()
        .and_then(|()| u32::try_from(out.len() - start - 4).ok())
        .filter(|length| *length as usize <= FRAME_LIMIT);
    match fitted {
        Some(length) => {
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        None => {
            out.truncate(start);
            Err(FrameError::TooLong)
        }
    }
}

/// Appends a call's frame.
///
/// # Errors
/// As [`encode`].
pub fn encode_call<C: Call>(out: &mut Vec<u8>, id: u64, call: &C) -> Result<(), FrameError> {
    encode(out, id, C::OP as u8, call)
}

/// Appends the frame that answers call `id`.
///
/// # Errors
/// As [`encode`].
pub fn encode_reply<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    id: u64,
    status: Status,
    body: &T,
) -> Result<(), FrameError> {
    encode(out, id, status as u8, body)
}

/// A body as the message it must be, to its last octet.
///
/// # Errors
/// When it is another message, cut short or longer.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(FrameError::Body),
    }
}

/// Writes postcard straight behind the header.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Refusal::new(super::RefusalCode::Malformed, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_as_it_was_written() {
        let mut out = Vec::new();
        encode(&mut out, 7, 3, "hello").expect("short");
        let header = Header::parse(&out).expect("valid").expect("whole");
        assert_eq!((header.id, header.kind), (7, 3));
        assert_eq!(header.body_len, out.len() - HEADER_LEN);
        assert_eq!(decode::<String>(&out[HEADER_LEN..]).expect("same type"), "hello");
    }

    #[test]
    fn a_header_cut_anywhere_is_not_an_error_and_not_a_frame() {
        let mut out = Vec::new();
        encode(&mut out, 7, 3, "hello").expect("short");
        for cut in 0..HEADER_LEN {
            assert_eq!(Header::parse(&out[..cut]), Ok(None));
        }
    }

    #[test]
    fn a_length_outside_the_limits_is_an_error() {
        for length in [0_u32, 8, FRAME_LIMIT as u32 + 1, u32::MAX] {
            assert_eq!(Header::parse(&length.to_be_bytes()), Err(FrameError::Length(length)));
        }
    }

    #[test]
    fn a_message_over_the_limit_leaves_the_buffer_as_it_was() {
        let mut out = vec![1, 2, 3];
        let long = vec![0_u8; FRAME_LIMIT];
        assert_eq!(encode(&mut out, 1, 1, &long), Err(FrameError::TooLong));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn octets_behind_a_message_are_refused() {
        let mut out = Vec::new();
        encode(&mut out, 1, 1, "x").expect("short");
        out.push(0);
        assert_eq!(decode::<String>(&out[HEADER_LEN..]), Err(FrameError::Body));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_octets_are_a_message_or_an_error_and_never_a_panic(octets: Vec<u8>) {
            use crate::wire::{Enrol, MintToken, Open, Release, Renew, Seal, SetCredential};
            // Whatever decodes can be sent again.
            fn check<C: Call>(octets: &[u8]) -> bool {
                decode::<C>(octets).is_err() || {
                    let mut out = Vec::new();
                    decode::<C>(octets).is_ok_and(|call| encode_call(&mut out, 1, &call).is_ok())
                }
            }
            proptest::prop_assert!(check::<Enrol>(&octets) && check::<Renew>(&octets));
            proptest::prop_assert!(check::<MintToken>(&octets) && check::<Release>(&octets));
            proptest::prop_assert!(check::<Seal>(&octets) && check::<Open>(&octets));
            proptest::prop_assert!(check::<SetCredential>(&octets));
            let _ = Header::parse(&octets);
        }
    }
}
