//! A request that a tool received, judged as if it had come to the proxy: the same checks in the same order, the same
//! nonce spent, one record. What is missing is the connection: the agent's certificate is what the tool says it saw, and
//! where it says nothing, the signature by the key of the token (`cnf.jwk`) is what binds the token to its agent.

use http::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};
use tgp_policy::Permit;
use tgp_request::name::ActionName;
use tgp_request::signature::{VerifiedHead, VerifiedRequest};
use uuid::Uuid;

use crate::admission::{AdmissionError, Entry, Kind, Recorded, Spend};
use crate::gateway::Gateway;
use crate::proxy::call::{Admitted, Door, Evidence, Place, admit};
use crate::proxy::exchange::Under;
use crate::proxy::genuine::{Caller, Genuine, Received, genuine};
use crate::refusal::{Code, Refusal};
use crate::store::verifier::Verifier;
use crate::verify::Denied;
use crate::verify::tools::ReadyTool;

/// What a tool received.
pub struct Relayed<'a> {
    pub request_id: Uuid,
    pub verifier: Verifier,
    pub method: Method,
    /// The URL that was called.
    pub target_uri: String,
    pub headers: &'a HeaderMap,
    /// Of the certificate, as far as is known.
    pub certified: Option<(Uuid, i64)>,
    pub content: Content<'a>,
}

/// What is known of the content.
pub enum Content<'a> {
    Here(&'a [u8]),
    /// A digest that the tool computed.
    Digest(&'a str),
    /// The tool has none; nobody can say whether its sender meant one.
    None,
}

/// The answer to a request that is allowed.
pub struct Allowed {
    pub permit: Recorded<Permit>,
    pub action: ActionName,
    pub agent: Uuid,
    /// On whose behalf it acts: the subject first.
    pub principals: Vec<Uuid>,
    pub aan: String,
    pub jti: Uuid,
    /// Unix seconds: the token's.
    pub expires: i64,
}

/// To the tool itself, which asked.
struct AtTheTool;

impl Door for AtTheTool {
    type Recorded = Recorded<Permit>;

    fn ready(&self, _: &ReadyTool, _: &Under) -> Result<(), Refusal> {
        Ok(())
    }

    async fn admit(
        &self,
        gateway: &Gateway,
        permit: Permit,
        entry: Entry,
        spend: Spend,
    ) -> Result<Self::Recorded, AdmissionError> {
        gateway.admission.admit(permit, entry, Some(spend)).await
    }
}

/// Verifies, decides, records.
pub async fn relay(gateway: &Gateway, relayed: Relayed<'_>) -> Result<Allowed, Denied> {
    let Relayed { request_id, verifier, method, target_uri, headers, certified, content } = relayed;
    let Verifier { key, tenant, tool } = verifier;
    let found = gateway.cache.tool(&tool).await.map_err(Denied::relayed)?;
    let Some(found) = found else {
        return Err(Denied::relayed(Refusal::new(Code::ToolUnknown, "the key's tool is not there any more")));
    };
    let mut entry = Entry {
        method: Some(method.to_string()),
        target_sha256: Some(Sha256::digest(&target_uri).into()),
        tool: Some(tool.clone()),
        detail: Some(serde_json::json!({ "verifier": key })),
        ..Entry::new(request_id, Kind::Verify, tenant)
    };
    let place = Place::below(&tool, &found.resource, &target_uri);
    let received = Received {
        method: &method,
        target_uri: &target_uri,
        headers,
        has_content: !matches!(content, Content::None),
        now: gateway.now(),
    };
    let caller = Caller::Relayed { certified: certified.map(|(agent, _)| agent) };
    let Genuine { head, token, agent } = genuine(gateway, &mut entry, &received, place.as_ref(), caller).await?;
    let Some(place) = place else {
        let detail = format!("the request is not below {}, which is where this tool is called", found.resource);
        return Err(Denied::row(&entry, Refusal::new(Code::ResourceRefused, detail)));
    };
    let request = with_content(head, &content).map_err(|refusal| Denied::row(&entry, refusal))?;
    let certificate_not_after = certified.map_or(i64::MAX, |(_, end)| end);
    let evidence = Evidence::whole(&request, &token, certificate_not_after);
    let Admitted { recorded: permit, agent, .. } = admit(gateway, &AtTheTool, &evidence, agent, &place, entry).await?;
    let action = permit.as_ref().actions().first().cloned();
    let action = action.ok_or_else(|| Denied::settled(Refusal::internal(&"a permit without an action")))?;
    let claims = token.claims();
    Ok(Allowed {
        permit,
        action,
        agent: agent.id,
        principals: token.principals().to_vec(),
        aan: agent.aan.clone(),
        jti: claims.jti,
        expires: claims.exp,
    })
}

fn with_content(head: VerifiedHead, content: &Content<'_>) -> Result<VerifiedRequest, Refusal> {
    match content {
        Content::Here(content) => Ok(head.body(content)?),
        Content::Digest(digest) => Ok(head.digested(digest)?),
        // What was signed is not there to be judged.
        Content::None if head.promises_content() => {
            Err(Refusal::new(Code::BodyRequired, "the request's body is signed and was not passed on"))
        }
        Content::None => Ok(head.body(b"")?),
    }
}
