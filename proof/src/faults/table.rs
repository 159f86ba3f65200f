//! The faults: how each begins, how long it lasts, how it ends. One line each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tgp::dev::{Part, Ports, StackOptions};

use super::forward::Wire;
use super::shim::Shim;
use super::{CREDENTIAL, Scene};
use crate::Failure;
use crate::agent::LoadAgent;
use crate::world::{self, SmallDisk, World};

type Act = fn(&mut Scene) -> Result<(), Failure>;

/// Whether what ends is started again while the fault lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    Supervised,
    Left,
}
use Keeping::{Left, Supervised};

pub struct Fault {
    pub name: &'static str,
    pub inflict: Act,
    pub lasts: Duration,
    pub mend: Act,
    pub keeping: Keeping,
}

const fn fault(name: &'static str, inflict: Act, seconds: u64, mend: Act, keeping: Keeping) -> Fault {
    Fault { name, inflict, lasts: Duration::from_secs(seconds), mend, keeping }
}

pub const TABLE: &[Fault] = &[
    fault("gateway: kill -9", |s| s.signal(Part::Gateway, Signal::KILL), 1, nothing, Supervised),
    fault(
        "gateway: SIGSTOP",
        |s| s.signal(Part::Gateway, Signal::STOP),
        6,
        |s| s.signal(Part::Gateway, Signal::CONT),
        Left,
    ),
    fault("vault: kill -9", |s| s.signal(Part::Vault, Signal::KILL), 1, nothing, Supervised),
    fault("vault: SIGSTOP", |s| s.signal(Part::Vault, Signal::STOP), 8, |s| s.signal(Part::Vault, Signal::CONT), Left),
    fault("vault: hung in a handshake signature", |s| s.shim.hang_tls(true), 8, |s| s.shim.hang_tls(false), Left),
    fault("token: each signature 20 ms slower", |s| s.shim.slow(20_000), 5, |s| s.shim.slow(0), Left),
    fault("token: directory gone and back", |s| s.token_away(true), 5, |s| s.token_away(false), Left),
    fault("vault: wrong PIN at a restart, then the right one", wrong_pin, 5, right_pin, Supervised),
    fault("postgresql: kill -9", |s| s.signal(Part::Postgres, Signal::KILL), 1, nothing, Supervised),
    fault(
        "postgresql: SIGSTOP of all its processes",
        |s| s.postgres_all(Signal::STOP),
        8,
        |s| s.postgres_all(Signal::CONT),
        Left,
    ),
    fault("postgresql: orderly restart", |s| s.signal(Part::Postgres, Signal::INT), 1, nothing, Supervised),
    fault("postgresql: every connection taken", take_connections, 6, release, Left),
    fault("postgresql: its disk is full", fill_disk, 6, release, Supervised),
    fault("second gateway: cut off from the database", |s| s.cut(true), 8, |s| s.cut(false), Left),
    fault("gateway: clock five minutes ahead", |s| s.clock("gateway", "+300"), 5, |s| s.clock("gateway", "+0"), Left),
    fault("gateway: clock five minutes behind", |s| s.clock("gateway", "-300"), 5, |s| s.clock("gateway", "+0"), Left),
    fault("vault: clock five minutes ahead", |s| s.clock("vault", "+300"), 5, |s| s.clock("vault", "+0"), Left),
    fault("vault: clock five minutes behind", |s| s.clock("vault", "-300"), 5, |s| s.clock("vault", "+0"), Left),
    fault(
        "postgresql: clock five minutes ahead",
        |s| s.clock("postgres", "+300"),
        5,
        |s| s.clock("postgres", "+0"),
        Left,
    ),
    fault(
        "postgresql: clock five minutes behind",
        |s| s.clock("postgres", "-300"),
        5,
        |s| s.clock("postgres", "+0"),
        Left,
    ),
    fault("all three killed -9 at once", kill_all, 1, nothing, Supervised),
];

fn nothing(_: &mut Scene) -> Result<(), Failure> {
    Ok(())
}

fn kill_all(scene: &mut Scene) -> Result<(), Failure> {
    for part in [Part::Postgres, Part::Vault, Part::Gateway] {
        scene.signal(part, Signal::KILL)?;
    }
    Ok(())
}

fn wrong_pin(scene: &mut Scene) -> Result<(), Failure> {
    let pin = scene.world.stack.layout().path("vault/pin");
    let right = fs::read(&pin)?;
    fs::write(&pin, b"0000-0000")?;
    scene.held.push(Box::new(right));
    scene.signal(Part::Vault, Signal::KILL)
}

fn right_pin(scene: &mut Scene) -> Result<(), Failure> {
    let right = scene.held.pop().and_then(|held| held.downcast::<Vec<u8>>().ok()).ok_or("no PIN was kept")?;
    Ok(fs::write(scene.world.stack.layout().path("vault/pin"), *right)?)
}

/// Sessions that hold every connection until their six seconds are over: a backend does not notice that its client went.
struct Sessions(Vec<Child>);

impl Drop for Sessions {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn take_connections(scene: &mut Scene) -> Result<(), Failure> {
    let url = scene.world.stack.database("postgres");
    let psql = |sql: &str| {
        let mut command = Command::new("psql");
        command.args(["-XAtq", "-d", &url, "-c", sql]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn()
    };
    let sleepers = (0..70).map(|_| psql("select pg_sleep(6)")).collect::<Result<Vec<_>, _>>()?;
    std::thread::sleep(Duration::from_secs(1)); // they log in; which of them get in does not matter
    // From inside one of the sessions that got in before: there is no room for another.
    scene.held.push(Box::new(Sessions(sleepers)));
    scene.end_gateways_sessions()
}

fn fill_disk(scene: &mut Scene) -> Result<(), Failure> {
    let filler = scene.world.stack.layout().path("pg/filler");
    let mut command = Command::new("dd");
    command.args(["if=/dev/zero", "bs=1M", "status=none"]).arg(format!("of={}", filler.display()));
    // It ends with an error: the disk is full.
    command.stderr(Stdio::null()).status()?;
    scene.held.push(Box::new(Filler(filler)));
    Ok(())
}

struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn release(scene: &mut Scene) -> Result<(), Failure> {
    scene.held.clear();
    Ok(())
}

/// Where libfaketime lies on Debian.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

impl Scene {
    /// Two gateways, six agents at the first and two at the second.
    pub fn set(tgp: &Path) -> Result<Self, Failure> {
        let directory = World::directory()?;
        let root = world::root(&directory);
        let disk = SmallDisk::mount(root.join("pg"), "2g")?;
        let shim = prepare(&root)?;
        let clocks = [root.join("clock"), PathBuf::from(FAKETIME)];
        let with_faults = |options| with_clocks(&root, shim.use_in(options, &clocks));
        let mut world = World::start_in(directory, Some(disk), tgp, with_faults)?;
        let layout = world.stack.layout();
        let wire = Wire::start(&layout.root, &layout.path("pg/run"), layout.gateway.ids)?;
        let ports = Ports::free()?;
        let (direct, cuttable) = (layout.path("pg/run"), wire.directory.clone());
        world.stack.start_another_gateway(&with_faults(World::options(&root, tgp)), ports, |text| {
            text.replace(&format!("host={}", direct.display()), &format!("host={}", cuttable.display()))
        })?;
        let mut scene = Self { world, shim, agents: Vec::new(), wire, held: Vec::new() };
        for n in 0..8 {
            let handle = format!("fault-{n}");
            let first = scene.world.enrolled(&handle)?;
            let port = if n < 6 { scene.world.stack.ports().gateway } else { ports.gateway };
            let agent = LoadAgent::load(&first, &scene.world.ca(), scene.world.issuer(), port)?;
            scene.agents.push(Arc::new(agent));
        }
        Ok(scene)
    }

    /// The tool that counts, its credential and the grants.
    pub fn prepare_probe(&self, address: &str) -> Result<(), Failure> {
        let upstream = format!("http://{address}");
        let secret = self.world.directory.path().join("probe.secret");
        fs::write(&secret, CREDENTIAL)?;
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let stack = &self.world.stack;
        stack.operator(&[
            "tool",
            "add",
            "probe",
            "--upstream",
            &upstream,
            "--allow-private",
            "--action",
            "get=GET /probe",
        ])?;
        stack.operator(&["tool", "credential", "probe", "--bearer", "--secret-file", &secret.display().to_string()])?;
        for n in 0..self.agents.len() {
            stack.operator(&["grant", "add", &format!("fault-{n}"), "probe", "--action", "get"])?;
        }
        Ok(())
    }

    fn signal(&mut self, part: Part, signal: Signal) -> Result<(), Failure> {
        let stack = &mut self.world.stack;
        let process = match part {
            Part::Gateway => stack.gateway(),
            Part::Vault => stack.vault(),
            Part::Postgres => stack.postgres(),
        };
        process.signal(signal);
        Ok(())
    }

    fn postgres_all(&mut self, signal: Signal) -> Result<(), Failure> {
        let pid = self.world.stack.postgres().id();
        for child in crate::cpu::tree(pid) {
            if let Some(pid) = rustix::process::Pid::from_raw(child.cast_signed()) {
                let _ = rustix::process::kill_process(pid, signal); // a backend that ended meanwhile
            }
        }
        Ok(())
    }

    fn token_away(&mut self, away: bool) -> Result<(), Failure> {
        let layout = self.world.stack.layout();
        let (here, there) = (layout.path("token"), layout.path("token.away"));
        let (from, to) = if away { (here, there) } else { (there, here) };
        Ok(fs::rename(from, to)?)
    }

    fn cut(&mut self, cut: bool) -> Result<(), Failure> {
        self.wire.cut(cut);
        Ok(())
    }

    /// Ends the gateways' sessions, so that they have to log in again where there is no room.
    fn end_gateways_sessions(&mut self) -> Result<(), Failure> {
        let postgres = self.world.stack.postgres().id();
        for pid in crate::cpu::tree(postgres) {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let title = String::from_utf8_lossy(&title);
            let theirs = title.contains("tgp_gateway") || title.contains("tgp_admission");
            if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed())
                && theirs
            {
                let _ = rustix::process::kill_process(pid, Signal::TERM); // as pg_terminate_backend does
            }
        }
        Ok(())
    }

    fn clock(&mut self, part: &str, offset: &str) -> Result<(), Failure> {
        Ok(fs::write(clock_file(&self.world.stack.layout().root, part), format!("{offset}\n"))?)
    }
}

fn clock_file(root: &Path, part: &str) -> PathBuf {
    root.join(format!("clock/{part}"))
}

/// Token module and clocks, before anything starts.
fn prepare(root: &Path) -> Result<Shim, Failure> {
    fs::create_dir_all(root.join("clock"))?;
    for part in ["gateway", "vault", "postgres"] {
        fs::write(clock_file(root, part), "+0\n")?;
    }
    if !Path::new(FAKETIME).exists() {
        return Err("libfaketime is not installed: apt-get install libfaketime".into());
    }
    Shim::build(root)
}

/// Each part's own clock.
fn with_clocks(root: &Path, mut options: StackOptions) -> StackOptions {
    for (part, name) in [(Part::Gateway, "gateway"), (Part::Vault, "vault"), (Part::Postgres, "postgres")] {
        options = options
            .environment(part, "LD_PRELOAD", PathBuf::from(FAKETIME))
            .environment(part, "FAKETIME_TIMESTAMP_FILE", clock_file(root, name))
            .environment(part, "FAKETIME_CACHE_DURATION", PathBuf::from("1"))
            .environment(part, "FAKETIME_DONT_FAKE_MONOTONIC", PathBuf::from("1"));
    }
    options
}
