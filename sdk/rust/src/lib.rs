//! The agent's side of TGP: enrol, take tokens, sign and make calls.
//!
//! [`enrol()`] turns an enrolment code into an [`AgentDir`]: both key pairs, the certificate chain and
//! the master key, in one directory that nobody else can read. [`Agent`] works from such a directory:
//! it takes tokens and keeps them in memory until they near their end, signs each request over
//! exactly the bytes that it sends, streams the reply, and renews its certificate by itself.
//!
//! It never follows a redirect (the URL that is called is the URL that was signed), never sends the
//! master key anywhere but to the token endpoint, and writes no token to disk.

mod agent;
mod catalogue;
mod certificate;
mod dir;
mod enrol;
mod error;
mod file;
mod keys;
mod origin;
mod reply;
mod request;
mod token;
mod transport;
mod trust;

pub use agent::Agent;
pub use catalogue::{Action, Page, Tool};
pub use certificate::{Leaf, spki_sha256_of_pem};
pub use dir::{AgentDir, AgentFile};
pub use enrol::{Enrolled, Enrolment, ShowMasterKey, enrol};
pub use error::{ClientError, Problem};
pub use file::{check_private, create_private_dir, replace_private, write_private};
pub use keys::TlsKey;
pub use origin::Origin;
pub use reply::Reply;
pub use request::{Request, escape};
pub use token::{Token, Wanted};
pub use transport::{ClientIdentity, Transport};
pub use trust::{Pin, Trust};

/// Seconds since the epoch, read from the machine. Everything else takes the time as an argument.
#[expect(clippy::disallowed_methods, reason = "the client's one edge: a signature carries the agent's own clock")]
pub fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// `N` octets from the TLS provider's random number generator.
pub fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut octets = [0; N];
    let fill = trust::provider().secure_random.fill(&mut octets);
    fill.map_err(|_| ClientError::Bug("the system has no random numbers".into()))?;
    Ok(octets)
}
