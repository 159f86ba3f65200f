//! Secrets and other input: from a file, from standard input (`-`), or typed at a prompt. Never from
//! an argument or the environment, which other processes and shell histories can see.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::CliError;

/// Larger than any secret that an upstream wants.
const LIMIT: u64 = 64 * 1024;

/// Reads a secret; without a source it is asked for, unseen, if somebody is there to type it. The line
/// end that editors and `echo` add is not part of it.
pub fn secret(source: Option<&Path>, prompt: &str) -> Result<Zeroizing<String>, CliError> {
    let text = match source {
        Some(path) => text(path)?,
        None if std::io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password(format!("{prompt}: "));
            Zeroizing::new(typed.map_err(|e| CliError::failed(format!("cannot read {prompt}: {e}")))?)
        }
        None => {
            return Err(CliError::usage(format!("{prompt} is missing, and nobody is there to type it"))
                .hint("name a file that holds it, or `-` for standard input"));
        }
    };
    let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if trimmed.is_empty() {
        return Err(CliError::usage(format!("{prompt} is empty")));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

/// Reads a whole text, `-` being standard input.
pub fn text(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let octets = octets(path, LIMIT)?;
    let text = std::str::from_utf8(&octets).map_err(|_| CliError::usage(format!("{} is not text", path.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads octets, `-` being standard input.
pub fn octets(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut octets = Zeroizing::new(Vec::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut octets)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut octets))
    };
    read.map_err(|e| CliError::usage(format!("cannot read {}: {e}", path.display())))?;
    if octets.len() as u64 > limit {
        return Err(CliError::usage(format!("{} is longer than {limit} bytes", path.display())));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (written, secret_is) in
            [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("s3cret", "s3cret"), (" a b \n\n", " a b \n")]
        {
            std::fs::write(&path, written).unwrap();
            assert_eq!(secret(Some(&path), "the secret").unwrap().as_str(), secret_is);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(secret(Some(&path), "the secret").is_err());
        assert!(secret(Some(&dir.path().join("absent")), "the secret").is_err());
    }
}
