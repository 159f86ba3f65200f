//! The catalogue: who asks, for what, and whose tools he gets to see.

use crate::table::{Answer, Case, run};
use crate::world::World;

/// A target below `/v1/tools`. `{cursor}` is one that the catalogue gave, `{long}` 201 letters.
type Target = &'static str;

#[rustfmt::skip]
pub const CASES: &[Case<Target>] = &[
    ("all", "", 200, ""),
    ("a search", "?q=send", 200, ""),
    ("a search for nothing", "?q=", 200, ""),
    ("a search for SQL", "?q=%27%29%3B%20drop%20table%20tool%3B--", 200, ""),
    ("a search in the search's own language", "?q=a%20%26%20%28b%20%7C%20%21c%29%20%3C-%3E%20d%3A%2A", 200, ""),
    ("a search in every script", "?q=%C3%A9%20%E4%BF%A1%20%F0%9F%93%AC", 200, ""),
    ("one page", "?limit=1", 200, ""),
    ("the largest page", "?limit=100", 200, ""),
    ("what comes after", "?limit=1&cursor={cursor}", 200, ""),
    ("a tool", "/mail", 200, ""),
    ("an action", "/mail?action=send", 200, ""),
    ("an action that it does not have", "/mail?action=nothing", 200, ""),
    ("no page", "?limit=0", 400, "request-malformed"),
    ("a page too large", "?limit=101", 400, "request-malformed"),
    ("a page below nothing", "?limit=-1", 400, "request-malformed"),
    ("a page of no number", "?limit=1e1", 400, "request-malformed"),
    ("a page with a sign", "?limit=%2B5%00", 400, "request-malformed"),
    ("a search too long", "?q={long}", 400, "request-malformed"),
    ("a search with control characters", "?q=a%0Ab", 400, "request-malformed"),
    ("a search with NUL", "?q=%00", 400, "request-malformed"),
    ("a search that is not UTF-8", "?q=%ff", 400, "request-malformed"),
    ("a search with a broken escape", "?q=%2", 400, "request-malformed"),
    ("a search without words", "?q=%21%21", 400, "request-malformed"),
    ("a search twice", "?q=a&q=b", 400, "request-malformed"),
    ("a parameter that nobody knows", "?tenant=00000000-0000-4000-8000-000000000001", 400, "request-malformed"),
    ("a parameter without a name", "?=x", 400, "request-malformed"),
    ("an action of no tool", "?action=send", 400, "request-malformed"),
    ("an action of no name", "/mail?action=", 400, "request-malformed"),
    ("an action by a pattern", "/mail?action=*", 400, "request-malformed"),
    ("an action and a search", "/mail?action=send&q=send", 400, "request-malformed"),
    ("an empty cursor", "?cursor=", 400, "request-malformed"),
    ("a cursor that is no base64url", "?cursor=%21", 400, "request-malformed"),
    ("a cursor that is no JSON", "?cursor=AAAA", 400, "request-malformed"),
    ("a cursor of other types", "?cursor=WyJhIiwibWFpbCIsInNlbmQiXQ", 400, "request-malformed"),
    ("a cursor with a huge score", "?cursor=WzFlOTksIm1haWwiLCJzZW5kIl0", 400, "request-malformed"),
    ("a cursor of a tool that is none", "?cursor=WzAsIk1BSUwiLCJzZW5kIl0", 400, "request-malformed"),
    ("a cursor too long", "?cursor={long}{long}", 400, "request-malformed"),
    ("a tool that is not there", "/nothing", 404, "tool-unknown"),
    ("another tenant's tool", "/bank", 404, "tool-unknown"),
    ("another tenant's tool, searched", "/bank?q=rob", 404, "tool-unknown"),
    ("a tool in capitals", "/MAIL", 404, "tool-unknown"),
    ("a tool by its escape", "/m%61il", 404, "tool-unknown"),
    ("a tool by SQL", "/x'%20or%20'1'='1", 404, "tool-unknown"),
    ("a tool of no name", "/", 404, "tool-unknown"),
    ("below a tool", "/mail/actions", 404, "not-found"),
];

fn attempt(world: &World, target: Target) -> Answer {
    let first = || world.plain(true, "GET", "/v1/tools?limit=1", &[], b"").ok().json();
    let mut target = format!("/v1/tools{target}").replace("{long}", &"x".repeat(201));
    if target.contains("{cursor}") {
        target = target.replace("{cursor}", first()["next"].as_str().expect("there is more"));
    }
    let reply = world.plain(true, "GET", &target, &[], b"");
    if reply.status == 200 {
        let text = String::from_utf8_lossy(&reply.body);
        assert!(!text.contains("bank") && !text.contains("robTheVault"), "{target} shows another tenant's: {text}");
        assert!(!text.contains("127.0.0.1"), "{target} shows where a tool is: {text}");
    }
    let mut answer = Answer::of(&reply, true);
    answer.forwarded = false;
    answer
}

#[test]
fn the_catalogue() {
    let world = World::start();
    let tenant = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    world.deployment.sql("postgres", &format!("insert into tenant (id, handle) values ('{tenant}', 'bank')"));
    world.deployment.sql(
        "postgres",
        &format!(
            "insert into tool (slug, tenant, resource, upstream_sealed, upstream_version) values ('bank', '{tenant}', 'x', '', 1);
             insert into tool_action (tenant, tool, name, method, template) values ('{tenant}', 'bank', 'robTheVault', 'GET', '/')"
        ),
    );
    run(&world, CASES, attempt);
}
