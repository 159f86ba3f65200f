//! Every secret of a deployment in every form that it is known to take, and searches for them: in a process's memory, in
//! files, in text.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

use crate::support::Deployment;
use crate::token_files;
use crate::wire::TestAgent;

/// Whose memory a secret may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// The vault's: the PIN and the keys that it works with.
    Vault,
    /// Nobody's, once the request is over.
    Nowhere,
}

/// One octet string to look for.
pub struct Needle {
    pub what: String,
    pub home: Home,
    finder: Finder<'static>,
    length: usize,
}

/// What to look for.
#[derive(Default)]
pub struct Secrets(pub Vec<Needle>);

impl Secrets {
    /// Halves, since a first octet or two may have been overwritten: raw, as base64, base64url and hexadecimal.
    pub fn add(&mut self, what: &str, home: Home, secret: &[u8]) {
        let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        self.halves(what, home, secret);
        self.halves(&format!("{what}, base64"), home, STANDARD.encode(secret).trim_end_matches('=').as_bytes());
        self.halves(&format!("{what}, base64url"), home, URL_SAFE_NO_PAD.encode(secret).as_bytes());
        self.halves(&format!("{what}, hexadecimal"), home, hex.as_bytes());
    }

    fn halves(&mut self, what: &str, home: Home, octets: &[u8]) {
        assert!(octets.len() >= 16, "{what} is too short to be found only where it is");
        let (first, last) = octets.split_at(octets.len() / 2);
        for (half, octets) in [("first", first), ("last", last)] {
            let finder = Finder::new(octets).into_owned();
            self.0.push(Needle { what: format!("{what} ({half} half)"), home, finder, length: octets.len() });
        }
    }

    /// What every deployment has: PINs, the token's keys, data keys, the tool's credential, the owner's key.
    pub fn of(deployment: &Deployment) -> Self {
        let mut secrets = Self::default();
        let read = |path: &str| std::fs::read_to_string(deployment.path(path)).expect(path).trim().to_owned();
        let pin = read("d/vault/pin");
        secrets.add("PIN", Home::Vault, pin.as_bytes());
        secrets.add("SO PIN", Home::Nowhere, read("d/vault/so-pin").as_bytes());
        let keys = token_files::secret_keys(&deployment.path("d/token"), &pin);
        assert_eq!(keys.len(), 8, "{:?}", keys.keys());
        for (label, key) in &keys {
            secrets.add(&format!("key {label}"), Home::Vault, key);
        }
        let kek = keys.iter().find(|(label, _)| label.starts_with("kek")).expect("a kek").1;
        let wrapped = deployment.sql("postgres", "select encode(wrapped, 'hex') from dek");
        assert!(wrapped.lines().count() >= 2, "data keys");
        for (n, line) in wrapped.lines().enumerate() {
            let octets: Vec<u8> =
                (0..line.len()).step_by(2).map(|i| u8::from_str_radix(&line[i..i + 2], 16).expect("hex")).collect();
            let dek = token_files::open_gcm(kek, &octets[4..]); // after the kek's version
            assert_eq!(dek.len(), 32);
            secrets.add(&format!("data key {n}"), Home::Vault, &dek);
        }
        secrets.add_credential("sample tool's credential", &read("d/sample-tool.secret"));
        secrets.add_pem("owner's key", &read("d/operator/operator.key"));
        secrets
    }

    /// A tool's credential, as bearer.
    pub fn add_credential(&mut self, what: &str, secret: &str) {
        self.add(what, Home::Nowhere, secret.as_bytes());
        self.add(&format!("{what}, as bearer"), Home::Nowhere, format!("Bearer {secret}").as_bytes());
    }

    /// An agent's master key and private keys.
    pub fn add_agent(&mut self, handle: &str, agent: &TestAgent) {
        let mac = agent.master_key.splitn(4, '_').last().expect("its last part");
        self.halves(&format!("{handle}'s master key"), Home::Nowhere, mac.as_bytes());
        let raw = URL_SAFE_NO_PAD.decode(mac).expect("base64url");
        self.add(&format!("{handle}'s master key, raw"), Home::Nowhere, &raw);
        let basic = STANDARD.encode(format!("{}:{}", agent.id, agent.master_key));
        self.halves(&format!("{handle}'s master key, basic"), Home::Nowhere, &basic.as_bytes()[basic.len() - 56..]);
        self.add(&format!("{handle}'s identity key"), Home::Nowhere, agent.identity.dangerous_to_bytes().as_slice());
        let tls = std::fs::read_to_string(&agent.certificate.key).expect("tls.key");
        self.add_pem(&format!("{handle}'s TLS key"), &tls);
    }

    /// The scalar of an EC key in PKCS#8.
    pub fn add_pem(&mut self, what: &str, pem: &str) {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).expect("PEM");
        // RFC 5915: an octet string of 32, after version 1.
        let at = der.windows(5).position(|w| w == [2, 1, 1, 4, 32]).expect("an EC private key") + 5;
        self.add(what, Home::Nowhere, &der[at..at + 32]);
    }

    /// What of it is in `octets`.
    pub fn in_octets<'s>(&'s self, octets: &[u8]) -> Vec<&'s str> {
        self.0.iter().filter(|needle| needle.finder.find(octets).is_some()).map(|needle| needle.what.as_str()).collect()
    }

    /// What of it is in a process's memory, with where. Of what may be there if `may` says so.
    pub fn in_memory(&self, pid: u32, may: impl Fn(Home) -> bool) -> Vec<String> {
        let needles: Vec<_> = self.0.iter().filter(|needle| !may(needle.home)).collect();
        let overlap = needles.iter().map(|needle| needle.length).max().unwrap_or(1);
        let mut found = Vec::new();
        each_region(pid, overlap, |region, octets| {
            for needle in &needles {
                if needle.finder.find(octets).is_some() {
                    found.push(format!("{} in {region}", needle.what));
                }
            }
        });
        found
    }

    /// Files at or below `path` that hold some of it.
    pub fn in_files(&self, path: &Path, mut found: impl FnMut(&Path, &str)) -> usize {
        let (mut open, mut files) = (vec![path.to_owned()], 0);
        while let Some(path) = open.pop() {
            let Ok(about) = std::fs::symlink_metadata(&path) else { continue }; // gone meanwhile
            if about.is_dir() {
                open.extend(std::fs::read_dir(&path).into_iter().flatten().map(|entry| entry.expect("entry").path()));
            } else if about.is_file()
                && let Ok(octets) = std::fs::read(&path)
            {
                files += 1;
                self.in_octets(&octets).into_iter().for_each(|what| found(&path, what));
            }
        }
        files
    }
}

/// Whether `text` is somewhere in a process's memory: a control for the search.
pub fn memory_holds(pid: u32, text: &str) -> bool {
    let (finder, mut found) = (Finder::new(text.as_bytes()), false);
    each_region(pid, text.len(), |_, octets| found |= finder.find(octets).is_some());
    found
}

/// Everything readable, in pieces that overlap.
fn each_region(pid: u32, overlap: usize, mut look: impl FnMut(&str, &[u8])) {
    const PIECE: usize = 4 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("mem");
    let (mut buffer, mut seen) = (vec![0; PIECE + overlap], 0_u64);
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, mode) = (fields.next().expect("a range"), fields.next().expect("a mode"));
        // The kernel's own pages cannot be read this way.
        if !mode.starts_with('r') || line.contains("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').expect("two ends");
        let hex = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, end) = (hex(start), hex(end));
        while at < end {
            let length = usize::try_from(end - at).expect("an address").min(buffer.len());
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { break }; // unmapped meanwhile
            look(line, &buffer[..read]);
            seen += read as u64;
            at += read.min(PIECE) as u64;
            if read == 0 {
                break;
            }
        }
    }
    assert!(seen > 8 << 20, "only {seen} octets of {pid} could be read");
}
