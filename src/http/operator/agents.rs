//! Agents, as operators see and steer them.

use serde::Deserialize;
use serde_json::{Value, json};
use tgp_authority::{Operation, RecordKind, Role, Signed};
use tgp_vault_client::wire::{BlindIndex, Open, OpenItem, Revoke, Seal, SealItem, StatementText};
use uuid::Uuid;

use super::{
    Act, Answered, OneStatement, OperatorRoutes, created, malformed, ok, operation, other_statement, to_value,
};
use crate::refusal::{Code, Refusal};
use crate::store::agent::{Agent, NewAgent, Status};
use crate::store::{Entry, Sealed};

const NAME: &str = "name";
const DESCRIPTION: &str = "description";
/// Characters of a name or description.
const TEXT_LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    invitation: Signed,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
}

impl OperatorRoutes {
    /// The vault checks the invitation when it is used; a bad one is refused now all the same, while
    /// somebody is there to mend it.
    pub(super) async fn invite(&self, act: &Act) -> Answered {
        let gateway = &self.gateway;
        let Invitation { invitation, name, description } = act.body()?;
        let Operation::Invite(invite) = operation(&invitation)? else { return Err(other_statement("invite")) };
        act.may_see(invite.tenant)?;
        let checked = act.roster.check(
            std::slice::from_ref(&invitation),
            &gateway.deployment.id,
            &gateway.deployment.vault,
            gateway.now(),
            0,
        );
        checked.map_err(|error| Refusal::new(Code::StatementRefused, error.to_string()))?;
        if !invite.aan.as_str().starts_with(&gateway.config.aan_prefix) {
            let detail = format!("agent authentication numbers begin with {} here", gateway.config.aan_prefix);
            return Err(malformed(&detail));
        }
        let (name, description) = (text(name)?, text(description)?);
        let sealed = self.seal(invite.tenant, invite.agent, name.as_deref(), description.as_deref()).await?;
        let agent = NewAgent {
            id: invite.agent,
            handle: invite.handle.to_string(),
            aan: invite.aan.to_string(),
            invitation: to_value(&invitation)?,
            name: sealed.name,
            name_index: sealed.name_index,
            description: sealed.description,
        };
        let mut change = gateway.people.change(invite.tenant).await?;
        change.insert_agent(&agent).await?;
        change.commit(&Entry { agent: Some(agent.id), ..act.entry(invite.tenant, "invite") }).await?;
        Ok(created(&json!({ "agent": agent.id, "tenant": invite.tenant, "handle": agent.handle, "aan": agent.aan })))
    }

    pub(super) async fn agents(&self, act: &Act) -> Answered {
        let tenant = act.tenant()?;
        let limit = act.number("limit")?.and_then(|n| u32::try_from(n).ok()).unwrap_or(1000).clamp(1, 1000);
        let agents = self.gateway.people.agents(tenant, act.parameter("after"), limit).await?;
        Ok(ok(&json!({ "agents": self.shown(tenant, &agents).await? })))
    }

    pub(super) async fn agent(&self, act: &Act, name: &str) -> Answered {
        let agent = self.find_agent(act, name).await?;
        self.answer_agent(agent).await
    }

    pub(super) async fn freeze(&self, act: &Act, name: &str) -> Answered {
        let agent = self.find_agent(act, name).await?;
        act.needs(agent.tenant, &[Role::Owner, Role::Inviter, Role::AgentOwner])?;
        match agent.status {
            Status::Retired => return Err(Refusal::new(Code::Conflict, "a retired agent stays retired")),
            Status::Frozen => return Err(Refusal::new(Code::Conflict, "the agent is frozen already")),
            Status::Active | Status::Invited => {}
        }
        self.set_status(act, agent, Status::Frozen, "freeze").await
    }

    pub(super) async fn unfreeze(&self, act: &Act, name: &str) -> Answered {
        let agent = self.find_agent(act, name).await?;
        act.needs(agent.tenant, &[Role::Owner, Role::Inviter, Role::AgentOwner])?;
        if agent.status != Status::Frozen {
            return Err(Refusal::new(Code::Conflict, format!("the agent is {}, not frozen", agent.status.as_str())));
        }
        let status = if agent.keyid.is_some() { Status::Active } else { Status::Invited };
        self.set_status(act, agent, status, "unfreeze").await
    }

    /// For ever: the vault raises the floor of the agent's record before the store hears of it.
    pub(super) async fn retire(&self, act: &Act, name: &str) -> Answered {
        let agent = self.find_agent(act, name).await?;
        let OneStatement { statement } = act.body()?;
        let Operation::Revoke(revoke) = operation(&statement)? else { return Err(other_statement("revoke")) };
        if revoke.kind != RecordKind::Agent || revoke.id != agent.id.to_string() || revoke.tenant != agent.tenant {
            return Err(other_statement("the revocation of this agent"));
        }
        self.gateway.vault.ask(Revoke { statements: vec![StatementText::of(&statement)] }).await?;
        self.set_status(act, agent, Status::Retired, "retire").await
    }

    async fn set_status(&self, act: &Act, agent: Agent, status: Status, verb: &str) -> Answered {
        let mut change = self.gateway.people.change(agent.tenant).await?;
        change.set_agent_status(agent.id, status).await?;
        change.commit(&Entry { agent: Some(agent.id), ..act.entry(agent.tenant, verb) }).await?;
        self.gateway.cache.forget(agent.id, "");
        let fresh = self.gateway.people.agent(agent.tenant, agent.id).await?;
        self.answer_agent(fresh.unwrap_or(agent)).await
    }

    async fn find_agent(&self, act: &Act, name: &str) -> Result<Agent, Refusal> {
        let unknown = || Refusal::new(Code::NotFound, "there is no such agent in this tenant");
        let store = &self.gateway.people;
        if let Ok(id) = name.parse::<Uuid>() {
            let tenant = store.tenant_of_agent(id).await?.ok_or_else(unknown)?;
            // An agent of a tenant that is not the operator's does not exist for him.
            act.may_see(tenant).map_err(|_| unknown())?;
            return store.agent(tenant, id).await?.ok_or_else(unknown);
        }
        store.agent_by_handle(act.tenant()?, name).await?.ok_or_else(unknown)
    }

    async fn answer_agent(&self, agent: Agent) -> Answered {
        let shown = self.shown(agent.tenant, std::slice::from_ref(&agent)).await?;
        Ok(ok(shown.first().unwrap_or(&Value::Null)))
    }

    /// With names and descriptions opened, all in one call. A vault that is away hides the names, and not
    /// the agents: they can be frozen all the same.
    async fn shown(&self, tenant: Uuid, agents: &[Agent]) -> Result<Vec<Value>, Refusal> {
        let mut places = Vec::new();
        let mut items = Vec::new();
        for (at, agent) in agents.iter().enumerate() {
            for (column, sealed) in [(NAME, &agent.name), (DESCRIPTION, &agent.description)] {
                if let Some(sealed) = sealed {
                    places.push((at, column));
                    items.push(place(agent.id, column, sealed));
                }
            }
        }
        let mut shown: Vec<Value> = agents.iter().map(plain).collect();
        if !items.is_empty() {
            let opened = self.gateway.vault.call(tenant, || Open { tenant, items: items.clone() }).await;
            match opened.map_err(Refusal::from) {
                Ok(texts) => {
                    for ((at, column), text) in places.into_iter().zip(texts) {
                        shown[at][column] = String::from_utf8_lossy(&text).into_owned().into();
                    }
                }
                Err(refusal) if refusal.code == Code::VaultUnavailable => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(shown)
    }

    async fn seal(
        &self,
        tenant: Uuid,
        agent: Uuid,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<SealedText, Refusal> {
        if name.is_none() && description.is_none() {
            return Ok(SealedText::default());
        }
        let dek = self.metadata_dek(tenant).await?;
        let texts = [(NAME, name), (DESCRIPTION, description)];
        let items = || -> Vec<SealItem> {
            let item = |(column, text): (&str, Option<&str>)| {
                text.map(|text| SealItem {
                    table: "agent".to_owned(),
                    column: column.to_owned(),
                    key: agent.to_string(),
                    version: 1,
                    plaintext: text.as_bytes().to_vec(),
                })
            };
            texts.into_iter().filter_map(item).collect()
        };
        let sealed = self.gateway.vault.call(tenant, || Seal { tenant, dek, items: items() }).await?;
        let mut sealed = sealed.into_iter().map(|bytes| Sealed { version: 1, bytes });
        let name_index = match name {
            Some(name) => {
                let index = || BlindIndex {
                    tenant,
                    table: "agent".to_owned(),
                    column: NAME.to_owned(),
                    value: name.as_bytes().to_vec(),
                };
                Some(self.gateway.vault.call(tenant, index).await?)
            }
            None => None,
        };
        Ok(SealedText {
            name: name.and_then(|_| sealed.next()),
            description: description.and_then(|_| sealed.next()),
            name_index,
        })
    }

    /// The key that metadata of this tenant is sealed under.
    pub(super) async fn metadata_dek(&self, tenant: Uuid) -> Result<Uuid, Refusal> {
        self.dek(tenant, "metadata").await
    }

    pub(super) async fn dek(&self, tenant: Uuid, purpose: &str) -> Result<Uuid, Refusal> {
        let dek = self.gateway.people.newest_dek(tenant, purpose).await?;
        dek.map(|dek| dek.id).ok_or_else(|| {
            let detail = format!("the tenant has no {purpose} key yet; an owner runs `tgp tenant prepare`");
            Refusal::new(Code::Conflict, detail)
        })
    }
}

#[derive(Default)]
struct SealedText {
    name: Option<Sealed>,
    description: Option<Sealed>,
    name_index: Option<[u8; 32]>,
}

fn place(agent: Uuid, column: &str, sealed: &Sealed) -> OpenItem {
    OpenItem {
        table: "agent".to_owned(),
        column: column.to_owned(),
        key: agent.to_string(),
        version: sealed.version,
        sealed: sealed.bytes.clone(),
    }
}

fn text(given: Option<String>) -> Result<Option<String>, Refusal> {
    match given {
        Some(text) if text.chars().count() > TEXT_LIMIT => {
            Err(malformed("a name or description has at most 1000 characters"))
        }
        Some(text) if text.is_empty() => Ok(None),
        other => Ok(other),
    }
}

fn plain(agent: &Agent) -> Value {
    json!({
        "agent": agent.id,
        "tenant": agent.tenant,
        "handle": agent.handle,
        "aan": agent.aan,
        "status": agent.status.as_str(),
        "keyid": agent.keyid,
        "methods": agent.invitation["statement"]["params"]["methods"],
        "name": null,
        "description": null,
        "created": agent.created,
        "enrolled": agent.enrolled,
        "frozen": agent.frozen,
        "retired": agent.retired,
    })
}
