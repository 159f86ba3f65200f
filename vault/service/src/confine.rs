//! What the vault keeps of the machine while it serves: its state, its socket's directory, its token.

use std::path::{Path, PathBuf};

use tgp_sandbox::{Mode, Network, Sandbox};
use tgp_token::{TokenConfig, softhsm};

/// How the vault is confined.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// How much must hold.
    pub mode: Mode,
    /// The HSM is reached by TCP or UDP; without it the vault has no network at all.
    pub hsm_network: bool,
    /// Further files and directories that the token's module reads.
    pub read: Vec<PathBuf>,
    /// Further directories that it changes.
    pub write: Vec<PathBuf>,
}

/// The sandbox of a vault on this token, state file and socket. The PIN's file is not in it: it was read
/// before.
pub fn sandbox(confinement: &Confinement, token: &TokenConfig, state: &Path, socket: &Path) -> Sandbox {
    let Confinement { mode, hsm_network, read, write } = confinement;
    let network = if *hsm_network { Network::Connect(Vec::new()) } else { Network::None };
    let mut sandbox = Sandbox::new(*mode, network).read(&token.module);
    if let Some(files) = softhsm::files(&token.module) {
        sandbox = sandbox.read(files.conf);
        sandbox = files.tokens.into_iter().fold(sandbox, Sandbox::write);
    }
    for file in [state, socket, &token.start_lock] {
        sandbox = sandbox.write(directory(file));
    }
    let sandbox = read.iter().fold(sandbox, Sandbox::read);
    write.iter().fold(sandbox, Sandbox::write)
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
