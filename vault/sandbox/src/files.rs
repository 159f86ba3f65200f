//! Landlock: which files remain, which TCP ports may be connected to, and no abstract sockets or signals to
//! other processes.
//!
//! What it does not govern: Unix sockets with a name in the file system (their mode does), files that
//! are open already, UDP.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::Network;

/// Read by libraries that every process here has loaded. No home, no `/etc` as a whole.
pub(crate) const COMMON: &[&str] = &[
    // The dynamic linker: name service modules, and PKCS#11 modules with all that they pull in.
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    // Name resolution.
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    // Trust anchors and OpenSSL's configuration.
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    // Time.
    "/etc/localtime",
    "/usr/share/zoneinfo",
    // How many processors, how much memory.
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    // Tells one run of the machine from the next: the vault's mark of the clock.
    "/proc/sys/kernel/random/boot_id",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/urandom",
    "/dev/random",
];

/// The newest ABI whose rights are decided upon below; older kernels enforce what they know.
const KNOWN: ABI = ABI::V6;

/// What holds, or why nothing does.
pub(crate) fn confine(network: &Network, read: &[PathBuf], write: &[PathBuf]) -> Result<String, String> {
    let (status, landlock) = restrict(network, read, write).map_err(|e| format!("landlock: {e}"))?;
    match (status, landlock) {
        (RulesetStatus::FullyEnforced, _) => Ok("landlock".to_owned()),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
            Err(format!("landlock: this kernel knows a part of it only ({effective_abi:?})"))
        }
        (_, LandlockStatus::NotEnabled) => Err("landlock: not enabled in this kernel".to_owned()),
        _ => Err("landlock: not in this kernel".to_owned()),
    }
}

fn restrict(
    network: &Network,
    read: &[PathBuf],
    write: &[PathBuf],
) -> Result<(RulesetStatus, LandlockStatus), RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        // No rule allows it: what listens is bound before.
        .handle_access(AccessNet::BindTcp)?;
    let ports = match network {
        Network::None => Some(&[][..]),
        Network::Connect(ports) if ports.is_empty() => None,
        Network::Connect(ports) => Some(&ports[..]),
    };
    if ports.is_some() {
        rules = rules.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut created = rules.scope(Scope::from_all(KNOWN))?.create()?;
    for port in ports.unwrap_or_default() {
        created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for path in read {
        created = allow(created, path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    for path in write {
        created = allow(created, path, writing())?;
    }
    let restriction = created.restrict_self()?;
    Ok((restriction.ruleset, restriction.landlock))
}

/// To keep files and sockets in a directory. Nothing there is executed, and no devices are made.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
}

fn allow(created: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    // What is not there needs no permission; what comes there later gets none.
    let Ok(parent) = PathFd::new(path) else { return Ok(created) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    created.add_rule(PathBeneath::new(parent, access))
}
