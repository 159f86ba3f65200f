//! Content against `Content-Digest`, RFC 9530: at once or while it streams.

use std::convert::Infallible;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};
use sha2::{Digest as _, Sha256, Sha512};

use super::base::Covered;
use super::form::combined;
use super::verified::{VerifiedHead, VerifiedRequest};
use crate::refusal::Refusal;

pub(super) const CONTENT_DIGEST: &str = "content-digest";

/// What the head of a request promises about its content.
#[derive(Debug)]
pub(super) struct Content {
    digest: Option<Digests>,
    has_type: bool,
    covers_digest: bool,
    covers_type: bool,
}

/// The digests to match; every one that is present must.
#[derive(Debug, Default)]
struct Digests {
    sha256: Vec<Vec<u8>>,
    sha512: Vec<Vec<u8>>,
    malformed: bool,
}

impl Content {
    pub fn of(headers: &HeaderMap, covered: Covered) -> Self {
        let digest = match combined(headers, CONTENT_DIGEST) {
            Ok(None) => None,
            Ok(Some(field)) => Some(Digests::parse(&field)),
            Err(_) => Some(Digests { malformed: true, ..Digests::default() }),
        };
        Self {
            digest,
            has_type: headers.get(CONTENT_TYPE).is_some_and(|value| !value.is_empty()),
            covers_digest: covered.content_digest,
            covers_type: covered.content_type,
        }
    }

    /// Whether a digest of something stands in the head: then the content decides, and must be known.
    pub fn is_promised(&self) -> bool {
        let Some(Digests { sha256, sha512, malformed }) = &self.digest else { return false };
        let nothing = sha256.iter().all(|it| it[..] == Sha256::digest(b"")[..])
            && sha512.iter().all(|it| it[..] == Sha512::digest(b"")[..]);
        !nothing && !malformed
    }

    /// The one SHA-256 of the head, if the signature covers it.
    pub fn signed_sha256(&self) -> Option<[u8; 32]> {
        let digest = self.digest.as_ref().filter(|digest| self.covers_digest && !digest.malformed)?;
        match digest.sha256.as_slice() {
            [one] => one.as_slice().try_into().ok(),
            _ => None,
        }
    }

    /// The digests that somebody else computed over the content, against those in the head.
    pub fn check_digests(&self, received: &str) -> Result<(), Refusal> {
        let Digests { sha256, sha512, malformed } = Digests::parse(received);
        if malformed || sha256.len() > 1 || sha512.len() > 1 || sha256.len() + sha512.len() == 0 {
            return Err(Refusal::malformed(
                "the received content's digest is a Content-Digest with sha-256 or sha-512",
            ));
        }
        self.check_head()?;
        let Some(signed) = &self.digest else { return Err(Refusal::digest("content came without content-digest")) };
        if signed.malformed {
            return Err(Refusal::digest("content-digest is malformed"));
        }
        for (signed, received, name) in [(&signed.sha256, sha256, "sha-256"), (&signed.sha512, sha512, "sha-512")] {
            match received.first() {
                None if !signed.is_empty() => {
                    return Err(Refusal::digest(format!(
                        "the request has {name}, the received content's digest has not"
                    )));
                }
                Some(received) if signed.iter().any(|signed| signed != received) => {
                    return Err(Refusal::digest("content-digest does not match the content"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What must hold as soon as the content is known not to be empty.
    fn check_head(&self) -> Result<(), Refusal> {
        let Self { digest, has_type, covers_digest, covers_type } = self;
        if !has_type {
            return Err(Refusal::malformed("content came without content-type"));
        }
        match digest {
            None => return Err(Refusal::digest("content came without content-digest")),
            Some(digests) if digests.is_empty() => {
                return Err(Refusal::digest("content-digest has neither sha-256 nor sha-512"));
            }
            Some(_) => {}
        }
        for (covered, name) in [(covers_digest, CONTENT_DIGEST), (covers_type, "content-type")] {
            if !covered {
                return Err(Refusal::signature(format!("the signature does not cover {name}")));
            }
        }
        Ok(())
    }
}

impl Digests {
    /// RFC 9651 lets the last of two equal keys win; here both must match.
    fn parse(field: &str) -> Self {
        let mut digests = Self::default();
        if Parser::new(field).parse_dictionary_with_visitor(&mut digests).is_err() {
            digests.malformed = true;
        }
        digests
    }

    fn is_empty(&self) -> bool {
        self.sha256.is_empty() && self.sha512.is_empty() && !self.malformed
    }
}

impl<'de> DictionaryVisitor<'de> for Digests {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let malformed = &mut self.malformed;
        Ok(match key.as_str() {
            "sha-256" => Some(Entry { values: &mut self.sha256, malformed }),
            "sha-512" => Some(Entry { values: &mut self.sha512, malformed }),
            _ => None,
        })
    }
}

struct Entry<'v> {
    values: &'v mut Vec<Vec<u8>>,
    malformed: &'v mut bool,
}

impl<'de> ItemVisitor<'de> for Entry<'_> {
    type Error = Infallible;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de>, Infallible> {
        match item {
            BareItemFromInput::ByteSequence(bytes) => self.values.push(bytes),
            _ => *self.malformed = true,
        }
        Ok(Ignored)
    }
}

impl<'de> EntryVisitor<'de> for Entry<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        *self.malformed = true;
        Ok(Ignored)
    }
}

/// Content as it passes by. Nothing may be believed before [`finish`](Self::finish).
pub struct ContentCheck {
    head: VerifiedHead,
    seen: bool,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl ContentCheck {
    pub(super) fn new(head: VerifiedHead) -> Self {
        let digest = head.content().digest.as_ref();
        let sha256 = digest.is_some_and(|it| !it.sha256.is_empty()).then(Sha256::new);
        let sha512 = digest.is_some_and(|it| !it.sha512.is_empty()).then(Sha512::new);
        Self { head, seen: false, sha256, sha512 }
    }

    /// Whose content it is.
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// The next part of the content. The first octet is refused when the head does not allow content.
    pub fn update(&mut self, part: &[u8]) -> Result<(), Refusal> {
        if part.is_empty() {
            return Ok(());
        }
        if !self.seen {
            self.head.content().check_head()?;
            self.seen = true;
        }
        if let Some(hash) = &mut self.sha256 {
            hash.update(part);
        }
        if let Some(hash) = &mut self.sha512 {
            hash.update(part);
        }
        Ok(())
    }

    /// The end of the content: every digest matches, or the request is refused. A digest that was
    /// sent with empty content must match that too.
    pub fn finish(self) -> Result<VerifiedRequest, Refusal> {
        let Self { head, seen: _, sha256, sha512 } = self;
        if let Some(digests) = &head.content().digest {
            if digests.malformed {
                return Err(Refusal::digest("content-digest is malformed"));
            }
            let matches = |values: &[Vec<u8>], computed: Option<&[u8]>| {
                values.iter().all(|value| computed.is_some_and(|it| it == value))
            };
            let sha256 = sha256.map(Sha256::finalize);
            let sha512 = sha512.map(Sha512::finalize);
            if !matches(&digests.sha256, sha256.as_ref().map(|it| it.as_slice()))
                || !matches(&digests.sha512, sha512.as_ref().map(|it| it.as_slice()))
            {
                return Err(Refusal::digest("content-digest does not match the content"));
            }
        }
        Ok(VerifiedRequest::new(head))
    }
}
