//! A database of one's own, and a tenant with an agent that may send mail.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tgp::admission::{Admission, AdmissionConfig, Entry, Kind, Spend};
use tgp::store::agent::{Enrolment, NewAgent, Status};
use tgp::store::certificate::Certificate;
use tgp::store::grant::NewGrant;
use tgp::store::operator::Operator;
use tgp::store::roster::Roster;
use tgp::store::tool::{Action, Credential, NewAction, NewTool};
use tgp::store::{Change, Sealed, Store, StoreError, migrate::migrate, tenant};
use tgp_policy::{AgentFact, Facts, GrantFact, Permit, Question, ToolFact};
use uuid::Uuid;

#[allow(clippy::disallowed_methods, reason = "a test is the edge")]
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A migrated database; the cluster ends with the test run and takes it along.
#[derive(Clone)]
pub struct Database {
    url: String,
    name: String,
}

impl Database {
    pub async fn new() -> Self {
        let database = Self::empty().await;
        migrate(&database.owner_url()).await.unwrap();
        database
    }

    pub async fn empty() -> Self {
        let url = std::env::var("TGP_TEST_POSTGRES")
            .expect("run this with scripts/with-postgres cargo nextest run -p tgp --test store");
        let name = format!("t_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&url).await.unwrap();
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        Self { url, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn url_as(&self, role: &str, database: &str) -> String {
        let (_, rest) = self.url.split_once('@').unwrap();
        let (host, query) = rest.split_once("/postgres?").unwrap();
        format!("postgres://{role}@{host}/{database}?{query}")
    }

    pub fn owner_url(&self) -> String {
        self.url_as("postgres", &self.name)
    }

    pub fn gateway_url(&self) -> String {
        self.url_as("tgp_gateway", &self.name)
    }

    pub fn admission_url(&self) -> String {
        self.url_as("tgp_admission", &self.name)
    }

    pub async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.url_as("postgres", "postgres")).await.unwrap()
    }

    /// Connections that are there stay; no new one is made.
    pub async fn admit_nobody_new(&self) {
        let sql = format!("alter database {} allow_connections false", self.name);
        self.admin().await.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    pub async fn admit_again(&self) {
        let sql = format!("alter database {} allow_connections true", self.name);
        self.admin().await.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    pub async fn owner(&self) -> PgPool {
        Self::pool(&self.owner_url()).await
    }

    /// As the gateway, without a tenant.
    pub async fn gateway(&self) -> PgPool {
        Self::pool(&self.gateway_url()).await
    }

    async fn pool(url: &str) -> PgPool {
        let options: PgConnectOptions = url.parse().unwrap();
        PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
    }

    pub async fn store(&self) -> Store {
        Store::connect(&self.gateway_url()).await.unwrap()
    }

    pub fn admission(&self) -> Admission {
        self.admission_with(0, 600)
    }

    /// Of a gateway whose clock is `ahead` seconds before the database's.
    pub fn admission_with(&self, ahead: i64, live_nonces: u32) -> Admission {
        let clock = Arc::new(move || now() + ahead);
        Admission::start(AdmissionConfig { url: self.admission_url(), live_nonces, clock })
    }
}

pub async fn count(pool: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap()
}

/// A question and what is known, to be decided as often as one likes.
pub struct Asked {
    pub question: Question,
    pub facts: Facts,
}

impl Asked {
    pub fn decide(&self) -> Result<Permit, tgp_policy::Denial> {
        tgp_policy::decide(&self.question, &self.facts, now())
    }

    pub fn permit(&self) -> Permit {
        self.decide().unwrap()
    }
}

/// A tenant with one active agent, one tool with a credential, one grant.
pub struct World {
    pub database: Database,
    pub store: Store,
    pub tenant: Uuid,
    pub agent: Uuid,
    pub tool: String,
    pub grant: Uuid,
}

impl World {
    pub async fn new() -> Self {
        let database = Database::new().await;
        let store = database.store().await;
        Self::within(database, store, tenant::DEFAULT, "mail").await
    }

    /// Fills every table that a tenant can have rows in.
    pub async fn within(database: Database, store: Store, tenant: Uuid, tool: &str) -> Self {
        let agent = Uuid::new_v4();
        let grant = Uuid::new_v4();
        let world = Self { database, store, tenant, agent, tool: tool.to_owned(), grant };
        let mut change = world.store.change(tenant).await.unwrap();
        if tenant != tenant::DEFAULT {
            change.insert_tenant(tool).await.unwrap();
        }
        change.insert_agent(&new_agent(agent, &format!("{tool}-bot"))).await.unwrap();
        change.enrol_agent(agent, &enrolment(agent)).await.unwrap();
        change
            .insert_certificate(&Certificate {
                agent,
                serial: vec![1],
                sha256: vec![2; 32],
                not_before: 0,
                not_after: 1,
                revoked: false,
            })
            .await
            .unwrap();
        change.insert_tool(&new_tool(tool)).await.unwrap();
        change.set_credential(tool, &credential(1)).await.unwrap();
        change.put_grant(&world.new_grant(grant)).await.unwrap();
        assert!(change.insert_verifier_key(Uuid::new_v4(), tool, &digest()).await.unwrap());
        change.insert_dek(Uuid::new_v4(), "record", b"wrapped", &json!({})).await.unwrap();
        change
            .put_operator(&Operator {
                id: Uuid::new_v4(),
                name: Some(Sealed { version: 1, bytes: b"sealed".to_vec() }),
                email: None,
                email_index: None,
            })
            .await
            .unwrap();
        if tenant == tenant::DEFAULT {
            change.record_key("kek.1", b"kcv", &json!({})).await.unwrap();
            let roster = Roster { version: 1, document: json!({}), statements: json!([]) };
            change.insert_roster(&roster).await.unwrap();
        }
        change.commit(&Entry::new(Uuid::new_v4(), Kind::Operator, tenant)).await.unwrap();
        world
    }

    pub fn new_grant(&self, id: Uuid) -> NewGrant {
        NewGrant {
            id,
            agent: self.agent,
            tool: self.tool.clone(),
            resource: resource(&self.tool),
            actions: vec!["send".into()],
            resources: Vec::new(),
            not_before: 0,
            not_after: i64::MAX,
            statement_version: 1,
            statement: json!({}),
            record: b"sealed grant".to_vec(),
            credential: String::new(),
        }
    }

    /// The world's tool with these actions from now on.
    pub async fn replace_actions(&self, change: &mut Change, actions: &[Action]) -> Result<(), StoreError> {
        let version = self.store.tool(self.tenant, &self.tool).await?.unwrap().version;
        let actions: Vec<NewAction> = actions.iter().cloned().map(NewAction::from).collect();
        change.replace_manifest(&self.tool, version, &json!({}), &actions).await
    }

    pub async fn another_agent(&self, handle: &str) -> Uuid {
        let id = Uuid::new_v4();
        let mut change = self.store.change(self.tenant).await.unwrap();
        change.insert_agent(&new_agent(id, handle)).await.unwrap();
        change.enrol_agent(id, &enrolment(id)).await.unwrap();
        change.commit(&self.act()).await.unwrap();
        id
    }

    pub fn act(&self) -> Entry {
        Entry::new(Uuid::new_v4(), Kind::Operator, self.tenant)
    }

    /// A call's entry under a fresh request id.
    pub fn call(&self) -> Entry {
        let mut entry = Entry::new(Uuid::new_v4(), Kind::Call, self.tenant);
        entry.agent = Some(self.agent);
        entry.action = Some("send".into());
        entry.method = Some("POST".into());
        entry.target_sha256 = Some([9; 32]);
        entry.jti = Some(Uuid::new_v4());
        entry
    }

    /// What the real decision makes of what the database holds now.
    pub async fn permit(&self) -> Permit {
        self.decide().await.unwrap()
    }

    pub async fn decide(&self) -> Result<Permit, tgp_policy::Denial> {
        self.facts().await.decide()
    }

    pub async fn facts(&self) -> Asked {
        let agent = self.store.agent(self.tenant, self.agent).await.unwrap().unwrap();
        let tool = self.store.tool(self.tenant, &self.tool).await.unwrap().unwrap();
        let grant = self.store.grant(self.tenant, self.grant).await.unwrap().unwrap();
        let question = Question {
            agent: self.agent,
            principals: Vec::new(),
            tool: self.tool.parse().unwrap(),
            resource: resource(&self.tool),
            actions: vec!["send".parse().unwrap()],
            covered: None,
            resources: Vec::new(),
            touched: None,
        };
        let facts = Facts {
            agent: AgentFact {
                id: agent.id,
                tenant: agent.tenant,
                status: agent.status.as_str().parse().unwrap(),
                version: agent.version,
            },
            principals: Vec::new(),
            tool: Some(ToolFact { slug: tool.slug.parse().unwrap(), tenant: tool.tenant, version: tool.version }),
            grant: (!grant.revoked).then(|| GrantFact {
                id: grant.id,
                version: grant.version,
                tenant: grant.tenant,
                agent: grant.agent,
                tool: grant.tool.parse().unwrap(),
                resource: grant.resource.clone(),
                actions: grant.actions.iter().map(|pattern| pattern.parse().unwrap()).collect(),
                resources: grant.resources.iter().map(|pattern| pattern.parse().unwrap()).collect(),
                not_before: grant.not_before,
                not_after: grant.not_after,
            }),
        };
        Asked { question, facts }
    }

    pub async fn set_status(&self, status: Status) {
        let mut change = self.store.change(self.tenant).await.unwrap();
        change.set_agent_status(self.agent, status).await.unwrap();
        change.commit(&self.act()).await.unwrap();
    }
}

pub fn resource(tool: &str) -> String {
    format!("https://tgp.example/t/{tool}")
}

/// Never used before in this process.
pub fn spend() -> Spend {
    let id = Uuid::new_v4();
    spend_of(id, now())
}

pub fn spend_of(nonce: Uuid, created: i64) -> Spend {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(nonce.as_bytes());
    Spend::request("keyid", digest, created, created + 60)
}

pub fn new_agent(id: Uuid, handle: &str) -> NewAgent {
    NewAgent {
        id,
        handle: handle.into(),
        aan: format!("7284{:012}", id.as_u128() % 1_000_000_000_000),
        invitation: json!({"statement": {}}),
        name: Some(Sealed { version: 1, bytes: b"sealed name".to_vec() }),
        name_index: Some([3; 32]),
        description: None,
    }
}

pub fn enrolment(agent: Uuid) -> Enrolment {
    Enrolment {
        keyid: format!("key-of-{agent}"),
        jwk: json!({"kty": "EC"}),
        record: b"sealed record".to_vec(),
        record_version: 1,
    }
}

/// 32 octets that nobody else has.
pub fn digest() -> [u8; 32] {
    let halves = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
    halves.concat().try_into().unwrap()
}

pub fn new_tool(slug: &str) -> NewTool {
    NewTool {
        slug: slug.into(),
        resource: resource(slug),
        upstream: Sealed { version: 1, bytes: b"sealed upstream".to_vec() },
        allow_private: false,
        manifest: json!({}),
        actions: vec![action("send", "POST", "/messages").into(), action("read", "GET", "/messages/{id}").into()],
    }
}

pub fn action(name: &str, method: &str, template: &str) -> Action {
    Action { name: name.into(), method: method.into(), template: template.into(), stream: false, resource: None }
}

pub fn credential(version: u32) -> Credential {
    Credential {
        name: String::new(),
        kind: "bearer".into(),
        version,
        record: b"sealed credential".to_vec(),
        statement: json!({}),
        created: 0,
    }
}
