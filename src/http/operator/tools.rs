//! Tools and their credentials. The upstream's address is sealed, and so is the statement that signed
//! its origins: a dump of the database tells neither.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tgp_authority::{Operation, Role, Signed};
use tgp_request::name::Slug;
use tgp_vault_client::wire::{Open, OpenItem, Seal, SealItem, SetCredential, StatementText, WireSecret};
use uuid::Uuid;

use super::{Act, Answered, OperatorRoutes, created, malformed, ok, operation, other_statement};
use crate::json::Object;
use crate::manifest::{About, CheckedManifest, ToolManifest};
use crate::proxy::guard::Reach;
use crate::proxy::upstream::Upstream;
use crate::refusal::{Code, Refusal};
use crate::store::tenant::DEFAULT;
use crate::store::tool::{Action, Credential, NewTool, Tool};
use crate::store::{Entry, Sealed};
use crate::verify::tools::sealed_upstream;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    slug: Slug,
    #[serde(default)]
    tenant: Option<Uuid>,
    upstream: String,
    #[serde(default)]
    allow_private: bool,
    manifest: Object<ToolManifest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Handover {
    statement: Signed,
    /// base64url.
    salt: String,
    secret: SecretString,
}

/// For `crate::fuzzing`: what `add_tool` reads before it looks anything up.
pub(crate) fn tool_body(body: &[u8]) -> Option<CheckedManifest> {
    let Added { slug: _, tenant: _, upstream, allow_private: _, manifest: Object(manifest) } =
        super::parse(body).ok()?;
    Upstream::parse(&upstream).ok()?;
    manifest.check().ok()
}

impl OperatorRoutes {
    pub(super) async fn add_tool(&self, act: &Act) -> Answered {
        let gateway = &self.gateway;
        let Added { slug, tenant, upstream, allow_private, manifest: Object(manifest) } = act.body()?;
        let tenant = tenant.unwrap_or(DEFAULT);
        act.needs(tenant, &[Role::Owner, Role::Granter])?;
        let address = Upstream::parse(&upstream).map_err(|error| malformed(&error.to_string()))?;
        let reach = if allow_private { Reach::Private } else { Reach::Public };
        gateway.upstreams.check(&address, reach).await.map_err(|error| malformed(&format!("upstream: {error}")))?;
        let checked = manifest.check().map_err(|problem| malformed(&problem.to_string()))?;
        let (manifest, actions) = checked.into_stored().map_err(|error| Refusal::internal(&error))?;

        let sealed = self.seal_one(tenant, "tool", "upstream", slug.as_str(), 1, upstream.as_bytes()).await?;
        let tool = NewTool {
            slug: slug.to_string(),
            resource: format!("{}/t/{slug}", gateway.config.issuer),
            upstream: sealed,
            allow_private,
            manifest,
            actions,
        };
        let mut change = gateway.store.change(tenant).await?;
        change.insert_tool(&tool).await?;
        change.commit(&Entry { tool: Some(slug.to_string()), ..act.entry(tenant, "tool-add") }).await?;
        let tool = gateway.store.tool(tenant, slug.as_str()).await?.ok_or_else(unknown)?;
        Ok(created(&self.shown_tool(&tool).await?))
    }

    pub(super) async fn tools(&self, act: &Act) -> Answered {
        let tools = self.gateway.store.tools(act.tenant()?).await?;
        let mut shown = Vec::with_capacity(tools.len());
        for tool in &tools {
            let mut one = self.shown_tool(tool).await?;
            // A tool may have thousands.
            one["actions"] = json!(tool.actions.len());
            shown.push(one);
        }
        Ok(ok(&json!({ "tools": shown })))
    }

    pub(super) async fn tool(&self, act: &Act, slug: &str) -> Answered {
        let tool = self.find_tool(act, slug).await?;
        Ok(ok(&self.shown_tool(&tool).await?))
    }

    /// Write-only: the secret goes to the vault, which compares it with the digest that was signed.
    pub(super) async fn set_credential(&self, act: &Act, slug: &str) -> Answered {
        let gateway = &self.gateway;
        let Handover { statement, salt, secret } = act.body()?;
        let tool = self.find_tool(act, slug).await?;
        let Operation::Credential(order) = operation(&statement)? else { return Err(other_statement("credential")) };
        if order.tool.as_str() != tool.slug || order.tenant != tool.tenant || order.resource != tool.resource {
            return Err(other_statement("the credential of this tool"));
        }
        let salt = URL_SAFE_NO_PAD.decode(&salt).map_err(|_| malformed("salt is not unpadded base64url"))?;
        let dek = self.dek(tool.tenant, "record").await?;
        let set = || SetCredential {
            statement: StatementText::of(&statement),
            salt: salt.clone(),
            secret: WireSecret::new(secret.expose_secret().as_bytes().to_vec()),
            dek,
        };
        let sealed = gateway.vault.call(tool.tenant, set).await?;
        let text = serde_json::to_vec(&statement).map_err(|error| Refusal::internal(&error))?;
        let statement = self.seal_one(tool.tenant, "tool", "credential_statement", slug, sealed.version, &text).await?;
        let credential = Credential {
            version: sealed.version,
            record: sealed.record,
            statement: json!({ "sealed": STANDARD.encode(&statement.bytes) }),
        };
        let mut change = gateway.store.change(tool.tenant).await?;
        change.set_credential(slug, &credential).await?;
        change.commit(&Entry { tool: Some(slug.to_owned()), ..act.entry(tool.tenant, "credential") }).await?;
        Ok(ok(&json!({ "tool": slug, "version": sealed.version, "origins": sealed.origins })))
    }

    pub(super) async fn find_tool(&self, act: &Act, slug: &str) -> Result<Tool, Refusal> {
        let store = &self.gateway.store;
        let tenant = store.tenant_of_tool(slug).await?.ok_or_else(unknown)?;
        act.may_see(tenant).map_err(|_| unknown())?;
        store.tool(tenant, slug).await?.ok_or_else(unknown)
    }

    async fn shown_tool(&self, tool: &Tool) -> Result<Value, Refusal> {
        let mut items = vec![sealed_upstream(tool)];
        items.extend(tool.credential.as_ref().and_then(|credential| sealed_statement(tool, credential)));
        let tenant = tool.tenant;
        let opened = self.gateway.vault.call(tenant, || Open { tenant, items: items.clone() }).await?;
        let mut opened = opened.into_iter();
        let upstream = opened.next().map(|text| String::from_utf8_lossy(&text).into_owned());
        let order: Value = opened.next().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let params = &order["statement"]["params"];
        let about = About::deserialize(&tool.manifest).map_err(|error| Refusal::internal(&error))?;
        let credential = tool.credential.as_ref().map(|credential| {
            json!({ "version": credential.version, "placement": params["placement"], "origins": params["origins"] })
        });
        Ok(json!({
            "slug": tool.slug,
            "tenant": tool.tenant,
            "resource": tool.resource,
            "upstream": upstream,
            "allow_private": tool.allow_private,
            "version": tool.version,
            "created": tool.created,
            "credential": credential,
            "kind": about.kind,
            "title": about.title,
            "description": about.description,
            "public_hosts": about.public_hosts,
            "headers": about.headers,
            "actions": tool.actions.iter().map(shown_action).collect::<Vec<_>>(),
        }))
    }

    async fn seal_one(
        &self,
        tenant: Uuid,
        table: &str,
        column: &str,
        key: &str,
        version: u32,
        plaintext: &[u8],
    ) -> Result<Sealed, Refusal> {
        let dek = self.metadata_dek(tenant).await?;
        let item = || SealItem {
            table: table.to_owned(),
            column: column.to_owned(),
            key: key.to_owned(),
            version,
            plaintext: plaintext.to_vec(),
        };
        let sealed = self.gateway.vault.call(tenant, || Seal { tenant, dek, items: vec![item()] }).await?;
        let bytes = sealed.into_iter().next().ok_or_else(|| Refusal::internal(&"the vault sealed nothing"))?;
        Ok(Sealed { version, bytes })
    }
}

fn sealed_statement(tool: &Tool, credential: &Credential) -> Option<OpenItem> {
    Some(OpenItem {
        table: "tool".to_owned(),
        column: "credential_statement".to_owned(),
        key: tool.slug.clone(),
        version: credential.version,
        sealed: STANDARD.decode(credential.statement["sealed"].as_str()?).ok()?,
    })
}

fn shown_action(action: &Action) -> Value {
    let Action { name, method, template, stream, resource } = action;
    let mut shown = json!({ "name": name, "method": method, "path": template });
    if let Some(resource) = resource {
        shown["resource"] = json!(resource);
    }
    if *stream {
        shown["stream"] = json!(true);
    }
    shown
}

pub(super) fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such tool in this tenant")
}
