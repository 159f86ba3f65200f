//! `tgp serve`: the gateway; with `--with-vault` both processes under one command.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::vault::DEFAULT_CONFIG;
use super::{CliError, block_on, log};
use crate::config::Config;
use crate::http::Listeners;
use crate::sandbox;

/// A vault opens its token within this time, or something is wrong.
const VAULT_START: Duration = Duration::from_secs(60);
/// A part that was asked to stop is killed after this time.
const STOP: Duration = Duration::from_secs(15);

#[derive(Args)]
pub struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Run the vault too, as a process of its own; as root each as a user of its own
    #[arg(long)]
    with_vault: bool,
    /// With --with-vault as root: the vault's user
    #[arg(long, value_name = "USER", default_value = "tgp-vault", requires = "with_vault")]
    vault_user: String,
    /// With --with-vault as root: the gateway's user
    #[arg(long, value_name = "USER", default_value = "tgp-gateway", requires = "with_vault")]
    gateway_user: String,
    /// How to log
    #[arg(long, value_enum, default_value = "text")]
    log: log::Format,
}

impl Serve {
    pub fn run(self) -> Result<(), CliError> {
        let config = Config::load(&self.config)?;
        log::start(self.log);
        if self.with_vault {
            return self.supervise(&config);
        }
        // In this order: what is bound stays, and no thread runs yet that would not be confined.
        let listeners = Listeners::bind(&config).map_err(|e| CliError::failed(e.to_string()))?;
        let confined = sandbox::gateway(&config).enter().map_err(|e| CliError::failed(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|e| CliError::failed(format!("cannot start: {e}")))?;
        runtime.block_on(async {
            let shutdown = asked_to_stop()?;
            let serving = crate::http::serve(config, listeners, confined.to_string(), shutdown);
            serving.await.map_err(|e| CliError::failed(e.to_string()))
        })
    }

    /// Starts both, waits until one ends or a signal comes, and stops the gateway first.
    fn supervise(&self, config: &Config) -> Result<(), CliError> {
        let (vault_user, gateway_user) = if rustix::process::geteuid().is_root() {
            (Some(user(&self.vault_user)?), Some(user(&self.gateway_user)?))
        } else {
            tracing::warn!(
                "single-domain: one user runs vault and gateway, so what a conquered gateway cannot do does not apply"
            );
            (None, None)
        };
        let mut vault = Part::start("vault", &self.config, vault_user)?;
        vault.wait_for(&config.vault.socket)?;
        let mut gateway = Part::start("serve", &self.config, gateway_user)?;
        let ended = block_on(async {
            let stop = asked_to_stop()?;
            tokio::pin!(stop);
            loop {
                tokio::select! {
                    () = &mut stop => return Ok(None),
                    () = tokio::time::sleep(Duration::from_millis(500)) => {
                        for part in [&mut vault, &mut gateway] {
                            if part.has_ended() {
                                return Ok(Some(part.verb));
                            }
                        }
                    }
                }
            }
        })?;
        gateway.stop();
        vault.stop();
        match ended {
            None => Ok(()),
            Some(verb) => {
                Err(CliError::failed(format!("tgp {verb} ended by itself")).hint("its last log lines say why"))
            }
        }
    }
}

/// Resolves at SIGTERM or SIGINT.
fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    let watch = |kind| signal(kind).map_err(|e| CliError::failed(format!("cannot watch signals: {e}")));
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// One of the two processes. Started by exec, stopped when dropped.
struct Part {
    verb: &'static str,
    child: Child,
}

impl Part {
    fn start(verb: &'static str, config: &Path, user: Option<(u32, u32)>) -> Result<Self, CliError> {
        let tgp = std::env::current_exe().map_err(|e| CliError::failed(format!("cannot find this program: {e}")))?;
        let mut command = Command::new(tgp);
        // A group of its own: Ctrl-C reaches the supervisor alone, which stops them in order.
        command.arg(verb).arg("--config").arg(config).stdin(Stdio::null()).process_group(0);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid).env_remove("HOME"); // root's, which they cannot read
        }
        let child = tgp_sandbox::spawn_without_capabilities(&mut command);
        let child = child.map_err(|e| CliError::failed(format!("cannot start tgp {verb}: {e}")))?;
        Ok(Self { verb, child })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn wait_for(&mut self, socket: &Path) -> Result<(), CliError> {
        let deadline = Instant::now() + VAULT_START;
        while UnixStream::connect(socket).is_err() {
            if self.has_ended() {
                return Err(CliError::failed("the vault did not start").hint("its log lines above say why"));
            }
            if Instant::now() > deadline {
                return Err(CliError::failed(format!("the vault does not listen on {}", socket.display())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stop(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended meanwhile
        }
        let deadline = Instant::now() + STOP;
        while !self.has_ended() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A user's ids.
fn user(name: &str) -> Result<(u32, u32), CliError> {
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|e| CliError::failed(format!("/etc/passwd: {e}")))?;
    find_user(&passwd, name).ok_or_else(|| {
        CliError::failed(format!("there is no user {name}"))
            .hint(format!("useradd --system --user-group --no-create-home {name}"))
    })
}

fn find_user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\ntgp-vault:x:990:991::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(find_user(passwd, "tgp-vault"), Some((990, 991)));
        assert_eq!(find_user(passwd, "tgp"), None);
        assert_eq!(find_user("broken:x:a:b", "broken"), None);
    }
}
