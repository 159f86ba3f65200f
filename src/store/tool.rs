//! Tools, their actions, and the sealed credential that opens the upstream.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::agent::found;
use super::sealed::{signed, unsigned};
use super::{Change, Conflict, Sealed, Store, StoreError};

/// In one statement: thousands, whose texts are all taken apart for the search, would meet the timeout that is for locks.
const ACTIONS_AT_ONCE: usize = 200;

#[derive(Clone, Debug)]
pub struct NewTool {
    pub slug: String,
    /// The URL prefix that agents call.
    pub resource: String,
    pub upstream: Sealed,
    pub allow_private: bool,
    /// The public part of the manifest.
    pub manifest: Value,
    pub actions: Vec<NewAction>,
}

/// An action, and what is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAction {
    pub action: Action,
    pub title: String,
    pub description: String,
    /// Parameters and bodies that it takes, as JSON Schema.
    pub request: Option<Value>,
}

/// What a request is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub name: String,
    pub method: String,
    /// `/messages/{id}`
    pub template: String,
    /// Whether bodies too large to read whole are passed on as they come.
    pub stream: bool,
    /// What a request touches, of the template's parameters: `{owner}/{repo}`.
    pub resource: Option<String>,
}

impl Action {
    /// As the manifest shows it.
    pub fn to_json(&self) -> Value {
        let Self { name, method, template, stream, resource } = self;
        let mut shown = json!({ "name": name, "method": method, "path": template });
        if let Some(resource) = resource {
            shown["resource"] = json!(resource);
        }
        if *stream {
            shown["stream"] = json!(true);
        }
        shown
    }
}

/// The vault's record; it opens only against a signed request.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Empty for the one that is used where a grant names none.
    pub name: String,
    /// Of its placement.
    pub kind: String,
    pub version: u32,
    pub record: Vec<u8>,
    /// `{statement, signature}` as the granter signed it.
    pub statement: Value,
    /// When this version was set, Unix seconds.
    pub created: i64,
}

#[derive(Clone, Debug)]
pub struct Tool {
    pub slug: String,
    pub tenant: Uuid,
    /// What admission compares; it covers the actions and the credentials.
    pub version: i64,
    pub resource: String,
    pub upstream: Sealed,
    pub allow_private: bool,
    pub manifest: Value,
    pub actions: Vec<Action>,
    /// By name.
    pub credentials: Vec<Credential>,
    /// Unix seconds.
    pub created: i64,
}

struct Row {
    slug: String,
    tenant: Uuid,
    version: i64,
    resource: String,
    upstream_sealed: Vec<u8>,
    upstream_version: i32,
    allow_private: bool,
    manifest: Value,
    created: i64,
}

impl Row {
    fn tool(self, actions: Vec<Action>, credentials: Vec<Credential>) -> Tool {
        Tool {
            slug: self.slug,
            tenant: self.tenant,
            version: self.version,
            resource: self.resource,
            upstream: Sealed { version: unsigned(self.upstream_version), bytes: self.upstream_sealed },
            allow_private: self.allow_private,
            manifest: self.manifest,
            actions,
            credentials,
            created: self.created,
        }
    }
}

impl Tool {
    /// The credential of this name; the empty one names the unnamed.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.name == name)
    }
}

impl From<Action> for NewAction {
    fn from(action: Action) -> Self {
        Self { action, title: String::new(), description: String::new(), request: None }
    }
}

impl Store {
    pub async fn tool(&self, tenant: Uuid, slug: &str) -> Result<Option<Tool>, StoreError> {
        Ok(self.tools_where(tenant, Some(slug)).await?.pop())
    }

    /// By slug.
    pub async fn tools(&self, tenant: Uuid) -> Result<Vec<Tool>, StoreError> {
        self.tools_where(tenant, None).await
    }

    async fn tools_where(&self, tenant: Uuid, slug: Option<&str>) -> Result<Vec<Tool>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        // Two statements would see two states under the default isolation, and the version read by one
        // would vouch for the actions read by the other; so the version is read first. An older version
        // beside newer actions is found out by admission; the reverse would not be.
        let rows = sqlx::query_as!(
            Row,
            r#"select t.slug, t.tenant, t.version, t.resource, t.upstream_sealed, t.upstream_version, t.allow_private,
                      t.manifest, extract(epoch from t.created)::bigint as "created!"
               from tool t
               where t.tenant = $1 and ($2::text is null or t.slug = $2) order by t.slug"#,
            tenant,
            slug
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut actions = actions(&mut tx, tenant, slug).await?;
        let mut credentials = credentials(&mut tx, tenant, slug).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let own = actions.remove(&row.slug).unwrap_or_default();
                let credentials = credentials.remove(&row.slug).unwrap_or_default();
                row.tool(own, credentials)
            })
            .collect())
    }
}

impl Store {
    /// A tool's actions with all that is told of them, by name.
    pub async fn described_actions(&self, tenant: Uuid, slug: &str) -> Result<Vec<NewAction>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        let rows = sqlx::query!(
            "select name, method, template, resource, stream, title, description, request from tool_action
             where tenant = $1 and tool = $2 order by name",
            tenant,
            slug
        )
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| NewAction {
                action: Action {
                    name: row.name,
                    method: row.method,
                    template: row.template,
                    resource: row.resource,
                    stream: row.stream,
                },
                title: row.title,
                description: row.description,
                request: row.request,
            })
            .collect())
    }
}

/// By tool, and by name within it.
async fn actions(
    tx: &mut Transaction<'static, Postgres>,
    tenant: Uuid,
    slug: Option<&str>,
) -> Result<HashMap<String, Vec<Action>>, StoreError> {
    let rows = sqlx::query!(
        "select tool, name, method, template, resource, stream from tool_action
         where tenant = $1 and ($2::text is null or tool = $2) order by tool, name",
        tenant,
        slug
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut actions: HashMap<String, Vec<Action>> = HashMap::new();
    for row in rows {
        actions.entry(row.tool).or_default().push(Action {
            name: row.name,
            method: row.method,
            template: row.template,
            resource: row.resource,
            stream: row.stream,
        });
    }
    Ok(actions)
}

/// By tool, and by name within it.
async fn credentials(
    tx: &mut Transaction<'static, Postgres>,
    tenant: Uuid,
    slug: Option<&str>,
) -> Result<HashMap<String, Vec<Credential>>, StoreError> {
    let rows = sqlx::query!(
        r#"select tool, name, kind, version, record, statement, extract(epoch from created)::bigint as "created!"
           from tool_credential where tenant = $1 and ($2::text is null or tool = $2) order by tool, name"#,
        tenant,
        slug
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut credentials: HashMap<String, Vec<Credential>> = HashMap::new();
    for row in rows {
        credentials.entry(row.tool).or_default().push(Credential {
            name: row.name,
            kind: row.kind,
            version: unsigned(row.version),
            record: row.record,
            statement: row.statement,
            created: row.created,
        });
    }
    Ok(credentials)
}

impl Change {
    pub async fn insert_tool(&mut self, tool: &NewTool) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into tool (slug, tenant, resource, upstream_sealed, upstream_version, allow_private, manifest)
             values ($1, $2, $3, $4, $5, $6, $7)",
            tool.slug,
            self.tenant,
            tool.resource,
            tool.upstream.bytes,
            signed(tool.upstream.version)?,
            tool.allow_private,
            tool.manifest
        )
        .execute(&mut *self.tx)
        .await?;
        self.insert_actions(&tool.slug, &tool.actions).await
    }

    /// Puts this manifest in the place of the one that the tool has, which must still be of version `expected`.
    pub async fn replace_manifest(
        &mut self,
        slug: &str,
        expected: i64,
        manifest: &Value,
        actions: &[NewAction],
    ) -> Result<(), StoreError> {
        let done =
            sqlx::query!("update tool set manifest = $3 where slug = $1 and version = $2", slug, expected, manifest)
                .execute(&mut *self.tx)
                .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Conflict(Conflict::ToolChanged));
        }
        sqlx::query!("delete from tool_action where tool = $1", slug).execute(&mut *self.tx).await?;
        self.insert_actions(slug, actions).await
    }

    async fn insert_actions(&mut self, slug: &str, actions: &[NewAction]) -> Result<(), StoreError> {
        for some in actions.chunks(ACTIONS_AT_ONCE) {
            self.insert_some_actions(slug, some).await?;
        }
        Ok(())
    }

    async fn insert_some_actions(&mut self, slug: &str, actions: &[NewAction]) -> Result<(), StoreError> {
        let text = |of: fn(&NewAction) -> &str| actions.iter().map(|new| of(new).to_owned()).collect::<Vec<_>>();
        let resources: Vec<Option<String>> = actions.iter().map(|new| new.action.resource.clone()).collect();
        let streams: Vec<bool> = actions.iter().map(|new| new.action.stream).collect();
        let requests: Vec<Option<Value>> = actions.iter().map(|new| new.request.clone()).collect();
        sqlx::query!(
            "insert into tool_action (tenant, tool, name, method, template, resource, stream, title, description, request)
             select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::text[], $9::text[],
                                          $10::jsonb[])",
            self.tenant,
            slug,
            &text(|new| &new.action.name),
            &text(|new| &new.action.method),
            &text(|new| &new.action.template),
            &resources as &[Option<String>],
            &streams,
            &text(|new| &new.title),
            &text(|new| &new.description),
            &requests as &[Option<Value>]
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    pub async fn set_upstream(&mut self, slug: &str, upstream: &Sealed, private: bool) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "update tool set upstream_sealed = $2, upstream_version = $3, allow_private = $4 where slug = $1",
            slug,
            upstream.bytes,
            signed(upstream.version)?,
            private
        )
        .execute(&mut *self.tx)
        .await?;
        found(done.rows_affected())
    }

    /// Sets the tool's credential of this name; its version must be newer than the one that is there.
    pub async fn set_credential(&mut self, slug: &str, credential: &Credential) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into tool_credential (tenant, tool, name, kind, version, record, statement)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (tool, name) do update
             set kind = excluded.kind, version = excluded.version, record = excluded.record,
                 statement = excluded.statement",
            self.tenant,
            slug,
            credential.name,
            credential.kind,
            signed(credential.version)?,
            credential.record,
            credential.statement
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
