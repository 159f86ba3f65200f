//! A wire that can be cut: forwards a Unix socket to another one, as a process of its own under the gateway's user, since
//! the database asks the kernel who connects. SIGSTOP makes it a black hole.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{UnixListener, UnixStream};

use crate::Failure;

/// The name of PostgreSQL's socket in its directory.
const SOCKET: &str = ".s.PGSQL.5432";

#[derive(Args)]
pub struct Forward {
    #[arg(long)]
    listen: PathBuf,
    #[arg(long)]
    to: PathBuf,
}

impl Forward {
    /// Forwards until killed.
    pub fn run(self) -> Result<bool, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = UnixListener::bind(&self.listen)?;
            std::fs::set_permissions(&self.listen, std::fs::Permissions::from_mode(0o666))?;
            loop {
                let (mut near, _) = listener.accept().await?;
                let to = self.to.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = UnixStream::connect(&to).await else { return };
                    // Either end may go at any time: that is what this is for.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        })
    }
}

/// The running forwarder.
pub struct Wire {
    child: Child,
    /// The directory that a database URL names as its host.
    pub directory: PathBuf,
}

impl Wire {
    /// From a socket in a new directory below `root` to PostgreSQL's in `database`, as user `uid` and `gid`.
    pub fn start(root: &Path, database: &Path, ids: Option<(u32, u32)>) -> Result<Self, Failure> {
        use std::os::unix::process::CommandExt as _;
        let directory = root.join("wire");
        std::fs::create_dir_all(&directory)?;
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777))?;
        // The user may not be able to reach where this program lies.
        let program = root.join("bin/tgp-proof");
        std::fs::copy(std::env::current_exe()?, &program)?;
        let mut command = Command::new(program);
        command.arg("forward").arg("--listen").arg(directory.join(SOCKET)).arg("--to").arg(database.join(SOCKET));
        if let Some((uid, gid)) = ids {
            command.gid(gid).uid(uid);
        }
        let child = command.stdin(Stdio::null()).spawn()?;
        while !directory.join(SOCKET).exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(Self { child, directory })
    }

    pub fn cut(&self, cut: bool) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, if cut { Signal::STOP } else { Signal::CONT });
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
