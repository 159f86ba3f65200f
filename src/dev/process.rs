//! Child processes of the development stack: started as a given user, with their output in a log file, and stopped
//! again. Each is its own process group, so that Ctrl-C reaches us alone and we stop them in order.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::DevError;
use super::layout::User;

/// A running child. Dropping it stops it.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stop: Signal,
}

impl Process {
    /// Starts `program` with `args` as `user`; its standard output and error are appended to `log`.
    pub fn start(
        name: &'static str,
        program: &Path,
        args: &[&str],
        environment: &[(&str, &Path)],
        user: &User,
        log: &Path,
        stop: Signal,
    ) -> Result<Self, DevError> {
        let output = File::options().create(true).append(true).open(log).map_err(|e| DevError::file(log, e))?;
        let errors = output.try_clone().map_err(|e| DevError::file(log, e))?;
        let mut command = user.command(program, environment);
        command.args(args).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = tgp_sandbox::spawn_without_capabilities(&mut command);
        let child = child.map_err(|e| DevError::start(name, e))?;
        Ok(Self { name, child, log: log.to_owned(), stop })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error naming the log when the child has ended by itself.
    pub fn check(&mut self) -> Result<(), DevError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => {
                Err(DevError::Ended { name: self.name, log: self.log.clone(), tail: tail(&self.log) })
            }
        }
    }

    /// Waits until `ready` holds, for as long as the child lives.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), DevError> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready() {
            self.check()?;
            if Instant::now() > deadline {
                return Err(DevError::Slow { name: self.name, log: self.log.clone(), tail: tail(&self.log) });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits for the child's end.
    pub fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait()
    }

    /// Sends `signal` to the child.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, signal); // gone already: nothing to tell
        }
    }

    /// Asks the child to stop, waits, and kills it when it does not within ten seconds.
    pub fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(self.stop);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill(); // it may have ended meanwhile
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end; its error output becomes the error.
pub fn run(name: &'static str, command: &mut Command) -> Result<String, DevError> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| DevError::start(name, e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DevError::Failed { name, said })
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().map(|line| format!("  | {line}\n")).collect()
}

/// True when `error` only says that the thing was there already.
pub fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}
