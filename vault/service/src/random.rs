//! Random octets of the kernel.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fresh octets; waits for the kernel's generator to be seeded.
pub(crate) fn octets<const N: usize>() -> io::Result<[u8; N]> {
    let mut out = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut out[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(out)
}
