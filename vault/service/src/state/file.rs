//! The state file's octets: a snapshot, and a line for each act since.
//!
//! ```text
//! line   = JSON | TAB | base64url(MAC) | LF
//! link 0 = SHA-256("tgp vault snapshot v2\0" | JSON)               the first line
//! link n = SHA-256("tgp vault act v2\0" | link n-1 | MAC n-1 | JSON)   each line after it
//! MAC n  = HMAC(state-mac, "tgp vault state v2\0" | link n)
//! ```
//!
//! A link stands for all lines before it, so that one MAC vouches for the whole file up to its line,
//! and a start asks the token for one or two, however many acts there were.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::StateError;

const SNAPSHOT: &[u8] = b"tgp vault snapshot v2\0";
const ACT: &[u8] = b"tgp vault act v2\0";
const MAC: &[u8] = b"tgp vault state v2\0";
/// A million agents take a quarter of it.
const LIMIT: u64 = 1024 * 1024 * 1024;
/// A journal below this is not worth a new snapshot.
const SMALL: u64 = 64 * 1024;

/// A place in the chain of lines.
#[derive(Clone, Copy)]
pub(super) struct Link([u8; 32]);

impl Link {
    pub(super) fn snapshot(body: &str) -> Self {
        Link(Sha256::new().chain_update(SNAPSHOT).chain_update(body).finalize().into())
    }

    /// What is MACed.
    pub(super) fn mac_input(self) -> Vec<u8> {
        [MAC, &self.0].concat()
    }
}

/// The end of a line: what the next one follows.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    pub link: Link,
    pub mac: [u8; 32],
}

impl Tail {
    pub(super) fn then(&self, body: &str) -> Link {
        let before = Sha256::new().chain_update(ACT).chain_update(self.link.0).chain_update(self.mac);
        Link(before.chain_update(body).finalize().into())
    }
}

/// A line of a file that was read, not believed yet.
struct Line<'t> {
    body: &'t str,
    tail: Tail,
    /// Where the next line begins.
    end: usize,
}

/// What a file says, once a MAC was the expected one.
pub(super) struct Believed<'t> {
    pub snapshot: &'t str,
    pub acts: Vec<&'t str>,
    tail: Tail,
    length: usize,
    snapshot_length: usize,
    /// Something stands behind the last line that can be believed.
    pub torn: bool,
}

/// Reads the lines of a file and believes them up to the last whose MAC is right.
///
/// What a crash leaves of the line that was being written is left out, and reported as `torn`: a part of it,
/// or all of it in octets that never reached the disk. Only the last line can be that; whether it was answered for is
/// the token's version to say. Any other fault is an edit.
pub(super) fn believe<E: From<StateError>>(
    text: &[u8],
    mut mac: impl FnMut(&[u8]) -> Result<[u8; 32], E>,
) -> Result<Believed<'_>, E> {
    let (mut lines, mut torn) = lines(text)?;
    let right = |line: &Line<'_>, expected: [u8; 32]| bool::from(line.tail.mac.ct_eq(&expected));
    let last = lines.last().ok_or(StateError::Malformed("there is no line".into()))?;
    if !right(last, mac(&last.tail.link.mac_input())?) {
        // Two lines that are wrong are not one that was torn.
        if torn || lines.len() < 2 {
            return Err(StateError::Mac.into());
        }
        lines.pop();
        torn = true;
        let last = &lines[lines.len() - 1];
        if !right(last, mac(&last.tail.link.mac_input())?) {
            return Err(StateError::Mac.into());
        }
    }
    let last = &lines[lines.len() - 1];
    Ok(Believed {
        snapshot: lines[0].body,
        acts: lines[1..].iter().map(|line| line.body).collect(),
        tail: last.tail,
        length: last.end,
        snapshot_length: lines[0].end,
        torn,
    })
}

/// The lines of a file, and whether something follows the last of them.
fn lines(text: &[u8]) -> Result<(Vec<Line<'_>>, bool), StateError> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.iter().position(|octet| *octet == b'\n');
        let parsed = length.and_then(|length| parse(&rest[..length]));
        let (Some(length), Some((body, mac))) = (length, parsed) else {
            let is_last = length.is_none_or(|length| length + 1 == rest.len());
            return match lines.is_empty() || !is_last {
                true => Err(StateError::Malformed(format!("line {} is not one of this form", lines.len() + 1))),
                false => Ok((lines, true)),
            };
        };
        let link = lines.last().map_or_else(|| Link::snapshot(body), |before| before.tail.then(body));
        rest = &rest[length + 1..];
        lines.push(Line { body, tail: Tail { link, mac }, end: text.len() - rest.len() });
    }
    Ok((lines, false))
}

/// What stands behind the last line as its MAC.
pub(super) fn last_mac(text: &str) -> Option<[u8; 32]> {
    Some(parse(text.lines().last()?.as_bytes())?.1)
}

fn parse(line: &[u8]) -> Option<(&str, [u8; 32])> {
    let (body, mac) = std::str::from_utf8(line).ok()?.split_once('\t')?;
    Some((body, URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()?))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StateError::Missing(path.to_owned()));
        }
        other => other?,
    };
    let mut text = Vec::new();
    if file.take(LIMIT + 1).read_to_end(&mut text)? as u64 > LIMIT {
        return Err(StateError::Malformed("it is larger than any that this vault writes".into()));
    }
    Ok(text)
}

/// The file of a vault that runs.
pub(super) struct StateFile {
    path: PathBuf,
    /// `None` after a failure that may have left anything behind: it has to be replaced whole.
    open: Option<Open>,
}

struct Open {
    file: File,
    tail: Tail,
    length: u64,
    snapshot_length: u64,
}

impl StateFile {
    /// One that is still to be written.
    pub(super) fn new(path: PathBuf) -> Self {
        StateFile { path, open: None }
    }

    /// One that was read and believed, whose version is the token's: a torn end is cut off.
    pub(super) fn resume(path: PathBuf, believed: &Believed<'_>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(&path)?;
        let length = believed.length as u64;
        if believed.torn {
            file.set_len(length)?;
            file.sync_all()?;
        }
        let open = Open { file, tail: believed.tail, length, snapshot_length: believed.snapshot_length as u64 };
        Ok(StateFile { path, open: Some(open) })
    }

    /// What the next line follows; `None` where the file has to be replaced: a write failed, or what is at
    /// the path is not what was written there.
    pub(super) fn tail(&self) -> Option<Tail> {
        let open = self.open.as_ref()?;
        let ours = open.file.metadata().ok()?;
        let there = std::fs::metadata(&self.path).ok()?;
        let same = (ours.dev(), ours.ino(), ours.len()) == (there.dev(), there.ino(), open.length);
        same.then_some(open.tail)
    }

    /// Whether the acts take more room than the snapshot they follow.
    pub(super) fn has_outgrown_its_snapshot(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.length - open.snapshot_length > open.snapshot_length.max(SMALL))
    }

    /// Adds an act's line; durable when it returns.
    pub(super) fn append(&mut self, body: &str, tail: Tail) -> io::Result<()> {
        // Put back only when all went well.
        let Some(mut open) = self.open.take() else {
            return Err(io::Error::other("the state file has to be replaced first"));
        };
        let line = line(body, &tail.mac);
        // A file that could not be read back would be the vault's last.
        if open.length + line.len() as u64 > LIMIT {
            return Err(io::Error::other("the state has outgrown its file's limit"));
        }
        open.file.write_all(line.as_bytes())?;
        open.file.sync_data()?;
        open.length += line.len() as u64;
        open.tail = tail;
        self.open = Some(open);
        Ok(())
    }

    /// Puts a snapshot in the file's place, in one step that survives a crash at any point.
    pub(super) fn replace(&mut self, body: &str, tail: Tail) -> io::Result<()> {
        let line = line(body, &tail.mac);
        let length = line.len() as u64;
        if length > LIMIT {
            return Err(io::Error::other("the state has outgrown its file's limit"));
        }
        let beside = beside(&self.path);
        // What a crash left there, or somebody put there: never written through.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        self.open = None;
        std::fs::rename(&beside, &self.path)?;
        // Until the directory is on disk a crash may bring back the old file, and with it none of the acts that
        // follow: so none may follow.
        sync_directory(&self.path)?;
        self.open = Some(Open { file, tail, length, snapshot_length: length });
        Ok(())
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Puts on disk what was read: it may have been in memory alone since the vault before this one was killed.
pub(super) fn make_durable(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_directory(path)
}

pub(super) fn line(body: &str, mac: &[u8; 32]) -> String {
    // JSON text holds neither: both are escaped in it.
    debug_assert!(!body.contains(['\t', '\n']));
    format!("{body}\t{}\n", URL_SAFE_NO_PAD.encode(mac))
}

pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
