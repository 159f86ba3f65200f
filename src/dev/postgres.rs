//! A private PostgreSQL cluster, from the binaries that the distribution installs: a Unix socket and nothing else, and
//! no password anywhere (the kernel tells who connects). Touches no other cluster.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::DevError;
use super::layout::Layout;
use super::process::{self, Process};

/// The running cluster.
pub struct Postgres {
    pub process: Process,
    socket: PathBuf,
}

impl Postgres {
    /// Makes the cluster when it is not there, and starts it.
    pub fn start(layout: &Layout, environment: &[(&str, &Path)]) -> Result<Self, DevError> {
        let bin = binaries().ok_or(DevError::Missing { what: "PostgreSQL", package: "postgresql" })?;
        let (data, socket) = (layout.path("pg/data"), layout.path("pg/run"));
        if !data.join("PG_VERSION").exists() {
            let _ = fs::remove_dir_all(&data); // half a cluster from a start that was cut off
            let mut initdb = layout.postgres.command(&bin.join("initdb"), &[]);
            initdb.args([
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=peer",
                "--no-sync",
                "-D",
            ]);
            process::run("initdb", initdb.arg(&data))?;
        }
        let mut mkdir = layout.postgres.command(Path::new("mkdir"), &[]);
        process::run("mkdir", mkdir.arg("-p").arg("-m").arg("0755").arg(&socket))?;
        write_as_postgres(layout, &data.join("pg_hba.conf"), "local all all peer map=tgp\n")?;
        write_as_postgres(layout, &data.join("pg_ident.conf"), &identities(layout))?;
        let process = Self::spawn(layout, &bin, &data, &socket, environment)?;
        let mut postgres = Self { process, socket };
        postgres.create_database(layout, &bin)?;
        Ok(postgres)
    }

    /// Starts it once more after it ended, however it ended.
    pub fn start_again(&mut self, layout: &Layout, environment: &[(&str, &Path)]) -> Result<(), DevError> {
        let bin = binaries().ok_or(DevError::Missing { what: "PostgreSQL", package: "postgresql" })?;
        self.process = Self::spawn(layout, &bin, &layout.path("pg/data"), &self.socket, environment)?;
        Ok(())
    }

    fn spawn(
        layout: &Layout,
        bin: &Path,
        data: &Path,
        socket: &Path,
        environment: &[(&str, &Path)],
    ) -> Result<Process, DevError> {
        let text = |path: &Path| path.display().to_string();
        let stale = socket.join(".s.PGSQL.5432");
        let _ = fs::remove_file(&stale); // ours alone: the directory is this stack's
        // A start on a full disk leaves an empty lock file, which PostgreSQL takes for another server's for ever.
        let lock = data.join("postmaster.pid");
        if fs::metadata(&lock).is_ok_and(|found| found.len() == 0) {
            let _ = fs::remove_file(&lock);
        }
        let (data, socket_text) = (text(data), text(socket));
        let args = [
            "-D",
            &data,
            "-k",
            &socket_text,
            "-c",
            "listen_addresses=",
            "-c",
            "max_connections=60",
            "-c",
            "shared_buffers=64MB",
        ];
        let log = layout.log("postgres");
        // SIGINT is PostgreSQL's "fast" shutdown: sessions are ended, nothing is lost.
        let mut process =
            Process::start("postgres", &bin.join("postgres"), &args, environment, &layout.postgres, &log, Signal::INT)?;
        process.wait_until(|| std::os::unix::net::UnixStream::connect(&stale).is_ok())?;
        Ok(process)
    }

    /// The URL by which `role` connects.
    pub fn url(&self, role: &str) -> String {
        url(&self.socket, role, "tgp")
    }

    fn create_database(&mut self, layout: &Layout, bin: &Path) -> Result<(), DevError> {
        let psql = |query: &str, database: &str| {
            let mut command = layout.postgres.command(&bin.join("psql"), &[]);
            command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
            process::run("psql", command.arg(&self.socket).args(["-c", query]))
        };
        let mut up = String::new();
        self.process.wait_until(|| psql("select 1", "postgres").map(|answer| up = answer).is_ok())?;
        if psql("select 1 from pg_database where datname = 'tgp'", "postgres")?.trim().is_empty() {
            psql("create database tgp", "postgres")?;
        }
        Ok(())
    }
}

/// A connection URL over the socket directory `socket`.
pub fn url(socket: &Path, role: &str, database: &str) -> String {
    format!("postgres://{role}@localhost/{database}?host={}", socket.display())
}

/// Who may be whom: the parts' users their own roles, the cluster's user and root the owner.
fn identities(layout: &Layout) -> String {
    let gateway = &layout.gateway.name;
    let owner = [layout.postgres.name.as_str(), "root"].map(|name| format!("tgp {name} postgres\n")).concat();
    format!("{owner}tgp {gateway} tgp_gateway\ntgp {gateway} tgp_admission\n")
}

fn write_as_postgres(layout: &Layout, path: &Path, text: &str) -> Result<(), DevError> {
    fs::write(path, text).map_err(|e| DevError::file(path, e))?;
    if let Some((uid, gid)) = layout.postgres.ids {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|e| DevError::file(path, e))?;
    }
    Ok(())
}

/// The newest installed PostgreSQL's directory of binaries.
fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some((entry.ok()?.file_name().to_str()?.parse().ok()?, PathBuf::new())))
        .collect();
    for (version, path) in &mut versions {
        *path = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
    }
    versions.sort();
    let packaged = versions.pop().map(|(_, path)| path).filter(|path| path.join("initdb").exists());
    packaged.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    })
}
