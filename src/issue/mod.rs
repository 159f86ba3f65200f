//! Issuance: decide, have the vault check the proof and sign, record; only a recorded token is answered.
//!
//! Minting comes before admission, so a record that fails leaves a signature that nobody ever saw and no
//! row shows. The `minted_unrecorded` counter says how many, or the vault's counters would not reconcile.

pub mod basic;
pub mod client;
pub mod enrol;
pub mod exchange;
pub mod form;
mod oauth;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tgp_policy::{Denial, Permit};
use tgp_request::token::AuthorizationDetail;
use tgp_vault_client::CallError;
use tgp_vault_client::wire::{ExchangeToken, MintToken, Minted, RefusalCode, WireSecret};
use uuid::Uuid;

use self::client::Presented;
use self::exchange::HandedOver;
use self::form::Asked;
pub use self::oauth::{OauthError, OauthRefusal};
use crate::admission::{AdmissionError, Entry, Recorded, Unrecorded};
use crate::gateway::Gateway;
use crate::proxy::call::{known_principals, on_behalf_of};
use crate::proxy::exchange::records as records_of;
use crate::refusal::{Code, Refusal};
use crate::store::agent::Agent;
use crate::store::grant::Grant;
use crate::vault::VaultError;
use crate::verify::Denied;
use crate::verify::decide;
use crate::verify::denied::not_admitted;
use crate::verify::tools::ReadyTool;

/// How often a decision is made again because its ground had moved.
const DECISIONS: usize = 4;

/// Tokens that were signed and never recorded, since the start.
pub static MINTED_UNRECORDED: AtomicU64 = AtomicU64::new(0);

/// An access token. Only [`Recorded`] does it leave this module.
pub struct Token {
    text: WireSecret,
    pub expires_in: i64,
    pub scope: String,
    /// What the details way echoes (RFC 9396 §7).
    pub tool: String,
    pub resource: String,
    pub actions: Vec<String>,
    pub resources: Vec<String>,
}

impl Token {
    /// What it is for, in RFC 9396's words.
    pub fn details(&self) -> Value {
        let mut detail = json!({
            "type": AuthorizationDetail::TYPE,
            "locations": [self.resource],
            "actions": self.actions,
            "identifier": self.tool,
        });
        if !self.resources.is_empty() {
            detail["resources"] = json!(self.resources);
        }
        json!([detail])
    }

    /// The JWT.
    pub fn expose_text(&self) -> &str {
        self.text.expose_text().unwrap_or_default()
    }
}

/// A request for a token, read and not yet decided.
pub struct Request {
    pub presented: Presented,
    pub asked: Asked,
    /// In an exchange, the other agent's token.
    pub handed: Option<HandedOver>,
}

impl Request {
    /// The agent whose grant is asked about.
    fn holder(&self, agent: &Agent) -> Uuid {
        self.handed.as_ref().map_or(agent.id, HandedOver::subject)
    }

    /// Those on whose behalf the token will act.
    fn principals(&self) -> Vec<Uuid> {
        self.handed.as_ref().map(HandedOver::principals).unwrap_or_default()
    }
}

/// Issues a token to the agent that the certificate names.
pub async fn token(
    gateway: &Gateway,
    agent: Arc<Agent>,
    request: &Request,
    mut entry: Entry,
) -> Result<Recorded<Token>, Denied> {
    let Request { presented, asked, handed } = request;
    let principal_ids = request.principals();
    entry.detail = on_behalf_of(&principal_ids);
    entry.derived_from = handed.as_ref().map(HandedOver::derived_from).unwrap_or_default();
    let mut agent = agent;
    for _ in 0..DECISIONS {
        let tool = gateway.tools.find(asked.tool.as_str()).await.map_err(|refusal| Denied::row(&entry, refusal))?;
        let tool = tool.filter(|tool| tool.tool.tenant == agent.tenant);
        let principals = known_principals(gateway, &principal_ids).await.map_err(|r| Denied::early(&entry, r))?;
        if let (Some(handed), Some(parent)) = (handed, principals.last()) {
            handed.check_key(parent).map_err(|refusal| Denied::early(&entry, refusal))?;
        }
        let grants = gateway
            .cache
            .grants(agent.tenant, request.holder(&agent), asked.tool.as_str())
            .await
            .map_err(|error| Denied::row(&entry, error))?;
        let (permit, grant) = match permit(gateway, (&agent, &principals), tool.as_deref(), &grants, asked) {
            Ok(permitted) => permitted,
            Err(denial) => return Err(denied(gateway, &agent, presented, &entry, &denial, asked).await),
        };
        entry.grant = Some(grant.id);

        let (token, unrecorded) = match mint(gateway, (&agent, &principals), grant, &permit, request).await {
            Ok(minted) => minted,
            // What the agent showed did not hold, or the vault did not come to it.
            Err(refusal)
                if matches!(
                    refusal.code,
                    Code::CodeInvalid | Code::GrantMissing | Code::SignatureReplayed | Code::SignatureExpired
                ) =>
            {
                return Err(Denied::early(&entry, refusal));
            }
            Err(refusal) => return Err(Denied::row(&entry, refusal)),
        };
        entry.jti = Some(token);
        match gateway.admission.issue(permit, unrecorded, entry.clone(), presented.spend()).await {
            Ok(recorded) => return Ok(recorded),
            Err(error) => {
                MINTED_UNRECORDED.fetch_add(1, Ordering::Relaxed);
                if !matches!(error, AdmissionError::Stale) {
                    return Err(not_admitted(error));
                }
                for stale in principal_ids.iter().chain([&agent.id]) {
                    gateway.cache.forget(*stale, asked.tool.as_str());
                }
                // The vault has spent an assertion with what it signed: it must be made anew.
                if presented.spend().is_some() {
                    return Err(not_admitted(error));
                }
                agent = crate::proxy::call::known_agent(gateway, agent.id).await?;
            }
        }
    }
    Err(not_admitted(AdmissionError::Stale))
}

/// What was decided is told only to who has proven himself. The vault checks the proof before it looks at the grant, of
/// which there is none.
async fn denied(
    gateway: &Gateway,
    agent: &Agent,
    presented: &Presented,
    entry: &Entry,
    denial: &Denial,
    asked: &Asked,
) -> Denied {
    let told = decide::refusal(denial, &asked.tool);
    let Some(record) = agent.record.as_deref() else { return Denied::early(entry, told) };
    let call = || MintToken {
        agent_record: record.to_vec(),
        grant_record: Vec::new(),
        proof: presented.proof(),
        tool: asked.tool.to_string(),
        resource: String::new(),
        actions: Vec::new(),
        resources: Vec::new(),
        may_act: None,
        lifetime_s: 1,
    };
    match gateway.vault.call(agent.tenant, call).await {
        Err(VaultError::Call(CallError::Refused(refused))) if refused.code == RefusalCode::RecordInvalid => {
            Denied::row(entry, told)
        }
        // Its record was withdrawn: nothing can be proven any more, and the certificate has named it.
        Err(VaultError::Call(CallError::Refused(refused))) if refused.code == RefusalCode::RecordStale => {
            Denied::early(entry, told)
        }
        Err(error) => Denied::early(entry, refused(error)),
        Ok(_) => Denied::early(entry, Refusal::internal(&"the vault minted without a grant")),
    }
}

fn permit<'g>(
    gateway: &Gateway,
    (agent, principals): (&Agent, &[Arc<Agent>]),
    tool: Option<&ReadyTool>,
    grants: &'g [Grant],
    asked: &Asked,
) -> Result<(Permit, &'g Grant), Denial> {
    let own = tool.map_or("", |tool| tool.tool.resource.as_str());
    let resource = asked.resource.as_deref().unwrap_or(own);
    // A grant outlives a tool that was made anew elsewhere: the tool's own resource is the only one.
    if tool.is_some() && resource != own {
        return Err(Denial::ResourceRefused);
    }
    let question = decide::Asked {
        tool: &asked.tool,
        resource,
        actions: &asked.actions,
        covered: None,
        resources: &asked.resources,
        touched: None,
    };
    decide::decide(&question, agent, principals, tool, grants, gateway.now())
}

async fn mint(
    gateway: &Gateway,
    (agent, principals): (&Agent, &[Arc<Agent>]),
    grant: &Grant,
    permit: &Permit,
    Request { presented, asked, handed }: &Request,
) -> Result<(Uuid, Unrecorded<Token>), Refusal> {
    let record = agent.record.as_deref().ok_or_else(|| Refusal::internal(&"an active agent without a record"))?;
    let actions: Vec<String> = permit.actions().iter().map(ToString::to_string).collect();
    let lifetime = u32::try_from(gateway.config.limits.token_lifetime.as_secs()).unwrap_or(300);
    let resources: Vec<String> = asked.resources.iter().map(ToString::to_string).collect();
    let records = records_of(principals)?;
    let minted = match (handed, records.split_last()) {
        (Some(handed), Some((parent_record, principal_records))) => {
            let call = || ExchangeToken {
                agent_record: record.to_vec(),
                proof: presented.proof(),
                subject_token: WireSecret::from(handed.text.to_string()),
                parent_record: parent_record.clone(),
                principal_records: principal_records.to_vec(),
                grant_record: grant.record.clone(),
                actions: actions.clone(),
                resources: resources.clone(),
                may_act: asked.may_act,
                lifetime_s: lifetime,
            };
            gateway.vault.call(agent.tenant, call).await
        }
        _ => {
            let call = || MintToken {
                agent_record: record.to_vec(),
                grant_record: grant.record.clone(),
                proof: presented.proof(),
                tool: permit.tool().to_string(),
                resource: permit.resource().to_owned(),
                actions: actions.clone(),
                resources: resources.clone(),
                may_act: asked.may_act,
                lifetime_s: lifetime,
            };
            gateway.vault.call(agent.tenant, call).await
        }
    };
    let Minted { token, jti, iat, exp, resources } = minted.map_err(refused)?;
    let scope = actions.iter().map(|action| format!("{}:{action}", permit.tool())).collect::<Vec<_>>().join(" ");
    let token = Token {
        text: token,
        expires_in: exp - iat,
        scope,
        tool: permit.tool().to_string(),
        resource: permit.resource().to_owned(),
        actions: actions.clone(),
        resources,
    };
    Ok((jti, Unrecorded::new(token, jti, exp, actions)))
}

/// What the vault says to a token request in the caller's terms.
fn refused(error: VaultError) -> Refusal {
    if let VaultError::Call(CallError::Refused(refused)) = &error {
        match refused.code {
            RefusalCode::MasterKeyInvalid => {
                return Refusal::new(Code::CodeInvalid, "the master key is not this agent's current one");
            }
            RefusalCode::AssertionInvalid => return Refusal::new(Code::CodeInvalid, refused.detail.clone()),
            // The vault knows a newer statement than the store, or that it was withdrawn.
            RefusalCode::RecordStale => {
                return Refusal::new(
                    Code::GrantMissing,
                    "the agent's record or its grant is not the newest; ask a granter",
                );
            }
            _ => {}
        }
    }
    error.into()
}
