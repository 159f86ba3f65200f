//! A tool's credential on its way from the vault into one upstream request. It can be had only for a
//! permit that is recorded, cannot be printed, copied or serialised, and goes only to an origin that a
//! granter signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tgp_policy::Permit;
use tgp_vault_client::wire::{Placement, Release, Released, RequestEnvelope, WireSecret};
use zeroize::Zeroizing;

use super::headers;
use super::needles::Needles;
use super::upstream::Upstream;
use crate::admission::Recorded;
use crate::refusal::{Code, Refusal};
use crate::vault::Vault;

/// A secret that is about to be injected. No `Debug`, no `Clone`, no `Serialize`, no accessor.
#[must_use = "a credential that is not injected was drawn for nothing"]
pub struct Credential {
    placement: Placement,
    secret: WireSecret,
    origins: Vec<String>,
}

/// What the vault asks for beside the permit: the records, and the agent's own signed request.
pub struct Claim<'a> {
    pub agent_record: &'a [u8],
    pub principal_records: &'a [Vec<u8>],
    pub credential_record: &'a [u8],
    pub request: &'a RequestEnvelope,
}

impl Credential {
    /// Draws the credential. Spends the permit: what was recorded once is forwarded once.
    pub async fn release(vault: &Vault, permit: Recorded<Permit>, claim: Claim<'_>) -> Result<Self, Refusal> {
        let permit = permit.into_inner();
        let Claim { agent_record, principal_records, credential_record, request } = claim;
        let release = || Release {
            agent_record: agent_record.to_vec(),
            principal_records: principal_records.to_vec(),
            credential_record: credential_record.to_vec(),
            request: request.clone(),
        };
        let Released { placement, secret, origins, version: _ } = vault.call(permit.tenant(), release).await?;
        Ok(Self { placement, secret, origins })
    }

    /// The field that will carry it; the agent's own copy of that field is dropped.
    pub fn field(&self) -> Result<Option<HeaderName>, Refusal> {
        match &self.placement {
            Placement::None => Ok(None),
            Placement::Bearer | Placement::Basic => Ok(Some(header::AUTHORIZATION)),
            Placement::Header { name } => {
                name.parse().map(Some).map_err(|_| Refusal::internal(&"the credential's field name does not parse"))
            }
            _ => Err(Refusal::internal(&"a placement that this gateway does not know")),
        }
    }

    /// Puts it into the request's fields, if `upstream` is where it may go. What comes back is to be
    /// looked for in the reply.
    pub fn inject(self, upstream: &Upstream, fields: &mut HeaderMap) -> Result<Option<Needles>, Refusal> {
        if !self.origins.iter().any(|origin| origin == upstream.origin()) {
            return Err(Refusal::new(
                Code::UpstreamRefused,
                "the tool's address is not one that its credential was signed for; an operator must set it anew",
            ));
        }
        let Some(name) = self.field()? else { return Ok(None) };
        let secret = self.secret.expose_secret();
        let value = match &self.placement {
            Placement::Bearer => {
                let mut value = Zeroizing::new(Vec::with_capacity(7 + secret.len()));
                value.extend_from_slice(b"Bearer ");
                value.extend_from_slice(secret);
                value
            }
            Placement::Basic => {
                let encoded = Zeroizing::new(STANDARD.encode(secret));
                let mut value = Zeroizing::new(Vec::with_capacity(6 + encoded.len()));
                value.extend_from_slice(b"Basic ");
                value.extend_from_slice(encoded.as_bytes());
                value
            }
            _ => Zeroizing::new(secret.to_vec()),
        };
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| Refusal::internal(&"the credential holds octets that no header field can"))?;
        headers::inject(fields, name, value);
        Ok(Needles::of(secret, matches!(self.placement, Placement::Basic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(placement: Placement, secret: &str) -> Credential {
        Credential {
            placement,
            secret: WireSecret::from(secret.to_owned()),
            origins: vec!["http://api.example:8080".to_owned()],
        }
    }

    fn injected(placement: Placement, secret: &str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let upstream = Upstream::parse("http://api.example:8080/base").expect("an address");
        let _needles = credential(placement, secret).inject(&upstream, &mut fields).expect("injected");
        fields
    }

    #[test]
    fn each_placement_puts_the_secret_where_the_upstream_wants_it() {
        assert_eq!(injected(Placement::Bearer, "s3cret")["authorization"], "Bearer s3cret");
        assert_eq!(
            injected(Placement::Basic, "Aladdin:open sesame")["authorization"],
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(injected(Placement::Header { name: "x-api-key".into() }, "k")["x-api-key"], "k");
        assert!(injected(Placement::None, "").is_empty());
    }

    #[test]
    fn a_credential_goes_to_no_other_origin() {
        for elsewhere in ["http://api.example", "https://api.example:8080", "http://evil.example:8080"] {
            let mut fields = HeaderMap::new();
            let upstream = Upstream::parse(elsewhere).expect("an address");
            let refused = credential(Placement::Bearer, "s3cret").inject(&upstream, &mut fields);
            assert_eq!(refused.err().expect(elsewhere).code, Code::UpstreamRefused);
            assert!(fields.is_empty());
        }
    }
}
