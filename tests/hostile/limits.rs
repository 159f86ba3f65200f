//! The limits themselves: failures by caller, live nonces by agent, time for a head and for a body.

use crate::plan::Plan;
use crate::raw::tell;
use crate::table::{Answer, Case, run};
use crate::wire::{Wire, now};
use crate::world::World;

/// What is done first, and what is asked then.
type Limit = fn(&World) -> Answer;

const CONFIG: &str = "failures_per_minute = 20\nlive_nonces = 12\nheader_timeout_s = 1\nbody_timeout_s = 1\n";

#[rustfmt::skip]
pub const CASES: &[Case<Limit>] = &[
    ("half a head, then silence", |w| half(w, b"GET /oauth2/jwks HTTP/1.1\r\nhost: loc"), 0, "nothing came back"),
    ("nothing but silence", |w| half(w, b""), 0, "nothing came back"),
    ("half a body, then silence", half_a_body, 400, "request-malformed"),
    ("half a form, then silence", |w| half(w, &form(w)), 400, "request-malformed"),
    ("more nonces than an agent may have alive", nonces, 429, "rate-limited"),
    ("another agent meanwhile", another_agent, 200, ""),
    ("failures: nobody's request", |w| failed(w, |w| w.anonymous("GET", "/v1/tools")), 429, "rate-limited"),
    ("failures: nobody's, where nobody need be known", |w| failed(w, |w| w.anonymous("GET", "/oauth2/jwks")), 429, "temporarily_unavailable rate-limited"),
    ("failures: a request of the token endpoint", |w| failed(w, |w| w.anonymous("POST", "/oauth2/token")), 429, "temporarily_unavailable rate-limited"),
    ("failures: an agent's good request from the same address", |w| failed(w, another_agent), 200, ""),
    ("failures: of the agent itself", |w| failed_as_agent(w, |w| { let mut plan = Plan::new(w); plan.sign(); unrecorded(plan.send()) }), 429, "rate-limited"),
    ("failures: another agent's", |w| failed_as_agent(w, another_agent), 200, ""),
    ("failures: of agents do not count at the operators' listener", |w| failed(w, operators), 401, "certificate-required"),
];

/// Sends so much and waits for the end.
fn half(world: &World, octets: &[u8]) -> Answer {
    let told = world.block(tell(&world.wire, Some(&world.agent.certificate), octets));
    let mut answer = told.answer(octets.starts_with(b"POST"));
    if let Some(error) = answer.code.strip_prefix("invalid_request ") {
        answer.code = error.to_owned();
    }
    answer
}

fn half_a_body(world: &World) -> Answer {
    let mut plan = Plan::new(world);
    plan.sign();
    let mut octets = b"POST /t/mail/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 27\r\n".to_vec();
    for (name, value) in &plan.fields {
        octets.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    octets.extend(b"\r\n{\"to\"");
    half(world, &octets)
}

fn form(world: &World) -> Vec<u8> {
    let draft = crate::issuance::Ask::new(world).draft();
    let mut octets = b"POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n".to_vec();
    for (name, value) in &draft.headers {
        octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    octets.extend(b"\r\ngrant_type=");
    octets
}

fn nonces(world: &World) -> Answer {
    for _ in 0..12 {
        let mut plan = Plan::new(world);
        plan.use_up();
    }
    let mut plan = Plan::new(world);
    plan.sign();
    plan.send()
}

fn another_agent(world: &World) -> Answer {
    let token = world.block(world.other.token(&world.wire, "mail", "send"));
    let draft = world.other.signed(&world.wire, &token, "POST", "/t/mail/messages", crate::plan::BODY);
    let mut answer = Answer::of(&world.block(world.other.send(&world.wire, &draft)), true);
    answer.status = if answer.status == 201 { 200 } else { answer.status };
    answer
}

/// Fails as often as one may, without a certificate.
fn failed(world: &World, then: fn(&World) -> Answer) -> Answer {
    exhausted(world, |world| world.anonymous("GET", "/v1/tools").status == 401, then)
}

/// Fails as often as an agent may whose certificate says who it is, and nothing that it means what it asks.
fn failed_as_agent(world: &World, then: fn(&World) -> Answer) -> Answer {
    exhausted(world, |world| world.plain(true, "GET", "/t/mail/messages", &[], b"").status == 401, then)
}

/// Fails as often as one may within a minute of the clock, then asks. A minute that ended meanwhile forgave all of it.
fn exhausted(world: &World, fails: fn(&World) -> bool, then: fn(&World) -> Answer) -> Answer {
    loop {
        let minute = now() / 60;
        let mut left = 20;
        while left > 0 && fails(world) {
            left -= 1;
        }
        let answer = then(world);
        if now() / 60 == minute {
            return answer;
        }
    }
}

fn operators(world: &World) -> Answer {
    let wire = Wire { port: world.deployment.stack.ports().operators, ..world.wire.clone() };
    let reply = world.block(wire.send(None, "GET", "/v1/agents", http::HeaderMap::new(), b"")).expect("an answer");
    unrecorded(Answer::of(&reply, false))
}

/// It was turned away before anybody asked who it is.
fn unrecorded(mut answer: Answer) -> Answer {
    answer.recorded = false;
    answer.forwarded = false;
    answer
}

impl World {
    fn anonymous(&self, method: &str, target: &str) -> Answer {
        let reply = self.plain(false, method, target, &[], b"");
        let mut answer = Answer::of(&reply, false);
        if let Some(error) = reply.json()["error"].as_str() {
            answer.code = format!("{error} {}", answer.code);
        }
        answer
    }
}

#[test]
fn limits_hold() {
    run(&World::with(CONFIG), CASES, attempt);
}

fn attempt(world: &World, limit: Limit) -> Answer {
    limit(world)
}
