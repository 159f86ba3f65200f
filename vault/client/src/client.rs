//! The gateway's client: one pipelined connection per door.
//!
//! Callers append frames to one buffer; the first wakes the writer, which takes all that has
//! gathered meanwhile. One reader resolves ids. An id is freed by its reply only: a caller that
//! gave up leaves it behind, because a reused one could hand an agent's token to another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use zeroize::{Zeroize, Zeroizing};

use crate::CallError;
use crate::blocking::{check_peer, reply};
use crate::wire::{self, Call, Door, HEADER_LEN, Header};

/// Calls that may wait for replies on one door.
const IN_FLIGHT_LIMIT: usize = 8192;
/// How long a call through a fast door is waited for.
const FAST_DEADLINE: Duration = Duration::from_secs(5);
/// How long a call through the slow door is waited for.
const SLOW_DEADLINE: Duration = Duration::from_secs(30);
/// What one read takes at most.
const CHUNK: usize = 64 * 1024;
/// Between attempts to reach a vault that is away.
const RECONNECT: Duration = Duration::from_millis(100);

/// Calls to one vault. Cheap to clone; every clone shares the connections.
#[derive(Clone)]
pub struct Client {
    calls: Arc<Line>,
    tls: Arc<Line>,
    slow: Arc<Line>,
    // Dropping the last clone ends the background tasks.
    _alive: Arc<Alive>,
}

struct Alive(Vec<tokio::task::AbortHandle>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Client {
    /// Connects each door and keeps it connected from then on.
    ///
    /// # Errors
    /// When the vault cannot be reached now: a gateway that cannot start says so.
    pub async fn connect(path: &Path, expected_uid: Option<u32>) -> Result<Self, CallError> {
        let mut tasks = Vec::new();
        let mut open = async |door| -> Result<Arc<Line>, CallError> {
            let line = Arc::new(Line::new(path, door, expected_uid));
            let stream = line.dial().await?;
            line.set_up(true);
            let task = tokio::spawn(keep_connected(Arc::clone(&line), stream));
            tasks.push(task.abort_handle());
            Ok(line)
        };
        let calls = open(Door::Calls).await?;
        let tls = open(Door::Tls).await?;
        let slow = open(Door::Slow).await?;
        Ok(Client { calls, tls, slow, _alive: Arc::new(Alive(tasks)) })
    }

    /// Makes a call and waits for its reply, within the deadline of its door.
    ///
    /// # Errors
    /// The vault's refusal, or that it cannot be asked. While it is away this fails at once.
    pub async fn call<C: Call>(&self, call: C) -> Result<C::Reply, CallError> {
        let (line, deadline) = match C::OP.door() {
            Door::Calls => (&self.calls, FAST_DEADLINE),
            Door::Tls => (&self.tls, FAST_DEADLINE),
            Door::Slow => (&self.slow, SLOW_DEADLINE),
        };
        let waiting = line.submit(&call)?;
        // Not kept in memory longer than its frame.
        drop(call);
        match tokio::time::timeout(deadline, waiting).await {
            Ok(Ok(Answer { status, body })) => reply::<C>(status, &body),
            Ok(Err(_)) => Err(CallError::Unavailable("the connection was lost".into())),
            Err(_) => {
                Err(CallError::Unavailable(format!("no reply to {} within {} s", C::OP.as_str(), deadline.as_secs())))
            }
        }
    }

    /// Whether every door is connected at this moment.
    pub fn is_connected(&self) -> bool {
        [&self.calls, &self.tls, &self.slow].iter().all(|line| line.lock().up)
    }
}

struct Answer {
    status: u8,
    body: Zeroizing<Vec<u8>>,
}

/// One door's connection, across reconnects.
struct Line {
    path: PathBuf,
    door: Door,
    expected_uid: Option<u32>,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    up: bool,
    next_id: u64,
    buffer: Vec<u8>,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Line {
    fn new(path: &Path, door: Door, expected_uid: Option<u32>) -> Self {
        Line {
            path: path.to_owned(),
            door,
            expected_uid,
            state: Mutex::new(State { up: false, next_id: 1, buffer: Vec::new(), waiting: HashMap::new() }),
            wake: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is whole before it is released.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(&self) -> Result<UnixStream, CallError> {
        let mut stream =
            UnixStream::connect(&self.path).await.map_err(|e| CallError::from_io("connect to the vault", &e))?;
        check_peer(&stream, self.expected_uid)?;
        stream.write_all(&wire::hello(self.door)).await.map_err(|e| CallError::from_io("greet the vault", &e))?;
        Ok(stream)
    }

    fn set_up(&self, up: bool) {
        let mut state = self.lock();
        state.up = up;
        // What was written or waited for on the old connection will not be answered.
        state.buffer.zeroize();
        state.waiting.clear();
    }

    fn submit<C: Call>(&self, call: &C) -> Result<oneshot::Receiver<Answer>, CallError> {
        let (sender, receiver) = oneshot::channel();
        let first = {
            let mut state = self.lock();
            if !state.up {
                return Err(CallError::Unavailable("the vault is not connected".into()));
            }
            if state.waiting.len() >= IN_FLIGHT_LIMIT {
                return Err(CallError::Unavailable("too many calls are waiting".into()));
            }
            let id = state.next_id;
            let first = state.buffer.is_empty();
            wire::encode_call(&mut state.buffer, id, call).map_err(|e| CallError::Refused(e.into()))?;
            state.next_id += 1;
            state.waiting.insert(id, sender);
            first
        };
        if first {
            self.wake.notify_one();
        }
        Ok(receiver)
    }

    async fn write(&self, mut out: OwnedWriteHalf) -> std::io::Result<()> {
        let mut taken = Zeroizing::new(Vec::new());
        loop {
            std::mem::swap(&mut self.lock().buffer, &mut *taken);
            if taken.is_empty() {
                self.wake.notified().await;
                continue;
            }
            out.write_all(&taken).await?;
            // Wipes the octets and keeps the allocation for the next round.
            taken.zeroize();
        }
    }

    async fn read(&self, mut input: OwnedReadHalf) -> std::io::Result<()> {
        let malformed = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            if buffer.spare_capacity_mut().len() < CHUNK / 16 {
                make_room(&mut buffer, CHUNK);
            }
            if input.read_buf(&mut buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            while let Some(header) = Header::parse(&buffer).map_err(|e| malformed(&e.to_string()))? {
                let whole = HEADER_LEN + header.body_len;
                if buffer.len() < whole {
                    let missing = whole - buffer.len();
                    make_room(&mut buffer, missing);
                    break;
                }
                let body = Zeroizing::new(buffer[HEADER_LEN..whole].to_vec());
                buffer[..whole].zeroize();
                buffer.advance(whole);
                let caller = self.lock().waiting.remove(&header.id);
                // An id that nobody was given means that the two ends no longer agree.
                let caller = caller.ok_or_else(|| malformed("reply to no call"))?;
                let status = header.kind;
                // The caller may have given up: its reply is dropped, and wiped, here.
                drop(caller.send(Answer { status, body }));
            }
        }
    }
}

/// As `reserve`, which may move what is held within its allocation; where it was, nothing is left of it.
fn make_room(buffer: &mut BytesMut, additional: usize) {
    buffer.reserve(additional);
    buffer.spare_capacity_mut().zeroize();
}

async fn keep_connected(line: Arc<Line>, first: UnixStream) {
    let mut stream = Some(first);
    loop {
        if let Some(stream) = stream.take() {
            let (input, output) = stream.into_split();
            tokio::select! {
                _ = line.read(input) => {}
                _ = line.write(output) => {}
            }
            line.set_up(false);
        }
        tokio::time::sleep(RECONNECT).await;
        if let Ok(fresh) = line.dial().await {
            line.set_up(true);
            stream = Some(fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::wire::{Refusal, RefusalCode, Status, TlsSign};

    /// A stand-in for the vault's end: answers by the script, so that lost, late and reordered
    /// replies can be made. The vault itself is tested in its own crate.
    fn serve(path: &Path, script: impl Fn(u64, TlsSign, &mut Vec<u8>) + Send + Clone + 'static) {
        let listener = UnixListener::bind(path).expect("binds");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let script = script.clone();
                std::thread::spawn(move || {
                    let mut stream = stream.expect("accepts");
                    let mut hello = [0; wire::HELLO_LEN];
                    stream.read_exact(&mut hello).expect("hello");
                    loop {
                        let mut head = [0; HEADER_LEN];
                        if stream.read_exact(&mut head).is_err() {
                            return;
                        }
                        let header = Header::parse(&head).expect("valid").expect("whole");
                        let mut body = vec![0; header.body_len];
                        stream.read_exact(&mut body).expect("body");
                        let mut out = Vec::new();
                        script(header.id, wire::decode(&body).expect("tls_sign"), &mut out);
                        if out == b"hang up" {
                            return;
                        }
                        stream.write_all(&out).expect("writes");
                    }
                });
            }
        });
    }

    fn sign(message: &[u8]) -> TlsSign {
        TlsSign { scheme: 0x0403, message: message.to_vec() }
    }

    #[tokio::test]
    async fn each_caller_gets_the_reply_to_its_own_call() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("s");
        serve(&path, |id, call, out| {
            wire::encode_reply(out, id, Status::Ok, &call.message).expect("short");
        });
        let client = Client::connect(&path, None).await.expect("connects");
        let calls: Vec<_> = (0..500_u32)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.call(sign(&n.to_be_bytes())).await })
            })
            .collect();
        for (n, call) in (0..500_u32).zip(calls) {
            let reply = call.await.expect("no panic").expect("answered");
            assert_eq!(reply, n.to_be_bytes());
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "to look behind what a buffer says it holds")]
    fn making_room_leaves_no_copy_behind() {
        let mut buffer = BytesMut::with_capacity(64);
        buffer.extend_from_slice(&[b'x'; 48]);
        buffer.extend_from_slice(b"a secret");
        buffer.advance(48);
        let held = buffer.as_ptr();
        make_room(&mut buffer, 40);
        assert_eq!(&buffer[..], b"a secret");
        assert_ne!(buffer.as_ptr(), held, "it was moved to the front of its allocation");
        // SAFETY: the first 56 octets of the allocation were written above.
        unsafe { buffer.set_len(56) };
        assert!(!buffer[8..].windows(8).any(|w| w == b"a secret"));
    }

    #[tokio::test]
    async fn a_refusal_reaches_its_caller_as_one() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("s");
        serve(&path, |id, _, out| {
            let refusal = Refusal::new(RefusalCode::NotAHandshake, "no");
            wire::encode_reply(out, id, Status::Refused, &refusal).expect("short");
        });
        let client = Client::connect(&path, None).await.expect("connects");
        let error = client.call(sign(b"x")).await.expect_err("refused");
        let code = error.refusal().expect("a refusal").code;
        assert_eq!(code, RefusalCode::NotAHandshake);
    }

    #[tokio::test]
    async fn a_lost_connection_fails_its_calls_and_is_replaced() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("s");
        serve(&path, |id, call, out| {
            if call.message == b"die" {
                out.extend_from_slice(b"hang up");
            } else {
                wire::encode_reply(out, id, Status::Ok, &call.message).expect("short");
            }
        });
        let client = Client::connect(&path, None).await.expect("connects");
        let lost = client.call(sign(b"die")).await;
        assert!(matches!(lost, Err(CallError::Unavailable(_))), "{lost:?}");
        for _ in 0..100 {
            if client.call(sign(b"again")).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the client did not reconnect");
    }

    #[tokio::test]
    async fn a_late_reply_goes_to_nobody_else() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("s");
        serve(&path, |id, call, out| {
            if call.message == b"late" {
                std::thread::sleep(Duration::from_millis(100));
            }
            wire::encode_reply(out, id, Status::Ok, &call.message).expect("short");
        });
        let client = Client::connect(&path, None).await.expect("connects");
        let given_up = tokio::time::timeout(Duration::from_millis(10), client.call(sign(b"late"))).await;
        assert!(given_up.is_err());
        let reply = client.call(sign(b"mine")).await.expect("answered");
        assert_eq!(reply, b"mine");
    }

    #[tokio::test]
    async fn a_socket_of_another_user_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("s");
        serve(&path, |_, _, _| {});
        let own = rustix::process::getuid().as_raw();
        let refused = Client::connect(&path, Some(own + 1)).await;
        assert!(matches!(refused, Err(CallError::Unavailable(_))));
        assert!(Client::connect(&path, Some(own)).await.is_ok());
    }
}
