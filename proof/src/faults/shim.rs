//! The token module that can be slowed and hung: `token_shim.c`, built with the machine's C compiler.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tgp::dev::{Part, StackOptions};
use tgp_token::softhsm;

use crate::Failure;

const SOURCE: &str = include_str!("token_shim.c");

/// The built module and the file that steers it.
pub struct Shim {
    module: PathBuf,
    control: PathBuf,
    real: PathBuf,
}

impl Shim {
    /// Builds it below `directory` under a name by which it is taken for SoftHSM; the vault's user must be able to reach it.
    pub fn build(directory: &Path) -> Result<Self, Failure> {
        let (source, module) = (directory.join("token_shim.c"), directory.join("libsofthsm2-shim.so"));
        fs::write(&source, SOURCE)?;
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&module)
            .arg(&source)
            .arg("-ldl")
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let control = directory.join("token_shim.control");
        fs::write(&control, [0; 24])?;
        // Whoever the vault runs as maps it.
        fs::set_permissions(&control, fs::Permissions::from_mode(0o666))?;
        let real = softhsm::module().ok_or("SoftHSM is not installed")?;
        Ok(Self { module, control, real })
    }

    /// The sandbox lets the vault at it; `more` is what any part may read besides.
    pub fn use_in(&self, options: StackOptions, more: &[PathBuf]) -> StackOptions {
        let quoted = |paths: &[PathBuf]| -> String {
            paths.iter().map(|path| format!("\"{}\"", path.display())).collect::<Vec<_>>().join(", ")
        };
        let read = quoted(&[more, &[self.module.clone(), self.real.clone()]].concat());
        let write = quoted(std::slice::from_ref(&self.control));
        options
            .config(&format!("\n[sandbox]\nread = [{read}]\nvault_write = [{write}]\n"))
            .module(self.module.clone())
            .environment(Part::Vault, "TGP_SHIM_MODULE", self.real.clone())
            .environment(Part::Vault, "TGP_SHIM_CONTROL", self.control.clone())
    }

    /// Each signature takes `us` longer from now on.
    pub fn slow(&self, us: u64) -> Result<(), Failure> {
        self.set(0, us)
    }

    /// TLS signatures wait, or no longer.
    pub fn hang_tls(&self, hang: bool) -> Result<(), Failure> {
        self.set(1, hang.into())
    }

    /// Logins of all vaults so far.
    pub fn logins(&self) -> Result<u64, Failure> {
        let mut octets = [0; 8];
        File::open(&self.control)?.read_exact_at(&mut octets, 16)?;
        Ok(u64::from_ne_bytes(octets))
    }

    fn set(&self, place: u64, value: u64) -> Result<(), Failure> {
        let file = File::options().write(true).open(&self.control)?;
        Ok(file.write_all_at(&value.to_ne_bytes(), place * 8)?)
    }
}
