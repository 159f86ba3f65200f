//! A tool's credential on its way from the vault into one upstream request. It can be had only for a
//! permit that is recorded, cannot be printed, copied or serialised, and goes only to an origin that a
//! granter signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use tgp_authority::Placement;
use tgp_policy::Permit;
use tgp_vault_client::wire::{Draw, Release, Released, RequestEnvelope, WireSecret};
use zeroize::Zeroizing;

use super::client_certificate::ClientCertificate;
use super::needles::Needles;
use super::oauth2::Serial;
use super::sigv4::{self, AccessKey};
use super::upload::Content;
use super::upstream::Upstream;
use super::{headers, query};
use crate::admission::Recorded;
use crate::refusal::{Code, Refusal};
use crate::vault::Vault;

/// A secret that is about to be injected. No `Debug`, no `Clone`, no `Serialize`, no accessor.
#[must_use = "a credential that is not injected was drawn for nothing"]
pub struct Credential {
    placement: Placement,
    secret: WireSecret,
    origins: Vec<String>,
    /// For what is fetched with it.
    ticket: Vec<u8>,
    /// Which access token it is.
    serial: Option<Serial>,
}

/// What the vault asks for beside the permit: the records, and the agent's own signed request.
pub struct Claim<'a> {
    pub agent_record: &'a [u8],
    pub grant_record: &'a [u8],
    pub principal_records: &'a [Vec<u8>],
    pub credential_record: &'a [u8],
    pub request: &'a RequestEnvelope,
    pub draw: Draw,
}

/// What a request needs beside what was put into it.
#[derive(Default)]
pub struct Placed {
    /// To be looked for in the reply.
    pub needles: Option<Needles>,
    /// To be shown when the connection is made.
    pub certificate: Option<ClientCertificate>,
    /// To be told of when the tool refuses it.
    pub serial: Option<Serial>,
}

impl Credential {
    /// Draws the credential. Spends the permit: what was recorded once is forwarded once.
    pub async fn release(vault: &Vault, permit: Recorded<Permit>, claim: Claim<'_>) -> Result<Self, Refusal> {
        let permit = permit.into_inner();
        let Claim { agent_record, grant_record, principal_records, credential_record, request, draw } = claim;
        let release = || Release {
            agent_record: agent_record.to_vec(),
            grant_record: grant_record.to_vec(),
            principal_records: principal_records.to_vec(),
            credential_record: credential_record.to_vec(),
            request: request.clone(),
            draw: draw.clone(),
        };
        let Released { placement, secret, origins, version: _, ticket } = vault.call(permit.tenant(), release).await?;
        Ok(Self { placement, secret, origins, ticket, serial: None })
    }

    /// The field that will carry it; the agent's own copy of that field is dropped.
    pub fn field(&self) -> Result<Option<HeaderName>, Refusal> {
        match &self.placement {
            Placement::None | Placement::Query { .. } | Placement::ClientCertificate => Ok(None),
            Placement::Bearer | Placement::Basic | Placement::AwsSigV4 { .. } => Ok(Some(header::AUTHORIZATION)),
            Placement::Header { name } => {
                name.parse().map(Some).map_err(|_| Refusal::internal(&"the credential's field name does not parse"))
            }
            _ => Err(unplaceable()),
        }
    }

    /// Whether a tool can send it back: then it is asked for what can be searched.
    pub fn may_be_reflected(&self) -> bool {
        !matches!(self.placement, Placement::None | Placement::ClientCertificate)
    }

    /// Puts it into a request that is whole but for it, if `upstream` is where it may go.
    pub fn place(self, upstream: &Upstream, parts: &mut Parts, content: &Content, now: i64) -> Result<Placed, Refusal> {
        if !self.origins.iter().any(|origin| origin == upstream.origin()) {
            return Err(Refusal::new(
                Code::UpstreamRefused,
                "the tool's address is not one that its credential was signed for; an operator must set it anew",
            ));
        }
        let secret = self.secret.expose_secret();
        let text = || self.secret.expose_text().ok_or_else(|| unfit("text"));
        let needles = match &self.placement {
            Placement::None => None,
            Placement::Bearer => {
                let mut value = Zeroizing::new(Vec::with_capacity(7 + secret.len()));
                value.extend_from_slice(b"Bearer ");
                value.extend_from_slice(secret);
                inject(parts, header::AUTHORIZATION, &value)?;
                Needles::of(secret, false)
            }
            Placement::Basic => {
                let encoded = Zeroizing::new(STANDARD.encode(secret));
                let mut value = Zeroizing::new(Vec::with_capacity(6 + encoded.len()));
                value.extend_from_slice(b"Basic ");
                value.extend_from_slice(encoded.as_bytes());
                inject(parts, header::AUTHORIZATION, &value)?;
                Needles::of(secret, true)
            }
            Placement::Header { .. } => {
                let name = self.field()?.ok_or_else(unplaceable)?;
                inject(parts, name, secret)?;
                Needles::of(secret, false)
            }
            Placement::Query { name } => {
                let query = query::with_parameter(parts.uri.query(), name, secret);
                let path = parts.uri.path().to_owned();
                parts.uri = upstream.at(&path, Some(&query)).map_err(|error| Refusal::internal(&error))?;
                Needles::of(secret, false)
            }
            Placement::AwsSigV4 { region, service } => {
                let key = AccessKey::parse(text()?).ok_or_else(|| unfit("an AWS access key"))?;
                let sha256 = content.sha256().ok_or_else(|| {
                    let detail = "this tool takes a long body only with sha-256 in its content-digest, and only once";
                    Refusal::new(Code::DigestMismatch, detail)
                })?;
                sigv4::sign_request(&key, (region, service), parts, &sha256, now)?;
                let session_token = key.session_token.unwrap_or_default();
                Needles::of_each(&[key.secret.as_bytes(), session_token.as_bytes()])
            }
            Placement::ClientCertificate => {
                let certificate = ClientCertificate::parse(secret).map_err(|error| Refusal::internal(&error))?;
                return Ok(Placed { certificate: Some(certificate), ..Placed::default() });
            }
            _ => return Err(unplaceable()),
        };
        Ok(Placed { needles, certificate: None, serial: self.serial })
    }

    /// What an access token is fetched with.
    pub(super) fn expose_client_secret(&self) -> &[u8] {
        self.secret.expose_secret()
    }

    pub(super) fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(super) fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// What was fetched with it, in its place and for the same origins.
    pub(super) fn with_access_token(self, token: WireSecret) -> Self {
        Self { placement: Placement::Bearer, secret: token, ticket: Vec::new(), ..self }
    }

    pub(super) fn known_as(self, serial: Serial) -> Self {
        Self { serial: Some(serial), ..self }
    }
}

fn inject(parts: &mut Parts, name: HeaderName, value: &[u8]) -> Result<(), Refusal> {
    let value = HeaderValue::from_bytes(value)
        .map_err(|_| Refusal::internal(&"the credential holds octets that no header field can"))?;
    headers::inject(&mut parts.headers, name, value);
    Ok(())
}

fn unplaceable() -> Refusal {
    Refusal::internal(&"a placement that is not put into a request")
}

/// The command line has checked it: a granter signed something else.
fn unfit(what: &str) -> Refusal {
    Refusal::internal(&format!("the credential is not {what}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    fn credential(placement: Placement, secret: &str) -> Credential {
        Credential {
            placement,
            secret: WireSecret::from(secret.to_owned()),
            origins: vec!["http://api.example:8080".to_owned()],
            ticket: Vec::new(),
            serial: None,
        }
    }

    fn placed(placement: Placement, secret: &str) -> (Parts, Placed) {
        let (mut parts, ()) =
            Request::get("http://api.example:8080/base?a=1&key=mine").body(()).expect("a request").into_parts();
        let upstream = Upstream::parse("http://api.example:8080/base").expect("an address");
        let placed =
            credential(placement, secret).place(&upstream, &mut parts, &Content::from(Bytes::new()), 1_440_938_160);
        (parts, placed.expect("placed"))
    }

    #[test]
    fn each_placement_puts_the_secret_where_the_upstream_wants_it() {
        let fields = |placement, secret| placed(placement, secret).0.headers;
        assert_eq!(fields(Placement::Bearer, "s3cret")["authorization"], "Bearer s3cret");
        assert_eq!(
            fields(Placement::Basic, "Aladdin:open sesame")["authorization"],
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(fields(Placement::header("x-api-key").expect("a name"), "k")["x-api-key"], "k");
        assert!(fields(Placement::None, "").is_empty());
        let (parts, _) = placed(Placement::query("key").expect("a name"), "s3/&");
        assert_eq!(parts.uri, "http://api.example:8080/base?a=1&key=s3%2F%26");
        assert!(parts.headers.is_empty());
        let aws = Placement::aws_sigv4("us-east-1", "s3").expect("names");
        let fields = fields(aws, "AKIDEXAMPLE:the-secret-key:the-session");
        assert!(
            fields["authorization"].to_str().expect("text").starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        );
    }

    #[test]
    fn what_can_be_reflected_is_looked_for() {
        let found = |placement: Placement, secret: &str, text: &str| {
            let reflected = credential(placement.clone(), secret).may_be_reflected();
            let mut found = false;
            if let Some(needles) = placed(placement, secret).1.needles {
                needles.find(text.as_bytes(), 0, |_| found = true);
            }
            assert!(reflected || !found);
            found
        };
        let aws = || Placement::aws_sigv4("us-east-1", "s3").expect("names");
        let key = "AKIDEXAMPLE:the-secret-key:the-session-token";
        assert!(found(aws(), key, "it is the-secret-key"));
        assert!(found(aws(), key, "it is the-session-token"));
        assert!(!found(aws(), key, "it is AKIDEXAMPLE"));
        let query = || Placement::query("key").expect("a name");
        assert!(found(query(), "s3/cret&x", "GET /?key=s3%2Fcret%26x"));
        assert!(found(Placement::Bearer, "s3cret", "s3cret"));
        assert!(!found(Placement::None, "", "s3cret"));
    }

    #[test]
    fn a_credential_goes_to_no_other_origin() {
        for elsewhere in ["http://api.example", "https://api.example:8080", "http://evil.example:8080"] {
            let (mut parts, ()) = Request::get("http://x.example/").body(()).expect("a request").into_parts();
            let upstream = Upstream::parse(elsewhere).expect("an address");
            let refused =
                credential(Placement::Bearer, "s3cret").place(&upstream, &mut parts, &Content::from(Bytes::new()), 0);
            assert_eq!(refused.err().expect(elsewhere).code, Code::UpstreamRefused);
            assert!(parts.headers.is_empty());
        }
    }

    #[test]
    fn what_a_token_is_fetched_with_is_never_placed() {
        let oauth2 = tgp_authority::OAuth2 {
            grant: tgp_authority::OAuth2Grant::ClientCredentials,
            token_endpoint: "https://auth.example/token".into(),
            client_id: "c".into(),
            client_auth: tgp_authority::ClientAuth::ClientSecretBasic,
            scope: None,
        };
        let (mut parts, ()) = Request::get("http://api.example:8080/").body(()).expect("a request").into_parts();
        let upstream = Upstream::parse("http://api.example:8080").expect("an address");
        let drawn = credential(Placement::OAuth2(oauth2), "client-secret");
        assert!(drawn.field().is_err());
        assert!(drawn.place(&upstream, &mut parts, &Content::from(Bytes::new()), 0).is_err());
        assert!(parts.headers.is_empty());
    }
}
