//! One connection: reads what is there, serves every whole frame, writes once.
//!
//! A stream that is not ours, or a reader who does not read, costs its own connection and nothing
//! else. Buffers that held calls or replies are wiped before they are used again.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tgp_token::TokenSession;
use tgp_vault_client::wire::{self, Door, FRAME_LIMIT, HEADER_LEN, HELLO_LEN, Header};
use zeroize::{Zeroize, Zeroizing};

use crate::operation;
use crate::vault::{Vault, Worker};

/// A peer has this long to say hello, to finish a frame that it began, and to take a reply.
const PATIENCE: Duration = Duration::from_secs(10);
const CHUNK: usize = 64 * 1024;
/// Replies are written when the input is used up, or when this much has gathered.
const FLUSH_AT: usize = 1024 * 1024;

/// Serves a connection to its end.
pub(crate) fn serve(vault: &Vault, session: TokenSession, stream: &UnixStream) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut connection = Connection {
        worker: Worker { vault, session },
        input: Zeroizing::new(Vec::with_capacity(CHUNK)),
        output: Zeroizing::new(Vec::with_capacity(CHUNK)),
    };
    // Of the hello, or of a frame of which a part is there.
    let mut begun = Some(Instant::now());
    let mut timed = false;
    let mut door = None;
    loop {
        match begun {
            // However many pieces it comes in: a peer that sends one octet now and then gains no time.
            Some(begun) => stream.set_read_timeout(Some(left(begun)?))?,
            None if timed => stream.set_read_timeout(None)?,
            None => {}
        }
        timed = begun.is_some();
        if !connection.fill(stream)? {
            return Ok(());
        }
        let mut used = 0;
        if door.is_none() {
            door = connection.hello()?;
            used += usize::from(door.is_some());
        }
        if let Some(door) = door {
            used += connection.serve_whole_frames(door, stream)?;
        }
        connection.flush(stream)?;
        begun = match connection.input.is_empty() {
            true if door.is_some() => None,
            // It goes on with what it began, or began something after what was served.
            _ => begun.filter(|_| used == 0).or_else(|| Some(Instant::now())),
        };
    }
}

fn left(begun: Instant) -> io::Result<Duration> {
    let left = PATIENCE.saturating_sub(begun.elapsed());
    match left.is_zero() {
        true => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not finish what it began")),
        false => Ok(left),
    }
}

struct Connection<'v> {
    worker: Worker<'v>,
    input: Zeroizing<Vec<u8>>,
    output: Zeroizing<Vec<u8>>,
}

impl Connection<'_> {
    /// The door that the peer asks for, once it has asked.
    fn hello(&mut self) -> io::Result<Option<Door>> {
        let Some(hello) = self.input.first_chunk::<HELLO_LEN>() else { return Ok(None) };
        let door = wire::decode_hello(hello).map_err(invalid)?;
        self.input.drain(..HELLO_LEN);
        Ok(Some(door))
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self, mut stream: &UnixStream) -> io::Result<bool> {
        let held = self.input.len();
        self.grow(held + CHUNK);
        self.input.resize(held + CHUNK, 0);
        let read = stream.read(&mut self.input[held..]);
        self.input.truncate(held + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// As `reserve`, but leaves no copy behind where the octets were.
    fn grow(&mut self, capacity: usize) {
        if self.input.capacity() < capacity {
            let mut larger = Vec::with_capacity(capacity.next_power_of_two());
            larger.extend_from_slice(&self.input);
            self.input = Zeroizing::new(larger);
        }
    }

    /// How many octets of the input that used up.
    fn serve_whole_frames(&mut self, door: Door, stream: &UnixStream) -> io::Result<usize> {
        let mut used = 0;
        while let Some(header) = Header::parse(&self.input[used..]).map_err(invalid)? {
            let body = used + HEADER_LEN;
            let end = body + header.body_len;
            debug_assert!(end - used <= FRAME_LIMIT + 4);
            let Some(body) = self.input.get(body..end) else {
                break;
            };
            let (id, kind) = (header.id, header.kind);
            operation::serve(&mut self.worker, door, (id, kind), body, &mut self.output);
            used = end;
            if self.output.len() >= FLUSH_AT {
                self.flush(stream)?;
            }
        }
        self.input[..used].zeroize();
        self.input.drain(..used);
        Ok(used)
    }

    fn flush(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        if !self.output.is_empty() {
            // A blocking write is short only when its patience was over: trying on would be patient
            // once more for every piece that a slow reader takes.
            let written = stream.write(&self.output)?;
            if written < self.output.len() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read"));
            }
            // Wipes the octets and keeps the allocation.
            self.output.zeroize();
        }
        Ok(())
    }
}

fn invalid(error: wire::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
