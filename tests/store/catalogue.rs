//! The catalogue's search: what fits best comes first, slips of the pen are forgiven, and no tenant sees another's tools.

use serde_json::json;
use tgp::store::catalogue::{Position, Wanted};
use tgp::store::tool::NewAction;
use uuid::Uuid;

use crate::world::{World, action, new_tool};

fn told(name: &str, path: &str, title: &str, description: &str) -> NewAction {
    let request = Some(json!({ "parameters": [] }));
    NewAction { action: action(name, "GET", path), title: title.into(), description: description.into(), request }
}

/// A tool for bills beside the world's own for mail.
async fn bills(world: &World, slug: &str) {
    let mut tool = new_tool(slug);
    tool.manifest = json!({ "title": "Accounting of the house" });
    tool.actions = vec![
        told("createInvoice", "/invoices", "Make an invoice", "For one customer."),
        told("invoices.list", "/invoices/all", "", "All of them."),
        told("refund-payment", "/refunds", "Give money back", "Marks the invoice too."),
        told("getReceipt", "/receipts/{id}", "", "What a customer gets for a payment."),
    ];
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.insert_tool(&tool).await.unwrap();
    change.commit(&world.act()).await.unwrap();
}

async fn found(world: &World, tenant: Uuid, question: &str) -> Vec<String> {
    let wanted = Wanted { question: Some(question), most: 20, ..Wanted::default() };
    let (found, tools) = world.store.catalogue(tenant, &wanted).await.unwrap();
    for one in &found {
        assert!(tools.iter().any(|tool| tool.slug == one.tool), "{one:?} has no tool");
        assert!(one.request.is_none(), "schemas come with one tool alone");
    }
    found.into_iter().map(|found| format!("{}:{}", found.tool, found.name)).collect()
}

#[tokio::test]
async fn names_go_before_titles_titles_before_descriptions_and_slips_come_last() {
    let world = World::new().await;
    bills(&world, "bills").await;
    let search = async |question: &str| found(&world, world.tenant, question).await;
    assert_eq!(
        search("invoice").await,
        ["bills:invoices.list", "bills:createInvoice", "bills:refund-payment"],
        "two names, the shorter first, then a description"
    );
    assert_eq!(search("create invoices").await, ["bills:createInvoice"], "words of a name, in any form");
    assert_eq!(search("customer payment").await, ["bills:getReceipt"], "all words");
    assert_eq!(search("createInvoice").await[0], "bills:createInvoice", "the name itself");
    assert_eq!(search("refund_payment").await[0], "bills:refund-payment");
    for slip in ["recept", "reciept", "receip", "get reciept"] {
        assert_eq!(search(slip).await, ["bills:getReceipt"], "{slip}");
    }
    assert_eq!(search("creat invioce").await, ["bills:createInvoice"]);
    assert_eq!(search("accounting").await.len(), 4, "the tool's own title");
    assert_eq!(search("send").await, ["mail:send"]);
    for nothing in ["elephant", "the", "invoice elephant", "' or 1=1 --", "& | ! <->"] {
        assert_eq!(search(nothing).await, Vec::<String>::new(), "{nothing}");
    }
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repetition() {
    let world = World::new().await;
    bills(&world, "bills").await;
    for question in [Some("payment of customer invoice or anything"), Some("invoice"), None] {
        let whole = Wanted { question, most: 100, ..Wanted::default() };
        let (whole, _) = world.store.catalogue(world.tenant, &whole).await.unwrap();
        let (mut after, mut paged) = (None, Vec::new());
        loop {
            let wanted = Wanted { question, after: after.clone(), most: 1, ..Wanted::default() };
            let (page, _) = world.store.catalogue(world.tenant, &wanted).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(Position { score: last.score, tool: last.tool.clone(), name: last.name.clone() });
            paged.extend(page);
        }
        let names = |list: &[tgp::store::catalogue::Found]| list.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&paged), names(&whole), "{question:?}");
    }
    let one = Wanted { tool: Some("bills"), action: Some("getReceipt"), most: 1, ..Wanted::default() };
    let (one, tools) = world.store.catalogue(world.tenant, &one).await.unwrap();
    assert_eq!((one[0].name.as_str(), one[0].request.is_some(), tools[0].ready), ("getReceipt", true, false));
}

#[tokio::test]
async fn a_manifest_that_was_replaced_is_found_by_its_new_words_alone_and_counts_as_one_change() {
    let world = World::new().await;
    let version = world.store.tool(world.tenant, "mail").await.unwrap().unwrap().version;
    let mut change = world.store.change(world.tenant).await.unwrap();
    let actions = [told("forwardLetter", "/letters", "", ""), told("burnLetter", "/fire", "", "")];
    change.replace_manifest("mail", version, &json!({}), &actions).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    assert_eq!(found(&world, world.tenant, "letter").await, ["mail:burnLetter", "mail:forwardLetter"]);
    assert_eq!(found(&world, world.tenant, "send").await, Vec::<String>::new());
    let after = world.store.tool(world.tenant, "mail").await.unwrap().unwrap().version;
    assert!((version + 1..=version + 3).contains(&after), "{version} became {after}");
    let mut change = world.store.change(world.tenant).await.unwrap();
    let stale = change.replace_manifest("mail", version, &json!({}), &actions).await;
    assert!(matches!(stale, Err(tgp::store::StoreError::Conflict(tgp::store::Conflict::ToolChanged))), "{stale:?}");
}

#[tokio::test]
async fn a_search_finds_nothing_of_another_tenant() {
    let world = World::new().await;
    let other = World::within(world.database.clone(), world.store.clone(), Uuid::new_v4(), "bank").await;
    bills(&other, "bills").await;
    for question in ["invoice", "reciept", "send", "accounting"] {
        let own = found(&world, world.tenant, question).await;
        assert!(own.iter().all(|name| name.starts_with("mail:")), "{question}: {own:?}");
        assert!(found(&world, other.tenant, question).await.iter().all(|name| !name.starts_with("mail:")));
    }
    assert_eq!(found(&world, Uuid::new_v4(), "invoice").await, Vec::<String>::new());
    let named = Wanted { tool: Some("bills"), most: 10, ..Wanted::default() };
    let (found, tools) = world.store.catalogue(world.tenant, &named).await.unwrap();
    assert!(found.is_empty() && tools.is_empty());
    // Asked without a tenant, the function that runs as the owner knows none.
    let rows: i64 = sqlx::query_scalar("select count(*) from search_actions('invoice', null, null, null, null, 10)")
        .fetch_one(&world.database.gateway().await)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}
