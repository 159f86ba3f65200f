//! Attempts at what a sandbox forbids, for tests: `tgp sandbox-probe` enters the sandbox of a configuration and
//! makes them. An attempt that kills the process shows it by the process's end.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use crate::syscalls::KILLED;

/// One thing to try.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attempt {
    /// `read:PATH`
    Read(PathBuf),
    /// `write:PATH`: makes the file where it is not there.
    Write(PathBuf),
    /// `connect:ADDRESS`, by TCP.
    Connect(SocketAddr),
    /// `bind:ADDRESS`, for TCP.
    Bind(SocketAddr),
    /// `udp:ADDRESS`: a datagram socket of that family.
    Udp(SocketAddr),
    /// `unix:PATH`: connects.
    Unix(PathBuf),
    /// `abstract:NAME`: connects to an abstract Unix socket.
    Abstract(String),
    /// `exec:PROGRAM`: becomes it.
    Exec(PathBuf),
    /// `spawn:PROGRAM`: starts it as a child.
    Spawn(PathBuf),
    /// `thread:`: starts a thread.
    Thread,
    /// `socket:FAMILY`, a stream socket of the family of that number.
    Socket(i32),
    /// `signal:PID`: signal 0 to that process.
    Signal(i32),
    /// `executable:`: memory that is written and executed.
    Executable,
    /// `dumpable:`: takes the mark back that forbids dumps.
    Dumpable,
    /// `syscall:NAME`: the call of that name, with arguments of zero.
    Syscall(i64),
}

/// Names of the calls that kill.
pub fn killing_calls() -> impl Iterator<Item = &'static str> {
    KILLED.iter().map(|(name, _)| *name)
}

impl FromStr for Attempt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, of) = text.split_once(':').ok_or("KIND:ARGUMENT")?;
        let address = || of.parse().map_err(|e| format!("{of}: {e}"));
        let number = || of.parse().map_err(|e| format!("{of}: {e}"));
        Ok(match kind {
            "read" => Self::Read(of.into()),
            "write" => Self::Write(of.into()),
            "connect" => Self::Connect(address()?),
            "bind" => Self::Bind(address()?),
            "udp" => Self::Udp(address()?),
            "unix" => Self::Unix(of.into()),
            "abstract" => Self::Abstract(of.into()),
            "exec" => Self::Exec(of.into()),
            "spawn" => Self::Spawn(of.into()),
            "thread" => Self::Thread,
            "socket" => Self::Socket(number()?),
            "signal" => Self::Signal(number()?),
            "executable" => Self::Executable,
            "dumpable" => Self::Dumpable,
            "syscall" => {
                let known = KILLED.iter().find(|(name, _)| *name == of);
                Self::Syscall(known.ok_or_else(|| format!("no call {of}"))?.1)
            }
            _ => return Err(format!("nothing is called {kind}")),
        })
    }
}

impl Attempt {
    /// Tries it. What succeeds is undone by the process's end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make(&self) -> io::Result<()> {
        match self {
            Self::Read(path) => File::open(path).map(drop),
            Self::Write(path) => OpenOptions::new().append(true).create(true).open(path).map(drop),
            Self::Connect(to) => TcpStream::connect(to).map(drop),
            Self::Bind(at) => TcpListener::bind(at).map(drop),
            Self::Udp(at) => UdpSocket::bind(at).map(drop),
            Self::Unix(path) => UnixStream::connect(path).map(drop),
            Self::Abstract(name) => UnixStream::connect_addr(&UnixAddr::from_abstract_name(name)?).map(drop),
            Self::Exec(program) => Err(Command::new(program).exec()),
            Self::Spawn(program) => Command::new(program).status().map(drop),
            Self::Thread => std::thread::Builder::new().spawn(|| ()).map(drop),
            Self::Socket(family) => raw(libc::SYS_socket, [*family, libc::SOCK_STREAM, 0, 0]),
            Self::Signal(pid) => {
                let pid = rustix::process::Pid::from_raw(*pid).ok_or(io::ErrorKind::InvalidInput)?;
                Ok(rustix::process::test_kill_process(pid)?)
            }
            Self::Executable => {
                let (both, private) = (libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                // Address 0, a page.
                raw_wide(libc::SYS_mmap, [0, 4096, i64::from(both), i64::from(private), -1, 0])
            }
            Self::Dumpable => raw(libc::SYS_prctl, [libc::PR_SET_DUMPABLE, 1, 0, 0]),
            Self::Syscall(number) => raw(*number, [0; 4]),
        }
    }
}

fn raw(number: i64, arguments: [i32; 4]) -> io::Result<()> {
    let [a, b, c, d] = arguments.map(i64::from);
    raw_wide(number, [a, b, c, d, 0, 0])
}

#[expect(unsafe_code, reason = "calls that no library offers, because nobody should make them")]
fn raw_wide(number: i64, arguments: [i64; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the arguments are numbers and null pointers, never an address that the kernel would write to; memory that is
    // mapped is new. A call that succeeds affects kernel objects of a process whose purpose is to try it.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
