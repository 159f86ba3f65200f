//! Tools and their credentials. The upstream's address is sealed, and so is the statement that signed
//! its origins: a dump of the database tells neither.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tgp_authority::{Operation, Placement, Role, Signed, credential_id, valid_resource};
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
    /// Where a tool is called that asks us by itself; `<issuer>/t/<slug>` for all others.
    #[serde(default)]
    resource: Option<String>,
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
    let Added { slug: _, tenant: _, upstream, resource: _, allow_private: _, manifest: Object(manifest) } =
        super::parse(body).ok()?;
    Upstream::parse(&upstream).ok()?;
    manifest.check().ok()
}

impl OperatorRoutes {
    pub(super) async fn add_tool(&self, act: &Act) -> Answered {
        let gateway = &self.gateway;
        let Added { slug, tenant, upstream, resource, allow_private, manifest: Object(manifest) } = act.body()?;
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
            resource: resource_of(gateway.config.issuer.as_str(), &slug, resource)?,
            upstream: sealed,
            allow_private,
            manifest,
            actions,
        };
        let mut change = gateway.people.change(tenant).await?;
        change.insert_tool(&tool).await?;
        change.commit(&Entry { tool: Some(slug.to_string()), ..act.entry(tenant, "tool-add") }).await?;
        let tool = gateway.people.tool(tenant, slug.as_str()).await?.ok_or_else(unknown)?;
        Ok(created(&self.shown_tool(&tool).await?))
    }

    pub(super) async fn tools(&self, act: &Act) -> Answered {
        let tools = self.gateway.people.tools(act.tenant()?).await?;
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
        if let Placement::OAuth2(oauth2) = &order.placement {
            let endpoint = Upstream::parse(&oauth2.token_endpoint).map_err(|error| malformed(&error.to_string()))?;
            let reach = if tool.allow_private { Reach::Private } else { Reach::Public };
            let allowed = gateway.upstreams.check(&endpoint, reach).await;
            allowed.map_err(|error| malformed(&format!("token endpoint: {error}")))?;
        }
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
        let key = credential_id(&order.tool, order.name.as_ref());
        let statement = self.seal_one(tool.tenant, "tool", "credential_statement", &key, sealed.version, &text).await?;
        let credential = Credential {
            name: order.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            kind: order.placement.kind().to_owned(),
            version: sealed.version,
            record: sealed.record,
            statement: json!({ "sealed": STANDARD.encode(&statement.bytes) }),
            created: 0, // the store's to say
        };
        let mut change = gateway.people.change(tool.tenant).await?;
        change.set_credential(slug, &credential).await?;
        change.commit(&Entry { tool: Some(slug.to_owned()), ..act.entry(tool.tenant, "credential") }).await?;
        Ok(ok(&json!({ "tool": slug, "name": sealed.name, "version": sealed.version, "origins": sealed.origins })))
    }

    pub(super) async fn find_tool(&self, act: &Act, slug: &str) -> Result<Tool, Refusal> {
        let store = &self.gateway.people;
        let tenant = store.tenant_of_tool(slug).await?.ok_or_else(unknown)?;
        act.may_see(tenant).map_err(|_| unknown())?;
        store.tool(tenant, slug).await?.ok_or_else(unknown)
    }

    async fn shown_tool(&self, tool: &Tool) -> Result<Value, Refusal> {
        let mut items = vec![sealed_upstream(tool)];
        for credential in &tool.credentials {
            let missing = || Refusal::internal(&"a credential without its statement");
            items.push(sealed_statement(tool, credential).ok_or_else(missing)?);
        }
        let tenant = tool.tenant;
        let opened = self.gateway.vault.call(tenant, || Open { tenant, items: items.clone() }).await?;
        let mut opened = opened.into_iter();
        let upstream = opened.next().map(|text| String::from_utf8_lossy(&text).into_owned());
        let about = About::deserialize(&tool.manifest).map_err(|error| Refusal::internal(&error))?;
        let credentials = tool.credentials.iter().zip(opened).map(|(credential, text)| {
            let order: Value = serde_json::from_slice(&text).unwrap_or_default();
            let params = &order["statement"]["params"];
            json!({
                "name": credential.name,
                "kind": credential.kind,
                "version": credential.version,
                "created": credential.created,
                "placement": params["placement"],
                "origins": params["origins"],
            })
        });
        let credentials: Vec<Value> = credentials.collect();
        Ok(json!({
            "slug": tool.slug,
            "tenant": tool.tenant,
            "resource": tool.resource,
            "upstream": upstream,
            "allow_private": tool.allow_private,
            "version": tool.version,
            "created": tool.created,
            "credentials": credentials,
            "kind": about.kind,
            "title": about.title,
            "description": about.description,
            "public_hosts": about.public_hosts,
            "headers": about.headers,
            "actions": tool.actions.iter().map(Action::to_json).collect::<Vec<_>>(),
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
        key: match credential.name.as_str() {
            "" => tool.slug.clone(),
            name => format!("{}/{name}", tool.slug),
        },
        version: credential.version,
        sealed: STANDARD.decode(credential.statement["sealed"].as_str()?).ok()?,
    })
}

/// A resource below the issuer is the proxy's, or ours.
fn resource_of(issuer: &str, slug: &Slug, given: Option<String>) -> Result<String, Refusal> {
    let own = format!("{issuer}/t/{slug}");
    let Some(given) = given.filter(|given| *given != own) else { return Ok(own) };
    if !valid_resource(&given) {
        return Err(malformed("resource is a URL in its one spelling, without query and without a slash at its end"));
    }
    if tgp_request::target::within(issuer, &given) || tgp_request::target::within(&given, issuer) {
        return Err(malformed("resource is the tool's own URL, not one of the gateway's"));
    }
    Ok(given)
}

pub(super) fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such tool in this tenant")
}
