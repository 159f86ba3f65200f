//! Where the development stack keeps things, and as whom its parts run.
//!
//! As root: three system users and `/var/lib/tgp-dev`, so that vault and gateway are really apart. Otherwise everything
//! runs as the caller, below `$XDG_STATE_HOME/tgp-dev`, and the vault reports `single-domain`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{DevError, process};

/// Whom a part runs as.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub ids: Option<(u32, u32)>, // none: as the caller
}

impl User {
    /// The caller.
    pub fn caller() -> Result<Self, DevError> {
        let name = process::run("id", Command::new("id").arg("-un"))?.trim().to_owned();
        Ok(Self { name, ids: None })
    }

    /// A system user, made when it is not there.
    fn system(name: &str) -> Result<Self, DevError> {
        let id = |flag: &str| -> Option<u32> {
            process::run("id", Command::new("id").args([flag, name])).ok()?.trim().parse().ok()
        };
        if id("-u").is_none() {
            let args = [
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
            ];
            process::run("useradd", Command::new("useradd").args(args).arg(name))?;
        }
        let ids =
            id("-u").zip(id("-g")).ok_or_else(|| DevError::Failed { name: "id", said: format!("no user {name}") })?;
        Ok(Self { name: name.to_owned(), ids: Some(ids) })
    }

    /// The user id that the part's process has.
    pub fn uid(&self) -> u32 {
        self.ids.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid)
    }

    /// `program`, to be run as this user with nothing of the caller's environment but a path.
    pub fn command(&self, program: &Path, environment: &[(&str, &Path)]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
        for (name, value) in environment {
            command.env(name, value);
        }
        if let Some((uid, gid)) = self.ids {
            command.gid(gid).uid(uid);
        }
        command
    }

    fn own(&self, path: &Path, group: Option<&User>) -> Result<(), DevError> {
        let Some((uid, gid)) = self.ids else { return Ok(()) };
        let gid = group.and_then(|user| user.ids).map_or(gid, |(_, gid)| gid);
        chown(path, Some(uid), Some(gid)).map_err(|e| DevError::file(path, e))
    }
}

/// Paths and users of one development stack.
pub struct Layout {
    pub root: PathBuf,
    pub vault: User,
    pub gateway: User,
    pub postgres: User,
    /// The binary that the parts run: a copy when the users could not reach the original.
    pub tgp: PathBuf,
}

impl Layout {
    /// Makes the directories that are missing. `apart`: with users of their own (needs root).
    pub fn prepare(root: PathBuf, tgp: &Path, apart: bool) -> Result<Self, DevError> {
        let caller = User::caller()?;
        let root_caller = rustix::process::geteuid().is_root();
        let (vault, gateway, postgres) = if apart {
            (User::system("tgp-vault")?, User::system("tgp-gateway")?, User::system("tgp-postgres")?)
        } else if root_caller {
            // PostgreSQL refuses to run as root, whatever the other parts do.
            (caller.clone(), caller, User::system("tgp-postgres")?)
        } else {
            (caller.clone(), caller.clone(), caller)
        };
        let layout = Self { tgp: root.join("bin/tgp"), root, vault, gateway, postgres };
        layout.directory("", 0o755, None, None)?;
        layout.directory("bin", 0o755, None, None)?;
        layout.directory("log", 0o755, None, None)?;
        layout.directory("token", 0o700, Some(&layout.vault), None)?;
        layout.directory("vault", 0o700, Some(&layout.vault), None)?;
        layout.directory("gateway", 0o755, Some(&layout.gateway), None)?;
        // Sockets made in here belong to the gateway's group: it may connect, nobody else.
        layout.directory("run", 0o2750, Some(&layout.vault), Some(&layout.gateway))?;
        layout.directory("pg", 0o755, Some(&layout.postgres), None)?;
        layout.copy_binary(tgp)?;
        Ok(layout)
    }

    /// `$XDG_STATE_HOME/tgp-dev`, or `/var/lib/tgp-dev` for root.
    pub fn default_root() -> PathBuf {
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/tgp-dev");
        }
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
        state.unwrap_or_else(|| PathBuf::from("/tmp")).join("tgp-dev")
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    pub fn config(&self) -> PathBuf {
        self.path("tgp.toml")
    }

    pub fn operator(&self) -> PathBuf {
        self.path("operator")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/vault.sock")
    }

    pub fn log(&self, part: &str) -> PathBuf {
        self.path("log").join(format!("{part}.log"))
    }

    /// Writes `text` once for `user` alone (mode 0600); keeps what is there.
    pub fn secret(&self, below: &str, user: &User, text: &[u8]) -> Result<PathBuf, DevError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(below);
        match fs::File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => file.write_all(text).map_err(|e| DevError::file(&path, e))?,
            Err(e) if process::is_there(&e) => {}
            Err(e) => return Err(DevError::file(&path, e)),
        }
        user.own(&path, None)?;
        Ok(path)
    }

    fn directory(&self, below: &str, mode: u32, owner: Option<&User>, group: Option<&User>) -> Result<(), DevError> {
        let path = if below.is_empty() { self.root.clone() } else { self.path(below) };
        fs::create_dir_all(&path).map_err(|e| DevError::file(&path, e))?;
        if let Some(owner) = owner {
            owner.own(&path, group)?;
        }
        // After chown, which clears the set-group-id bit.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|e| DevError::file(&path, e))
    }

    /// `/root` and a checkout may be closed to the parts' users, so they run a copy.
    fn copy_binary(&self, tgp: &Path) -> Result<(), DevError> {
        let fresh = self.tgp.with_extension("new");
        if fs::hard_link(tgp, &fresh).is_err() {
            fs::copy(tgp, &fresh).map_err(|e| DevError::file(&fresh, e))?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(|e| DevError::file(&fresh, e))?;
        }
        fs::rename(&fresh, &self.tgp).map_err(|e| DevError::file(&self.tgp, e))
    }
}
