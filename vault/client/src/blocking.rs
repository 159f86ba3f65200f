//! One call at a time over a blocking socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::CallError;
use crate::wire::{self, Call, Door, HEADER_LEN, Header, Status, TlsSign};

/// A connection through one door. After any failure but a refusal it is of no more use: its stream
/// may hold the reply to a call that was given up.
pub struct Blocking {
    stream: UnixStream,
    next_id: u64,
    broken: bool,
}

impl Blocking {
    /// Connects, checks the server's user where one is named, and says which door.
    ///
    /// # Errors
    /// When nobody listens, or another user does.
    pub fn connect(path: &Path, door: Door, expected_uid: Option<u32>, timeout: Duration) -> Result<Self, CallError> {
        let stream = UnixStream::connect(path).map_err(|e| CallError::from_io("connect to the vault", &e))?;
        check_peer(&stream, expected_uid)?;
        let prepare = || -> std::io::Result<()> {
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            (&stream).write_all(&wire::hello(door))
        };
        prepare().map_err(|e| CallError::from_io("greet the vault", &e))?;
        Ok(Blocking { stream, next_id: 1, broken: false })
    }

    /// Makes one call and waits for its reply.
    ///
    /// # Errors
    /// The vault's refusal, or that it cannot be asked.
    pub fn call<C: Call>(&mut self, call: &C) -> Result<C::Reply, CallError> {
        if self.broken {
            return Err(CallError::Unavailable("the connection is broken".into()));
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut frame = Zeroizing::new(Vec::with_capacity(512));
        wire::encode_call(&mut frame, id, call).map_err(|e| CallError::Refused(e.into()))?;
        self.broken = true;
        self.stream.write_all(&frame).map_err(|e| CallError::from_io("write to the vault", &e))?;
        let (status, body) = self.read_reply(id)?;
        self.broken = false;
        reply::<C>(status, &body)
    }

    /// Whether another call can be made on this connection.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    fn read_reply(&mut self, id: u64) -> Result<(u8, Zeroizing<Vec<u8>>), CallError> {
        let io = |e: std::io::Error| CallError::from_io("read from the vault", &e);
        let mut head = [0; HEADER_LEN];
        self.stream.read_exact(&mut head).map_err(io)?;
        let header = match Header::parse(&head) {
            Ok(Some(header)) if header.id == id => header,
            _ => return Err(CallError::Unavailable("the vault's reply is malformed".into())),
        };
        let mut body = Zeroizing::new(vec![0; header.body_len]);
        self.stream.read_exact(&mut body).map_err(io)?;
        Ok((header.kind, body))
    }
}

/// What a reply's frame means to the caller.
pub(crate) fn reply<C: Call>(status: u8, body: &[u8]) -> Result<C::Reply, CallError> {
    let malformed = |_| CallError::Unavailable("the vault's reply is malformed".into());
    match Status::from_byte(status) {
        Some(Status::Ok) => wire::decode(body).map_err(malformed),
        Some(Status::Refused) => Err(CallError::Refused(wire::decode(body).map_err(malformed)?)),
        Some(Status::Unavailable) => Err(CallError::Unavailable(wire::decode(body).map_err(malformed)?)),
        Some(Status::DekUnknown) => Err(CallError::DekUnknown(wire::decode::<Uuid>(body).map_err(malformed)?)),
        None => Err(CallError::Unavailable("the vault's reply is malformed".into())),
    }
}

/// Refuses a socket that another user serves.
pub(crate) fn check_peer(stream: impl std::os::fd::AsFd, expected_uid: Option<u32>) -> Result<(), CallError> {
    let Some(expected) = expected_uid else {
        return Ok(());
    };
    let peer = rustix::net::sockopt::socket_peercred(stream)
        .map_err(|e| CallError::Unavailable(format!("peer credentials of the vault: {e}")))?;
    if peer.uid.as_raw() == expected {
        Ok(())
    } else {
        Err(CallError::Unavailable(format!(
            "the vault's socket belongs to uid {}, expected {expected}",
            peer.uid.as_raw()
        )))
    }
}

/// Signs TLS handshakes: a blocking call, to be made where it stalls no other request.
pub struct BlockingTls {
    path: PathBuf,
    expected_uid: Option<u32>,
    timeout: Duration,
    idle: Mutex<Vec<Blocking>>,
}

impl BlockingTls {
    /// Connections kept for the next handshake; more are opened while more sign at once.
    const KEPT: usize = 2;

    /// Names the socket; it is connected to by the first signature.
    pub fn new(path: impl Into<PathBuf>, expected_uid: Option<u32>, timeout: Duration) -> Self {
        BlockingTls { path: path.into(), expected_uid, timeout, idle: Mutex::new(Vec::new()) }
    }

    /// The signature over a handshake structure, DER.
    ///
    /// # Errors
    /// As any call; a connection that the vault closed meanwhile is tried once more.
    pub fn tls_sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, CallError> {
        let call = TlsSign { scheme, message: message.to_vec() };
        // A statement of its own: the guard must be gone before `keep` locks again.
        let kept = self.lock().pop();
        if let Some(mut kept) = kept {
            match kept.call(&call) {
                Err(CallError::Unavailable(_)) if kept.is_broken() => {}
                answer => return self.keep(kept, answer),
            }
        }
        let mut fresh = Blocking::connect(&self.path, Door::Tls, self.expected_uid, self.timeout)?;
        let answer = fresh.call(&call);
        self.keep(fresh, answer)
    }

    fn keep<T>(&self, connection: Blocking, answer: Result<T, CallError>) -> Result<T, CallError> {
        let mut idle = self.lock();
        if !connection.is_broken() && idle.len() < Self::KEPT {
            idle.push(connection);
        }
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Blocking>> {
        // A panic elsewhere leaves the list usable: it holds whole connections only.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::wire::HELLO_LEN;

    #[test]
    fn a_second_signature_goes_over_the_kept_connection() {
        let path = std::env::temp_dir().join(format!("tgp-tls-{}-{}", std::process::id(), Uuid::new_v4()));
        let listener = UnixListener::bind(&path).unwrap();
        let vault = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; HELLO_LEN]).unwrap();
            for _ in 0..2 {
                let mut head = [0; HEADER_LEN];
                stream.read_exact(&mut head).unwrap();
                let header = Header::parse(&head).unwrap().unwrap();
                stream.read_exact(&mut vec![0; header.body_len]).unwrap();
                let mut reply = Vec::new();
                wire::encode_reply(&mut reply, header.id, Status::Ok, &vec![1_u8, 2, 3]).unwrap();
                stream.write_all(&reply).unwrap();
            }
        });
        let door = BlockingTls::new(&path, None, Duration::from_secs(5));
        assert_eq!(door.tls_sign(0x0403, b"one").unwrap(), [1, 2, 3]);
        assert_eq!(door.tls_sign(0x0403, b"two").unwrap(), [1, 2, 3]);
        vault.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
