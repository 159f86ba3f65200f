//! One tenant never meets another, and nobody at run time can do more than the work needs.

use sqlx::{AssertSqlSafe, Row as _};
use tgp::admission::{Outcome, Unrecorded};
use tgp::store::access_token::Holder;
use tgp::store::agent::Status;
use tgp::store::{Conflict, StoreError};
use uuid::Uuid;

use crate::world::{World, count, credential, new_agent, new_tool, now, spend};

/// Tables that belong to the deployment and not to a tenant, readable to every gateway, and why.
const OF_THE_DEPLOYMENT: [(&str, &str); 2] =
    [("key_record", "labels and public halves"), ("roster", "operators' ids and public keys")];

/// Ours are those that a migration made; the rest is the migrator's.
const TABLES: &str = "select c.relname::text as name, c.relispartition as partition, c.relrowsecurity as secured,
           has_any_column_privilege('tgp_gateway', c.oid, 'select') as readable,
           exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant') as has_tenant
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and c.relname <> '_sqlx_migrations' order by c.relname";

/// Two tenants, a row of each in every table.
async fn two_tenants() -> (World, World) {
    let one = World::new().await;
    let two = World::within(one.database.clone(), one.store.clone(), Uuid::new_v4(), "bank").await;
    for world in [&one, &two] {
        let admission = one.database.admission();
        let entry = world.call();
        let request_id = entry.request_id;
        let jti = Uuid::new_v4();
        let expires = now() + 300;
        let minted = Unrecorded::new((), jti, expires, vec!["send".into()]);
        admission.issue(world.permit().await, minted, entry, Some(spend())).await.unwrap().into_inner();
        let ended = Outcome {
            request_id,
            tenant: world.tenant,
            status: Some(200),
            bytes: 1,
            digest: None,
            error: None,
            masked: 0,
        };
        admission.outcome(ended).await.unwrap();
        admission.unauthenticated("token-missing");
        let mut change = world.store.change(world.tenant).await.unwrap();
        change.revoke_token(jti, world.agent, expires).await.unwrap();
        change.commit(&world.act()).await.unwrap();
        let (tool, credential) = (world.tool.clone(), String::new());
        let holder = Holder { tenant: world.tenant, tool, credential, version: 1 };
        world.store.claim_access_token(&holder, Uuid::new_v4(), std::time::Duration::from_secs(60)).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    (one, two)
}

#[tokio::test]
async fn without_a_tenant_no_table_answers_anything() {
    let (one, _two) = two_tenants().await;
    let (owner, gateway) = (one.database.owner().await, one.database.gateway().await);
    let mut asked = 0;
    for table in sqlx::query(TABLES).fetch_all(&owner).await.unwrap() {
        let name: String = table.get("name");
        assert!(table.get::<bool, _>("secured"), "{name} has no row-level security");
        let all = format!("select count(*) from \"{name}\"");
        if !table.get::<bool, _>("partition") {
            assert_ne!(count(&owner, &all).await, 0, "{name} is empty: it would pass for nothing");
        } else {
            assert!(!table.get::<bool, _>("readable"), "{name} can be read past its parent");
        }
        if OF_THE_DEPLOYMENT.iter().any(|(exempt, _)| *exempt == name) {
            continue;
        }
        match sqlx::query_scalar::<_, i64>(AssertSqlSafe(all)).fetch_one(&gateway).await {
            Ok(rows) => assert_eq!(rows, 0, "{name} answers without a tenant"),
            Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("42501") => {
                assert!(!table.get::<bool, _>("readable"), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
        asked += 1;
    }
    assert!(asked > 15, "only {asked} tables were asked");
}

#[tokio::test]
async fn a_tenant_named_in_an_earlier_transaction_is_forgotten() {
    let world = World::new().await;
    let gateway = world.database.gateway().await;
    let mut connection = gateway.acquire().await.unwrap();
    let mut seen = Vec::new();
    for begin in [format!("begin; select set_config('tgp.tenant', '{}', true)", world.tenant), "begin".into()] {
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await.unwrap();
        seen.push(
            sqlx::query_scalar::<_, i64>("select count(*) from agent").fetch_one(&mut *connection).await.unwrap(),
        );
        sqlx::raw_sql("commit").execute(&mut *connection).await.unwrap();
    }
    assert_eq!(seen, [1, 0]);
}

#[tokio::test]
async fn within_a_tenant_only_its_own_rows_are_there() {
    let (one, two) = two_tenants().await;
    let (owner, gateway) = (one.database.owner().await, one.database.gateway().await);
    for table in sqlx::query(TABLES).fetch_all(&owner).await.unwrap() {
        let (name, readable): (String, bool) = (table.get("name"), table.get("readable"));
        if !readable || !table.get::<bool, _>("has_tenant") {
            continue;
        }
        for (own, other) in [(one.tenant, two.tenant), (two.tenant, one.tenant)] {
            let mut tx = gateway.begin().await.unwrap();
            sqlx::query("select set_config('tgp.tenant', $1, true)")
                .bind(own.to_string())
                .execute(&mut *tx)
                .await
                .unwrap();
            let sql = format!(
                "select count(*) filter (where tenant = '{own}'), count(*) filter (where tenant = '{other}') from \"{name}\""
            );
            let seen: (i64, i64) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap();
            assert!(seen.0 > 0 && seen.1 == 0, "{name} shows {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_tenant_cannot_change_what_belongs_to_another() {
    let (one, two) = two_tenants().await;
    assert!(one.store.agent(two.tenant, one.agent).await.unwrap().is_none());
    assert!(one.store.tool(two.tenant, &one.tool).await.unwrap().is_none());
    assert!(one.store.grant(two.tenant, one.grant).await.unwrap().is_none());

    let mut change = two.store.change(two.tenant).await.unwrap();
    assert!(matches!(change.set_agent_status(one.agent, Status::Frozen).await, Err(StoreError::NotFound)));
    assert!(matches!(change.revoke_grant(one.grant).await, Err(StoreError::NotFound)));
    drop(change);
    // Foreign keys are checked past row-level security: they carry the tenant.
    let mut change = two.store.change(two.tenant).await.unwrap();
    let mut grant = two.new_grant(Uuid::new_v4());
    grant.agent = one.agent;
    let refused = change.put_grant(&grant).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::UnknownAgent))), "{refused:?}");
    drop(change);
    let mut change = two.store.change(two.tenant).await.unwrap();
    let refused = change.set_credential(&one.tool, &credential(9)).await;
    assert!(matches!(refused, Err(StoreError::Bug(_) | StoreError::Conflict(_))), "{refused:?}");
    drop(change);
    // Nor by naming the other in the row.
    let gateway = one.database.gateway().await;
    let mut tx = gateway.begin().await.unwrap();
    sqlx::query("select set_config('tgp.tenant', $1, true)")
        .bind(two.tenant.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    let planted =
        sqlx::query("insert into dek (id, tenant, purpose, wrapped, statement) values ($1, $2, 'record', '', '{}')")
            .bind(Uuid::new_v4())
            .bind(one.tenant)
            .execute(&mut *tx)
            .await;
    assert!(planted.unwrap_err().to_string().contains("row-level security"));
    let agent = one.store.agent(one.tenant, one.agent).await.unwrap().unwrap();
    assert_eq!((agent.status, agent.version), (Status::Active, 2));
}

#[tokio::test]
async fn a_change_cannot_be_recorded_for_another_tenant() {
    let world = World::new().await;
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.insert_tool(&new_tool("calendar")).await.unwrap();
    let mut act = world.act();
    act.tenant = Uuid::new_v4();
    assert!(matches!(change.commit(&act).await, Err(StoreError::Bug(_))));
    assert!(world.store.tool(world.tenant, "calendar").await.unwrap().is_none());
}

#[tokio::test]
async fn the_roles_may_do_what_they_need_and_no_more() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    for role in ["tgp_gateway", "tgp_admission"] {
        let sql = format!(
            "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb from pg_roles where rolname = '{role}'"
        );
        assert!(!sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql)).fetch_one(&owner).await.unwrap(), "{role}");
    }
    let forbidden = [
        ("tgp_gateway", "delete from audit"),
        ("tgp_gateway", "update audit set code = 'allowed'"),
        ("tgp_gateway", "truncate audit"),
        ("tgp_gateway", "delete from agent"),
        ("tgp_gateway", "update agent set version = 1"),
        ("tgp_gateway", "update agent set tenant = gen_random_uuid()"),
        ("tgp_gateway", "update agent set aan = '7284000000000000'"),
        ("tgp_gateway", "update tool set version = 1"),
        ("tgp_gateway", "update \"grant\" set version = 1"),
        (
            "tgp_gateway",
            "insert into aan (number, agent, tenant) values ('7284000000000000', gen_random_uuid(), gen_random_uuid())",
        ),
        ("tgp_gateway", "select * from aan"),
        ("tgp_gateway", "select * from nonce"),
        (
            "tgp_gateway",
            "insert into token (jti, tenant, agent, tool, \"grant\", actions, expires) values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'mail', gen_random_uuid(), '{}', 1)",
        ),
        ("tgp_gateway", "delete from token_revocation"),
        (
            "tgp_gateway",
            "insert into outcome (request, tenant, bytes) values (gen_random_uuid(), gen_random_uuid(), 1)",
        ),
        ("tgp_gateway", "select maintain_partitions_at(now() + interval '1 day')"),
        ("tgp_gateway", "select drop_audit_before('2999-01-01')"),
        ("tgp_gateway", "select make_partition('nonce', 'nonce_1', '1', '2')"),
        ("tgp_gateway", "create table planted ()"),
        ("tgp_gateway", "alter table audit disable row level security"),
        ("tgp_gateway", "delete from key_record"),
        ("tgp_gateway", "delete from verifier_key"),
        ("tgp_gateway", "update verifier_key set digest = ''"),
        ("tgp_gateway", "update verifier_key set tool = 'mail'"),
        ("tgp_admission", "select * from verifier_key"),
        ("tgp_gateway", "update roster set document = '{}'"),
        ("tgp_admission", "select record from agent"),
        ("tgp_admission", "select keyid from agent"),
        ("tgp_admission", "update agent set status = 'active'"),
        ("tgp_admission", "select upstream_sealed from tool"),
        ("tgp_admission", "select record from tool_credential"),
        ("tgp_admission", "select record from access_token"),
        ("tgp_gateway", "delete from access_token"),
        ("tgp_admission", "select wrapped from dek"),
        ("tgp_admission", "select * from audit"),
        ("tgp_admission", "delete from audit"),
        ("tgp_admission", "delete from nonce"),
        ("tgp_admission", "update nonce set bucket = 0"),
        ("tgp_admission", "delete from token_revocation"),
        ("tgp_admission", "select * from token"),
        ("tgp_admission", "select maintain_partitions()"),
        ("tgp_admission", "create table planted ()"),
    ];
    for (role, sql) in forbidden {
        let mut tx = owner.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("set local role {role}"))).execute(&mut *tx).await.unwrap();
        match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await {
            Err(sqlx::Error::Database(refusal)) => {
                assert_eq!(refusal.code().as_deref(), Some("42501"), "{role}: {sql}: {refusal}");
            }
            other => panic!("{role}: {sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_but_the_gateway_may_call_the_functions_that_cross_tenants() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let callable: Vec<(String, String)> = sqlx::query_as(
        "select p.proname::text, r.rolname::text
         from pg_proc p cross join pg_roles r
         where p.pronamespace = 'public'::regnamespace and r.rolname in ('tgp_gateway', 'tgp_admission')
           and has_function_privilege(r.oid, p.oid, 'execute') order by 1, 2",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    let callable: Vec<(&str, &str)> = callable.iter().map(|(function, role)| (&**function, &**role)).collect();
    assert_eq!(
        callable,
        [
            ("current_tenant", "tgp_gateway"),
            ("maintain_partitions", "tgp_gateway"),
            ("revoked_tokens", "tgp_gateway"),
            ("search_actions", "tgp_gateway"),
            ("search_words", "tgp_gateway"),
            ("status_list", "tgp_gateway"),
            ("stopped_agents", "tgp_gateway"),
            ("tenant_of_agent", "tgp_gateway"),
            ("tenant_of_tool", "tgp_gateway"),
            ("verifier_of", "tgp_gateway"),
        ]
    );
}

#[tokio::test]
async fn an_agent_and_a_tool_name_their_tenant() {
    let (one, two) = two_tenants().await;
    assert_eq!(one.store.tenant_of_agent(two.agent).await.unwrap(), Some(two.tenant));
    assert_eq!(one.store.tenant_of_tool(&one.tool).await.unwrap(), Some(one.tenant));
    assert_eq!(one.store.tenant_of_agent(Uuid::new_v4()).await.unwrap(), None);
    let mut change = one.store.change(one.tenant).await.unwrap();
    // A slug is the deployment's: the other tenant's is taken, and the refusal says no more than that.
    let refused = change.insert_tool(&new_tool(&two.tool)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::SlugTaken))), "{refused:?}");
    drop(change);
    let mut change = one.store.change(one.tenant).await.unwrap();
    change.insert_agent(&new_agent(Uuid::new_v4(), "bank-bot")).await.unwrap();
    change.commit(&one.act()).await.unwrap();
}
