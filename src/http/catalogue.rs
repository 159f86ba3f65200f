//! The catalogue: `GET /v1/tools`, `/v1/tools/<slug>`. All tools of the agent's tenant, as their manifests tell of them, and for
//! each action whether one of the agent's grants covers it, or what scope it would have to ask for. What an agent may see here
//! is no permission: each call is decided by itself.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use tgp_policy::ActionPattern;
use tgp_request::name::{ActionName, Slug};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::agents::{AgentRoutes, Exchange};
use super::answer::{json as answer_json, path_and_query, query};
use crate::admission::{Entry, Kind};
use crate::manifest::About as Told;
use crate::refusal::{Advice, Code, Refusal};
use crate::store::agent::{Agent, Status};
use crate::store::catalogue::{About, Found, Position, Wanted};
use crate::store::grant::Grant;
use crate::verify::Denied;
use crate::verify::denied::not_admitted;

const PAGE: u16 = 20;
const LARGEST_PAGE: u16 = 100;
const LONGEST_QUESTION: usize = 200;
const LONGEST_CURSOR: usize = 400;
/// A question may look at a hundred thousand actions: so many are asked at a time, and so long one waits for its turn.
const TURNS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose question the store is answering: no agent that floods it takes the store from those who call.
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(TURNS))
    }
}

impl Turns {
    async fn take(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Refusal> {
        let busy = || {
            Refusal::new(Code::StoreUnavailable, "the catalogue is being asked too much; try again later")
                .advise(Advice::RetryAfter(5))
        };
        match tokio::time::timeout(patience, self.0.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }
}

impl AgentRoutes {
    pub(super) async fn catalogue(&self, exchange: Exchange, slug: Option<&str>) -> Result<Response<Body>, Denied> {
        let gateway = &self.gateway;
        let agent = self.certified(&exchange).await?;
        let entry = Entry {
            agent: Some(agent.id),
            method: Some(exchange.parts.method.to_string()),
            tool: slug.map(|slug| slug.chars().take(63).collect()),
            ..Entry::new(exchange.request_id, Kind::Catalogue, agent.tenant)
        };
        let denied = |refusal: Refusal| Denied::row(&entry, refusal);
        active(&agent).map_err(denied)?;
        let search = Search::parse(path_and_query(&exchange.parts), slug).map_err(denied)?;
        let wanted = search.wanted(slug);
        let turn = self.turns.take(PATIENCE).await.map_err(|refusal| Denied::early(&entry, refusal))?;
        let page = gateway.store.catalogue(agent.tenant, &wanted).await.map_err(|error| denied(error.into()))?;
        let grants =
            gateway.store.grants(agent.tenant, Some(agent.id), slug).await.map_err(|error| denied(error.into()))?;
        drop(turn);
        let reply = shown(gateway.config.issuer.as_str(), page, &grants, &wanted, gateway.now());
        let reply = reply.map_err(|error| denied(Refusal::internal(&error)))?;
        let reply = match slug {
            None => reply,
            Some(slug) => one(reply)
                .ok_or_else(|| denied(Refusal::new(Code::ToolUnknown, format!("there is no tool {slug:.63}"))))?,
        };
        let recorded = gateway.admission.admit_agent(agent.id, entry.clone(), None).await;
        recorded.map_err(not_admitted)?.into_inner();
        Ok(answer_json(StatusCode::OK, &reply))
    }
}

fn active(agent: &Agent) -> Result<(), Refusal> {
    match agent.status {
        Status::Active => Ok(()),
        Status::Retired => Err(Refusal::new(Code::AgentRetired, "the agent is retired")),
        Status::Frozen | Status::Invited => {
            Err(Refusal::new(Code::AgentFrozen, "the agent is frozen; ask its operator"))
        }
    }
}

/// `?q=&limit=&cursor=`, and for one tool `?action=`.
struct Search {
    question: Option<String>,
    action: Option<String>,
    after: Option<Position>,
    most: u16,
}

impl Search {
    fn parse(path_and_query: &str, slug: Option<&str>) -> Result<Self, Refusal> {
        let malformed = |detail: &str| Refusal::new(Code::RequestMalformed, detail);
        let mut search = Self { question: None, action: None, after: None, most: PAGE };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in query(path_and_query)? {
            if seen.contains(&name) {
                return Err(malformed("send each parameter of the query once"));
            }
            match name.as_str() {
                "q" => search.question = question(&value)?,
                "limit" => {
                    let number = value.parse().ok().filter(|number| (1..=LARGEST_PAGE).contains(number));
                    search.most = number.ok_or_else(|| malformed("limit is a number from 1 to 100"))?;
                }
                "cursor" => {
                    search.after = Some(cursor(&value).ok_or_else(|| malformed("cursor is what `next` was"))?);
                }
                "action" if slug.is_some() => {
                    let name: Result<ActionName, _> = value.parse();
                    search.action = Some(name.map_err(|error| malformed(&error.to_string()))?.to_string());
                }
                _ => return Err(malformed("the query takes q, limit and cursor, and for one tool action")),
            }
            seen.push(name);
        }
        if search.question.is_some() && search.action.is_some() {
            return Err(malformed("ask for an action by its name, or with q"));
        }
        Ok(search)
    }

    fn wanted<'w>(&'w self, slug: Option<&'w str>) -> Wanted<'w> {
        let Self { question, action, after, most } = self;
        let (question, action) = (question.as_deref(), action.as_deref());
        Wanted { question, tool: slug, action, after: after.clone(), most: *most }
    }
}

/// Words, or nothing where none were sent.
fn question(text: &str) -> Result<Option<String>, Refusal> {
    let malformed = |detail: &str| Err(Refusal::new(Code::RequestMalformed, detail));
    if text.chars().count() > LONGEST_QUESTION {
        return malformed("q has at most 200 characters");
    }
    if text.chars().any(char::is_control) {
        return malformed("q holds control characters");
    }
    if text.trim().is_empty() {
        return Ok(None);
    }
    if !text.chars().any(char::is_alphanumeric) {
        return malformed("q is words");
    }
    Ok(Some(text.to_owned()))
}

fn cursor(text: &str) -> Option<Position> {
    let octets = (text.len() <= LONGEST_CURSOR).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
    let (score, tool, name): (i32, Slug, ActionName) = serde_json::from_slice(&octets).ok()?;
    Some(Position { score, tool: tool.to_string(), name: name.to_string() })
}

/// `{tools, next}`: each tool once, where its best action stands.
fn shown(
    issuer: &str,
    (found, about): (Vec<Found>, Vec<About>),
    grants: &[Grant],
    wanted: &Wanted<'_>,
    now: i64,
) -> Result<Value, serde_json::Error> {
    let next = found.last().filter(|_| found.len() == usize::from(wanted.most)).map(|last| {
        let position = json!([last.score, last.tool, last.name]);
        URL_SAFE_NO_PAD.encode(position.to_string())
    });
    let mut tools: Vec<(String, Value)> = Vec::new();
    for about in &about {
        let own = grants.iter().filter(|grant| grant.tool == about.slug && !grant.revoked && now < grant.not_after);
        tools.push((about.slug.clone(), tool(issuer, about, own)?));
    }
    // In the order of what was found; a tool of which nothing was found comes last.
    let place = |slug: &String| found.iter().position(|found| found.tool == *slug).unwrap_or(usize::MAX);
    tools.sort_by_key(|(slug, _)| place(slug));
    for action in found {
        let Some((_, tool)) = tools.iter_mut().find(|(slug, _)| *slug == action.tool) else { continue };
        let until = granted_until(&action, tool["resource"].as_str(), grants, now);
        if let Some(actions) = tool["actions"].as_array_mut() {
            actions.push(entry(action, until));
        }
    }
    let tools: Vec<Value> = tools.into_iter().map(|(_, tool)| tool).collect();
    Ok(match next {
        Some(next) => json!({ "tools": tools, "next": next }),
        None => json!({ "tools": tools }),
    })
}

/// The one tool of a reply, with `next` beside its own members.
fn one(reply: Value) -> Option<Value> {
    let Value::Object(mut reply) = reply else { return None };
    let mut tool = match reply.remove("tools") {
        Some(Value::Array(tools)) => tools.into_iter().next()?,
        _ => return None,
    };
    if let Some(next) = reply.remove("next") {
        tool["next"] = next;
    }
    Some(tool)
}

fn tool<'g>(issuer: &str, about: &About, grants: impl Iterator<Item = &'g Grant>) -> Result<Value, serde_json::Error> {
    let About { slug, resource, manifest, ready } = about;
    let asks = *resource != format!("{issuer}/t/{slug}");
    let Told { kind, title, description, public_hosts, headers } = Told::deserialize(manifest)?;
    Ok(json!({
        "slug": slug,
        "resource": resource,
        "kind": kind,
        "title": title,
        "description": description,
        "public_hosts": public_hosts,
        "headers": headers,
        // A tool that asks by itself needs nothing of ours.
        "ready": *ready || asks,
        // What the token endpoint takes, but for the actions.
        "authorization": { "type": "tgp_tool", "identifier": slug, "locations": [resource] },
        "grants": grants.map(|grant| json!({
            "grant": grant.id,
            "actions": grant.actions,
            "resources": grant.resources,
            "not_before": grant.not_before,
            "not_after": grant.not_after,
        })).collect::<Vec<_>>(),
        "actions": [],
    }))
}

fn entry(found: Found, granted_until: Option<i64>) -> Value {
    let Found { tool, name, score: _, method, template, resource, stream, title, description, request } = found;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("scope", json!(format!("{tool}:{name}")));
    put("name", json!(name));
    put("method", json!(method));
    put("path", json!(template));
    for (name, text) in [("resource", resource.unwrap_or_default()), ("title", title), ("description", description)] {
        if !text.is_empty() {
            put(name, json!(text));
        }
    }
    if stream {
        put("stream", json!(true));
    }
    if let Some(request) = request {
        put("request", request);
    }
    if let Some(end) = granted_until {
        put("granted_until", json!(end));
    }
    Value::Object(members)
}

/// The latest end of the agent's grants that cover the action now, for all of the tool's resources or for some.
fn granted_until(action: &Found, resource: Option<&str>, grants: &[Grant], now: i64) -> Option<i64> {
    let name: ActionName = action.name.parse().ok()?;
    let covers = |grant: &&Grant| {
        grant.tool == action.tool
            && Some(grant.resource.as_str()) == resource
            && !grant.revoked
            && (grant.not_before..grant.not_after).contains(&now)
            // Of what the action touches perhaps some alone; which, its grant tells.
            && (grant.resources.is_empty() || action.resource.is_some())
            && grant.actions.iter().any(|text| text.parse().is_ok_and(|pattern: ActionPattern| pattern.covers(&name)))
    };
    grants.iter().filter(covers).map(|grant| grant.not_after).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str, slug: Option<&str>) -> Result<Search, Code> {
        Search::parse(&format!("/v1/tools{query}"), slug).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_search_is_within_its_bounds_or_refused() {
        let search = parsed("?q=create%20invoice&limit=100", None).expect("a search");
        assert_eq!((search.question.as_deref(), search.most), (Some("create invoice"), 100));
        assert_eq!(parsed("?q=%20", None).expect("all").question, None);
        assert_eq!(parsed("?action=send", Some("mail")).expect("one").action.as_deref(), Some("send"));
        let long = format!("?q={}", "x".repeat(201));
        for bad in [
            "?limit=0",
            "?limit=101",
            "?limit=x",
            "?q=a&q=b",
            "?q=%0a",
            "?q=---",
            "?x=1",
            "?action=send",
            "?cursor=",
            "?cursor=AAAA",
            "?q=%zz",
            &long,
        ] {
            assert_eq!(parsed(bad, None).err(), Some(Code::RequestMalformed), "{bad}");
        }
        assert_eq!(parsed("?action=a%20b", Some("mail")).err(), Some(Code::RequestMalformed));
        assert_eq!(parsed("?action=a&q=b", Some("mail")).err(), Some(Code::RequestMalformed));
    }

    #[tokio::test]
    async fn who_gets_no_turn_is_told_to_come_again_and_a_turn_that_ends_is_the_nexts() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..TURNS {
            taken.push(turns.take(PATIENCE).await.expect("a turn"));
        }
        assert_eq!(turns.take(Duration::ZERO).await.err().map(|refusal| refusal.code), Some(Code::StoreUnavailable));
        let (next, _) = tokio::join!(turns.take(PATIENCE), async { drop(taken.pop()) });
        assert!(next.is_ok());
    }

    #[test]
    fn a_cursor_is_a_place_and_nothing_else() {
        let text = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let place = Position { score: -1, tool: "mail".into(), name: "send".into() };
        assert_eq!(cursor(&text(json!([-1, "mail", "send"]))), Some(place));
        for bad in [
            json!([1, "Mail", "send"]),
            json!([1, "mail", "se nd"]),
            json!([1e9 * 10.0, "mail", "send"]),
            json!(["1", "mail", "send"]),
            json!([1, "mail", "send", 2]),
            json!({ "score": 1 }),
        ] {
            assert_eq!(cursor(&text(bad.clone())), None, "{bad}");
        }
    }
}
