//! Vault and gateway confine themselves: what they gave up cannot be had, and nobody looks into them.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;
use tgp::dev::Process;
use tgp_sandbox::probe::killing_calls;

use crate::support::{Deployment, Setup, TGP};

const SIGSYS: i32 = 31;
const EPERM: i64 = 1;
const EACCES: i64 = 13;
const ENOSYS: i64 = 38;

#[test]
fn every_thread_of_both_processes_is_confined_and_health_says_so() {
    let apart = rustix::process::geteuid().is_root();
    let mut deployment = Deployment::with(Setup { apart, ..Setup::default() });
    for pid in [deployment.stack.gateway().id(), deployment.stack.vault().id()] {
        let mut threads = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads") {
            let status = std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status");
            let of = |name: &str| -> String {
                let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
            };
            assert_eq!((of("NoNewPrivs").as_str(), of("Seccomp").as_str()), ("1", "2"), "{status}");
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(of(set), "0000000000000000", "{set}");
            }
            // Only a privileged starter can empty this one; without new privileges it gives nothing.
            if apart {
                assert_eq!(of("CapBnd"), "0000000000000000");
            }
            threads += 1;
        }
        assert!(threads > 1, "both have threads beside the first");
    }
    let health = Command::new("curl")
        .args(["-s", &format!("http://127.0.0.1:{}/health/ready", deployment.stack.ports().health)])
        .output()
        .expect("curl");
    let health: Value = serde_json::from_slice(&health.stdout).expect("JSON");
    for part in ["gateway", "vault"] {
        assert_eq!(health["sandbox"][part], "no capabilities, landlock, seccomp", "{health}");
    }
}

/// How an attempt is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Errno(i64),
    Killed,
}
use End::{Done, Errno, Killed};

/// A configuration beside the deployment's, which ends as told.
fn configuration(deployment: &Deployment, name: &str, sandbox: &str) -> PathBuf {
    let text = std::fs::read_to_string(deployment.path("d/tgp.toml")).expect("tgp.toml");
    let path = deployment.path(&format!("d/{name}.toml"));
    std::fs::write(&path, format!("{text}\n[sandbox]\n{sandbox}\n")).expect("written");
    path
}

fn probe(deployment: &Deployment, config: &Path, part: &str, attempt: &str) -> End {
    let mut command = Command::new(TGP);
    command.env("SOFTHSM2_CONF", deployment.path("d/softhsm2.conf"));
    command.args(["sandbox-probe", "--as", part, "--config"]).arg(config).arg(attempt);
    ended(&command.stdin(Stdio::null()).output().expect("runs"), attempt)
}

fn ended(output: &Output, attempt: &str) -> End {
    if output.status.signal() == Some(SIGSYS) {
        return Killed;
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let last: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{attempt}: {e}: {said} {}", String::from_utf8_lossy(&output.stderr)));
    match (last["result"].as_str(), last["errno"].as_i64()) {
        (Some("ok"), _) => Done,
        (_, Some(errno)) => Errno(errno),
        _ => panic!("{attempt}: {last}"),
    }
}

#[test]
fn what_a_sandbox_forbids_fails_and_what_it_needs_works() {
    use std::os::linux::net::SocketAddrExt as _;
    let deployment = Deployment::start();
    let ports = deployment.stack.ports();
    let config = configuration(&deployment, "probe", &format!("connect_ports = [{}]", ports.tool));
    let open = configuration(&deployment, "open", "mode = \"off\"");
    let name = format!("tgp-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).expect("listens");
    let at = |path: &str| deployment.path(path).display().to_string();
    let (outside, tool, other) = (at("outside"), ports.tool, ports.health);
    let vault_socket = at("d/run/vault.sock");
    // part, attempt, its end in the sandbox, whether it works outside of it
    let table: Vec<(&str, String, End, bool)> = vec![
        // Files.
        ("gateway", "read:/etc/shadow".into(), Errno(EACCES), true),
        ("gateway", "read:/etc/passwd".into(), Errno(EACCES), true),
        ("gateway", format!("read:{}", at("d/vault/pin")), Errno(EACCES), true),
        ("gateway", format!("read:{}", at("d/tgp.toml")), Errno(EACCES), true),
        ("gateway", "read:/etc/ssl/certs/ca-certificates.crt".into(), Done, true),
        ("gateway", "read:/etc/resolv.conf".into(), Done, true),
        ("gateway", format!("write:{outside}"), Errno(EACCES), true),
        ("gateway", format!("write:{}", at("d/gateway/file")), Errno(EACCES), true),
        ("vault", "read:/etc/shadow".into(), Errno(EACCES), true),
        ("vault", format!("read:{}", at("d/sample-tool.secret")), Errno(EACCES), true),
        ("vault", format!("read:{}", at("d/tgp.toml")), Errno(EACCES), true),
        ("vault", format!("write:{outside}"), Errno(EACCES), true),
        ("vault", format!("write:{}", at("d/vault/file")), Done, true),
        ("vault", format!("write:{}", at("d/run/file")), Done, true),
        ("vault", format!("write:{}", at("d/token/file")), Done, true),
        // Networks.
        ("gateway", format!("connect:127.0.0.1:{tool}"), Done, true),
        ("gateway", format!("connect:127.0.0.1:{other}"), Errno(EACCES), true),
        ("gateway", "bind:127.0.0.1:0".into(), Errno(EACCES), true),
        ("gateway", "udp:127.0.0.1:0".into(), Done, true), // name resolution
        ("gateway", format!("unix:{vault_socket}"), Done, true),
        ("gateway", format!("abstract:{name}"), Errno(EPERM), true),
        ("gateway", "socket:16".into(), Errno(EPERM), false), // netlink
        ("gateway", "socket:17".into(), Errno(EPERM), false), // packets
        ("gateway", "socket:38".into(), Errno(EPERM), false), // the kernel's cryptography
        ("vault", format!("connect:127.0.0.1:{tool}"), Errno(EPERM), true),
        ("vault", "bind:127.0.0.1:0".into(), Errno(EPERM), true),
        ("vault", "udp:127.0.0.1:0".into(), Errno(EPERM), true),
        ("vault", "udp:[::1]:0".into(), Errno(EPERM), true),
        ("vault", format!("abstract:{name}"), Errno(EPERM), true),
        // Processes.
        ("gateway", "exec:/bin/true".into(), Killed, false),
        ("vault", "exec:/bin/true".into(), Killed, false),
        ("gateway", "spawn:/bin/true".into(), Errno(EPERM), true),
        ("vault", "spawn:/bin/true".into(), Errno(EPERM), true),
        ("gateway", "thread:".into(), Done, true),
        ("vault", "thread:".into(), Done, true),
        ("gateway", format!("signal:{}", std::process::id()), Errno(ENOSYS), true),
        ("vault", format!("signal:{}", std::process::id()), Errno(ENOSYS), true),
        // Its own protection.
        ("gateway", "executable:".into(), Errno(EPERM), true),
        ("vault", "executable:".into(), Errno(EPERM), true),
        ("gateway", "dumpable:".into(), Errno(EPERM), true),
        ("vault", "dumpable:".into(), Errno(EPERM), true),
    ];
    for (part, attempt, end, works_outside) in &table {
        assert_eq!(probe(&deployment, &config, part, attempt), *end, "{part}: {attempt}");
        if *works_outside {
            assert_eq!(probe(&deployment, &open, part, attempt), Done, "{part}, not confined: {attempt}");
        }
    }
    for call in killing_calls() {
        assert_eq!(probe(&deployment, &config, "gateway", &format!("syscall:{call}")), Killed, "{call}");
    }
}

/// Runs a program on a kernel that says it has no landlock.
const NO_LANDLOCK: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn without_landlock_the_rest_holds_and_where_it_is_required_nothing_starts() {
    let deployment = Deployment::start();
    let run = |sandbox: &str, part: &str, attempt: &str| {
        let config = configuration(&deployment, "old", sandbox);
        let mut command = Command::new("python3");
        command.env("SOFTHSM2_CONF", deployment.path("d/softhsm2.conf"));
        command.args(["-c", NO_LANDLOCK, TGP, "sandbox-probe", "--as", part, "--config"]).arg(config).arg(attempt);
        command.stdin(Stdio::null()).output().expect("python3")
    };
    for part in ["gateway", "vault"] {
        let output = run("mode = \"on\"", part, "exec:/bin/true");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("landlock: not in this kernel") && said.contains("seccomp"), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("the sandbox is not whole"), "{output:?}");
        assert_eq!(ended(&output, part), Killed, "seccomp holds alone");
        let refused = run("mode = \"required\"", part, "thread:");
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(why.contains("the sandbox is required and not whole: landlock"), "{why}");
    }
}

/// Tries to read another process's memory, and to attach to it.
const LOOK_INTO: &str = r#"
import ctypes, os, sys
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
try:
    start = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
    memory = open(f"/proc/{pid}/mem", "rb")
    memory.seek(start)
    print("read", len(memory.read(16)))
except OSError as e:
    print("read", e.errno)
attached = libc.ptrace(16, pid, None, None)
print("attach", 0 if attached == 0 else ctypes.get_errno())
if attached == 0:
    os.waitpid(pid, 0x40000000)
    libc.ptrace(17, pid, None, None)
"#;

fn look_into(pid: u32, uid: Option<u32>) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", LOOK_INTO, &pid.to_string()]).current_dir("/");
    if let Some(uid) = uid {
        python.uid(uid).gid(uid);
    }
    let output = python.output().expect("python3");
    String::from_utf8_lossy(&output.stdout).replace('\n', " ").trim().to_owned()
}

fn sleeper(uid: Option<u32>, directory: &Path) -> Child {
    let mut command = Command::new("sleep");
    command.arg("600").current_dir(directory);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    command.spawn().expect("sleep")
}

fn uid_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("Uid");
    line.split_whitespace().next().expect("a uid").parse().expect("a number")
}

#[test]
fn neither_process_is_traced_by_its_own_user_or_another() {
    let root = rustix::process::geteuid().is_root();
    let mut deployment = Deployment::with(Setup { apart: root, ..Setup::default() });
    let directory = deployment.path("");
    let pids = [deployment.stack.gateway().id(), deployment.stack.vault().id()];
    for pid in pids {
        let own = uid_of(pid);
        let as_own = root.then_some(own);
        // The control: the same user looks into another of its processes.
        let mut sleeper = sleeper(as_own, &directory);
        assert_eq!(look_into(sleeper.id(), as_own), "read 16 attach 0", "a process that does not mind");
        sleeper.kill().expect("killed");
        sleeper.wait().expect("ended");
        assert_eq!(look_into(pid, as_own), "read 13 attach 1", "as its own user");
        if root {
            for other in [65534, pids.map(uid_of).into_iter().find(|uid| *uid != own).expect("two users")] {
                assert_eq!(look_into(pid, Some(other)), "read 13 attach 1", "as user {other}");
            }
        }
    }
}

/// Until it has ended: the first SIGSEGV only ends Rust's own look at it.
fn crash(process: &mut Process, signal: Signal) {
    while process.check().is_ok() {
        process.signal(signal);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_process_that_crashes_leaves_no_core_file() {
    // Ours, and so theirs until they say otherwise.
    let limit = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("core files are allowed");
    for signal in [Signal::SEGV, Signal::ABORT] {
        let mut deployment = Deployment::start();
        let mut sleeper = sleeper(None, &deployment.path(""));
        let pid = rustix::process::Pid::from_child(&sleeper);
        rustix::process::kill_process(pid, signal).expect("signalled");
        assert!(sleeper.wait().expect("ended").core_dumped(), "core files are written here");
        crash(deployment.stack.gateway(), signal);
        let ended = deployment.stack.gateway().wait().expect("ended");
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(signal.as_raw()), false), "the gateway");
        crash(deployment.stack.vault(), signal);
        let ended = deployment.stack.vault().wait().expect("ended");
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(signal.as_raw()), false), "the vault");
    }
}

/// A token locks itself after a few wrong PINs: the status that the vault ends with is the one that its unit names as no
/// reason to start it again.
#[test]
fn a_vault_whose_pin_is_refused_asks_once_and_is_not_started_again() {
    let mut deployment = Deployment::start();
    let pin = deployment.path("d/vault/pin");
    let right = std::fs::read(&pin).expect("the PIN");
    deployment.stack.vault().stop();
    std::fs::write(&pin, "0000-0000").expect("written");
    let ended = Command::new(TGP)
        .args(["vault", "--config"])
        .arg(deployment.path("d/tgp.toml"))
        .env("SOFTHSM2_CONF", deployment.path("d/softhsm2.conf"))
        .output()
        .expect("a vault");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("refused the pin") && !said.contains("0000-0000"), "{said}");
    let status = ended.status.code().expect("it ended by itself");
    let unit =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/tgp-vault.service")).expect("unit");
    assert!(unit.contains(&format!("RestartPreventExitStatus={status}\n")), "it ended with {status}");
    assert_ne!(status, 1, "other failures are another matter");
    std::fs::write(&pin, right).expect("written");
    deployment.stack.restart_vault().expect("the right PIN is enough");
}

/// The rating is written to `target/units.txt`, from where docs/RESULTS.md has it.
#[test]
fn systemd_rates_both_units_below_two() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut ratings = String::new();
    for unit in ["tgp-vault.service", "tgp-gateway.service"] {
        let text = std::fs::read_to_string(format!("{}/systemd/{unit}", env!("CARGO_MANIFEST_DIR"))).expect(unit);
        // Not installed here: a unit whose program is missing is not verified further.
        let path = directory.path().join(unit);
        std::fs::write(&path, text.replace("/usr/bin/tgp", "/usr/bin/true")).expect("written");
    }
    for unit in ["tgp-vault.service", "tgp-gateway.service"] {
        let path = directory.path().join(unit);
        let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&path).output().expect("systemd");
        let verified = analyze(&["verify", "--man=no"]);
        let said = String::from_utf8_lossy(&verified.stderr);
        // It verifies the machine's other units too.
        assert!(verified.status.success() && !said.contains("tgp-"), "{said}");
        let rated = analyze(&["security", "--offline=true", "--threshold=19", "--no-pager"]);
        let said = String::from_utf8_lossy(&rated.stdout);
        let rating = said.lines().find(|line| line.contains("Overall exposure level")).expect("a rating");
        assert!(rated.status.success(), "{said}");
        ratings.push_str(rating.trim_start_matches(|c: char| !c.is_ascii()).trim());
        ratings.push('\n');
    }
    std::fs::write(format!("{}/target/units.txt", env!("CARGO_MANIFEST_DIR")), ratings).expect("written");
}
