//! The chain of types that a signed request goes through.

use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::Tag;
use super::base::{self, Message};
use super::content::{Content, ContentCheck};
use super::form::{self, Fields, Parameters};
use crate::jwk::{IdentityKey, KeyError};
use crate::refusal::{Code, Refusal};
use crate::target::{self, EscapedSlash, Target};
use crate::token::VerifiedToken;

/// What a signature says, apart from being one.
#[derive(Debug)]
struct Signed {
    method: String,
    target_uri: String,
    parameters: Parameters,
    nonce_digest: [u8; 32],
    content: Content,
}

macro_rules! signed_accessors {
    () => {
        pub fn method(&self) -> &str {
            &self.signed.method
        }

        /// The target URI that was signed.
        pub fn target_uri(&self) -> &str {
            &self.signed.target_uri
        }

        pub fn keyid(&self) -> &str {
            &self.signed.parameters.keyid
        }

        pub fn nonce(&self) -> &str {
            &self.signed.parameters.nonce
        }

        /// SHA-256 of the nonce's text: with the keyid, what replay memory is keyed on.
        pub fn nonce_digest(&self) -> [u8; 32] {
            self.signed.nonce_digest
        }

        /// Unix seconds.
        pub fn created(&self) -> i64 {
            self.signed.parameters.created
        }

        /// Unix seconds.
        pub fn expires(&self) -> i64 {
            self.signed.parameters.expires
        }
    };
}

/// A request whose form and window are right. Nothing in it may be believed yet.
pub struct UnverifiedRequest {
    signed: Signed,
    base: String,
    signature: [u8; 64],
    bearer: Option<Bearer>,
    now: i64,
}

struct Bearer {
    token: String,
    hash: [u8; 32],
}

/// Without the base, which repeats the access token.
impl std::fmt::Debug for UnverifiedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnverifiedRequest")
            .field("signed", &self.signed)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl UnverifiedRequest {
    /// Checks form and window. `target_uri` is built from configuration and the received path and
    /// query, never from `Host`; `now` is Unix seconds.
    pub fn parse(method: &str, target_uri: &str, headers: &HeaderMap, tag: Tag, now: i64) -> Result<Self, Refusal> {
        Self::parse_with(method, target_uri, headers, tag, now, EscapedSlash::Refused)
    }

    /// As [`parse`](Self::parse), where the action's template may take an escaped slash.
    pub fn parse_with(
        method: &str,
        target_uri: &str,
        headers: &HeaderMap,
        tag: Tag,
        now: i64,
        slash: EscapedSlash,
    ) -> Result<Self, Refusal> {
        form::check_fields(headers)?;
        let target = Target::split(target_uri)?;
        target::canonical_with(target.path_and_query, slash)?;
        let bearer = match tag {
            Tag::Request => {
                let token = form::bearer(headers)?;
                Some(Bearer { token: token.to_owned(), hash: Sha256::digest(token.as_bytes()).into() })
            }
            _ => None,
        };
        let fields = Fields::of(headers)?;
        let (input, signature) = fields.find(tag)?;
        let parameters = Parameters::check(&input.parameters)?;
        let message = Message { method, target_uri, target, headers };
        let (base, covered) = base::build(&message, &input)?;
        covered.check(tag)?;
        parameters.check_window(now)?;

        let nonce_digest = Sha256::digest(parameters.nonce.as_bytes()).into();
        let content = Content::of(headers, covered);
        let (method, target_uri) = (method.to_owned(), target_uri.to_owned());
        let signed = Signed { method, target_uri, parameters, nonce_digest, content };
        Ok(Self { signed, base, signature, bearer, now })
    }

    signed_accessors!();

    /// The access token as presented; empty for tags that go without one.
    pub fn bearer(&self) -> &str {
        self.bearer.as_ref().map_or("", |bearer| &bearer.token)
    }

    /// SHA-256 of [`bearer`](Self::bearer): look a verified token up by it, and no other will do for
    /// [`verify`](Self::verify).
    pub fn bearer_hash(&self) -> Option<&[u8; 32]> {
        self.bearer.as_ref().map(|bearer| &bearer.hash)
    }

    /// What the signature is computed over.
    pub fn signature_base(&self) -> &str {
        &self.base
    }

    /// Checks that this very token was presented and is inside its time, that the signature is by
    /// its key, and that the target is within its audience.
    pub fn verify(self, token: &VerifiedToken) -> Result<VerifiedHead, Refusal> {
        if self.bearer_hash() != Some(token.hash()) {
            return Err(Refusal::new(Code::TokenInvalid, "the token is not the one that was verified"));
        }
        token.check_time(self.now)?;
        let aud = &token.claims().aud;
        if self.keyid() != token.keyid() {
            return Err(Refusal::signature("keyid is not the thumbprint of the token's cnf.jwk"));
        }
        let head = self.verify_with_key(token.key())?;
        if !target::within(aud, head.target_uri()) {
            return Err(Refusal::new(Code::ScopeInsufficient, format!("the token is for {aud}")));
        }
        Ok(head)
    }

    /// Checks that the signature is by this key: for enrolment's tags, which go without a token.
    pub fn verify_with_key(self, key: &IdentityKey) -> Result<VerifiedHead, Refusal> {
        if self.keyid() != key.keyid() {
            return Err(Refusal::signature("keyid is not the thumbprint of the key"));
        }
        key.verify(self.base.as_bytes(), &self.signature).map_err(|error| match error {
            KeyError::SignatureRange => Refusal::signature("r or s is out of range"),
            _ => Refusal::signature("the signature does not verify"),
        })?;
        Ok(VerifiedHead { signed: self.signed })
    }
}

/// A request whose head is genuine. Its content is not known yet, or judged elsewhere.
#[derive(Debug)]
pub struct VerifiedHead {
    signed: Signed,
}

impl VerifiedHead {
    signed_accessors!();

    pub(super) fn content(&self) -> &Content {
        &self.signed.content
    }

    /// Checks the whole content: after transfer decoding, before content decoding.
    pub fn body(self, content: &[u8]) -> Result<VerifiedRequest, Refusal> {
        let mut check = self.content_check();
        check.update(content)?;
        check.finish()
    }

    /// Checks content that somebody else received, by the digests that he computed over it: a `Content-Digest` field
    /// value. It must have every algorithm that the request has.
    pub fn digested(self, received: &str) -> Result<VerifiedRequest, Refusal> {
        self.content().check_digests(received)?;
        Ok(VerifiedRequest::new(self))
    }

    /// Whether the head has a digest of content that is not empty: whoever has no content at hand cannot judge it.
    pub fn promises_content(&self) -> bool {
        self.content().is_promised()
    }

    /// What the content's SHA-256 must be, where a `Content-Digest` that was signed says so in one way.
    pub fn signed_sha256(&self) -> Option<[u8; 32]> {
        self.content().signed_sha256()
    }

    /// Checks content that is too long to hold.
    pub fn content_check(self) -> ContentCheck {
        ContentCheck::new(self)
    }
}

/// A genuine request, content and all. Only what was signed may be decided on.
#[derive(Debug)]
pub struct VerifiedRequest {
    head: VerifiedHead,
}

impl VerifiedRequest {
    pub(super) fn new(head: VerifiedHead) -> Self {
        Self { head }
    }

    /// What was signed, apart from the content.
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// The target URI that was signed.
    pub fn target_uri(&self) -> &str {
        self.head.target_uri()
    }

    pub fn keyid(&self) -> &str {
        self.head.keyid()
    }

    pub fn nonce(&self) -> &str {
        self.head.nonce()
    }

    /// SHA-256 of the nonce's text: with the keyid, what replay memory is keyed on.
    pub fn nonce_digest(&self) -> [u8; 32] {
        self.head.nonce_digest()
    }

    /// Unix seconds.
    pub fn created(&self) -> i64 {
        self.head.created()
    }

    /// Unix seconds.
    pub fn expires(&self) -> i64 {
        self.head.expires()
    }
}
