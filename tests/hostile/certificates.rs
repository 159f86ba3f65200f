//! Who connects: certificates of the wrong kind, time, issuer, agent or tenant, at agents' routes and at operators'. Where
//! the handshake itself fails, the code is the TLS alert's name.

use crate::forge::{Draft, Issuer};
use crate::table::{Answer, Case, run};
use crate::wire::{Certificate, Live, Wire, now};
use crate::world::World;

/// Where the certificate is shown.
#[derive(Clone, Copy)]
pub enum At {
    /// `GET /v1/tools`, for agents.
    Catalogue,
    /// `POST /t/mail/messages`, with a request that is good for `travel-bot`.
    Tool,
    /// `POST /oauth2/token`, with `travel-bot`'s master key.
    Token,
    /// `GET /v1/agents`, of operators.
    Operators,
    /// `GET /oauth2/jwks`, for everybody.
    Keys,
}

type Who = fn(&World) -> Option<Certificate>;

#[rustfmt::skip]
pub const CASES: &[Case<(At, Who)>] = &[
    ("the agent's own", (At::Tool, own), 200, ""),
    ("the agent's own, at the catalogue", (At::Catalogue, own), 200, ""),
    ("the agent's own, at the token endpoint", (At::Token, own), 200, ""),
    ("none, at a tool", (At::Tool, |_| None), 401, "certificate-required"),
    ("none, at the catalogue", (At::Catalogue, |_| None), 401, "certificate-required"),
    ("none, at the token endpoint", (At::Token, |_| None), 401, "invalid_client certificate-required"),
    ("none, at the operators' listener", (At::Operators, |_| None), 401, "certificate-required"),
    ("none, where nobody needs one", (At::Keys, |_| None), 200, ""),
    ("another agent's", (At::Tool, |w| Some(w.other.certificate.clone())), 403, "certificate-mismatch"),
    ("another agent's, at the token endpoint", (At::Token, |w| Some(w.other.certificate.clone())), 401, "invalid_client certificate-mismatch"),
    ("an operator's, at a tool", (At::Tool, operator), 401, "certificate-invalid"),
    ("an operator's, at the catalogue", (At::Catalogue, operator), 401, "certificate-invalid"),
    ("an operator's, at the token endpoint", (At::Token, operator), 401, "invalid_client certificate-invalid"),
    ("an operator's, at the operators' listener", (At::Operators, operator), 200, ""),
    ("an agent's, at the operators' listener", (At::Operators, own), 401, "certificate-invalid"),
    ("expired", (At::Catalogue, |w| made(w, |d| d.validity = (-7200, -3600))), 0, "CertificateExpired"),
    ("not valid yet", (At::Catalogue, |w| made(w, |d| d.validity = (3600, 7200))), 0, "CertificateExpired"),
    ("expired while connected", (At::Catalogue, |w| made(w, |d| d.validity = (-3600, 8))), 401, "certificate-invalid"),
    ("expired while connected, at a tool", (At::Tool, |w| made(w, |d| d.validity = (-3600, 8))), 401, "certificate-invalid"),
    ("of another CA under our CA's name", (At::Catalogue, |w| made(w, |d| d.issuer = Issuer::Foreign)), 0, "DecryptError"),
    ("self-signed with the agent's SPIFFE ID", (At::Catalogue, |w| made(w, |d| d.issuer = Issuer::Itself)), 0, "UnknownCA"),
    ("self-signed, at the operators' listener", (At::Operators, |w| made(w, |d| { d.issuer = Issuer::Itself; d.uris = vec![operator_uri(w)] })), 0, "UnknownCA"),
    ("for servers", (At::Catalogue, |w| made(w, |d| d.server = true)), 0, "UnsupportedCertificate"),
    ("with the CA bit", (At::Catalogue, |w| made(w, |d| d.ca = true)), 0, "CertificateUnknown"),
    ("with two SPIFFE IDs", (At::Catalogue, |w| made(w, |d| d.uris.push(format!("spiffe://tgp-dev.example/agent/{}", w.other.id)))), 401, "certificate-invalid"),
    ("with its SPIFFE ID twice", (At::Catalogue, |w| made(w, |d| d.uris.push(d.uris[0].clone()))), 401, "certificate-invalid"),
    ("with an agent's and an operator's", (At::Operators, |w| made(w, |d| d.uris.push(operator_uri(w)))), 401, "certificate-invalid"),
    ("without a SPIFFE ID", (At::Catalogue, |w| made(w, |d| { d.uris.clear(); d.dns.push("travel-bot".into()) })), 401, "certificate-invalid"),
    ("without any name", (At::Catalogue, |w| made(w, |d| d.uris.clear())), 401, "certificate-invalid"),
    ("with a DNS name beside the SPIFFE ID", (At::Catalogue, |w| made(w, |d| d.dns.push("evil.example".into()))), 200, ""),
    ("of another trust domain", (At::Catalogue, |w| made(w, |d| d.uris[0] = d.uris[0].replace("tgp-dev.example", "evil.example"))), 401, "certificate-invalid"),
    ("of a trust domain in capitals", (At::Catalogue, |w| made(w, |d| d.uris[0] = d.uris[0].replace("tgp-dev.example", "TGP-DEV.EXAMPLE"))), 401, "certificate-invalid"),
    ("of a trust domain with ours in front", (At::Catalogue, |w| made(w, |d| d.uris[0] = d.uris[0].replace("tgp-dev.example", "tgp-dev.example.evil"))), 401, "certificate-invalid"),
    ("of a tool", (At::Catalogue, |w| made(w, |d| d.uris[0] = "spiffe://tgp-dev.example/tool/mail".into())), 401, "certificate-invalid"),
    ("with a longer path", (At::Catalogue, |w| made(w, |d| d.uris[0].push_str("/admin"))), 401, "certificate-invalid"),
    ("with a query", (At::Catalogue, |w| made(w, |d| d.uris[0].push_str("?x"))), 401, "certificate-invalid"),
    ("with https in place of spiffe", (At::Catalogue, |w| made(w, |d| d.uris[0] = d.uris[0].replace("spiffe", "https"))), 401, "certificate-invalid"),
    ("of an agent that does not exist", (At::Catalogue, |w| made(w, |d| d.uris[0] = "spiffe://tgp-dev.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d".into())), 401, "certificate-invalid"),
    ("of an operator that does not exist", (At::Operators, |w| made(w, |d| d.uris[0] = "spiffe://tgp-dev.example/operator/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d".into())), 401, "certificate-invalid"),
    ("of the operator, for a key that is not in the roster", (At::Operators, |w| made(w, |d| d.uris[0] = operator_uri(w))), 401, "certificate-invalid"),
    ("of an agent of another tenant, with a tool of ours", (At::Tool, |w| Some(agent(w, "foreign"))), 403, "certificate-mismatch"),
    ("of an agent of another tenant, asking for a tool of ours", (At::Token, |w| Some(agent(w, "foreign"))), 401, "invalid_client certificate-mismatch"),
    ("of an agent of another tenant, at the catalogue", (At::Catalogue, |w| Some(agent(w, "foreign"))), 200, ""),
    ("of a frozen agent", (At::Catalogue, |w| Some(agent(w, "frozen"))), 403, "agent-frozen"),
    ("of a retired agent", (At::Catalogue, |w| Some(agent(w, "retired"))), 403, "agent-retired"),
];

fn own(world: &World) -> Option<Certificate> {
    Some(world.agent.certificate.clone())
}

fn operator(world: &World) -> Option<Certificate> {
    let directory = world.deployment.path("d/operator");
    Some(Certificate { chain: directory.join("operator.crt"), key: directory.join("operator.key") })
}

fn operator_uri(world: &World) -> String {
    let about = crate::wire::read(&world.deployment.path("d/operator"), "operator.json");
    let about: serde_json::Value = serde_json::from_str(&about).expect("JSON");
    format!("spiffe://tgp-dev.example/operator/{}", about["id"].as_str().expect("an id"))
}

/// As our CA would make one for `travel-bot`, but for the change.
fn made(world: &World, change: impl Fn(&mut Draft)) -> Option<Certificate> {
    let mut draft = Draft {
        issuer: Issuer::Ours,
        uris: vec![format!("spiffe://tgp-dev.example/agent/{}", world.agent.id)],
        dns: Vec::new(),
        validity: (-60, 3600),
        ca: false,
        server: false,
    };
    change(&mut draft);
    Some(world.forge().certificate(&uuid::Uuid::new_v4().to_string(), &draft))
}

/// The certificate of an agent that was made for this table.
fn agent(world: &World, handle: &str) -> Certificate {
    let directory = world.deployment.path(handle);
    Certificate { chain: directory.join("chain.pem"), key: directory.join("tls.key") }
}

fn prepare(world: &World) {
    let deployment = &world.deployment;
    for (handle, verb) in [("frozen", "freeze"), ("retired", "retire")] {
        deployment.agent(handle);
        deployment.operator(&["agent", verb, handle]);
    }
    let tenant = "0198f2c4-6d1e-7c3a-9b52-000000000002";
    deployment.sql("postgres", &format!("insert into tenant (id, handle) values ('{tenant}', 'other')"));
    deployment.operator(&["tenant", "prepare", "--tenant", tenant]);
    deployment.agent_of("foreign", Some(tenant));
}

fn attempt(world: &World, (at, who): (At, Who)) -> Answer {
    let certificate = who(world);
    let wire = match at {
        At::Operators => Wire { port: world.deployment.stack.ports().operators, ..world.wire.clone() },
        _ => world.wire.clone(),
    };
    let draft = match at {
        At::Catalogue => world.draft("GET", "/v1/tools"),
        At::Operators => world.draft("GET", "/v1/agents"),
        At::Keys => world.draft("GET", "/oauth2/jwks"),
        At::Token => crate::issuance::Ask::new(world).draft(),
        At::Tool => world.agent.signed(&world.wire, &world.token, "POST", "/t/mail/messages", crate::plan::BODY),
    };
    let leaf = certificate.as_ref().map(|it| std::fs::read(&it.chain).expect("a chain"));
    let leaf = leaf.map(|pem| tgp_client::Leaf::of_chain(std::str::from_utf8(&pem).expect("PEM")).expect("a leaf"));
    let ends_soon = leaf.as_ref().is_some_and(|leaf| (now()..now() + 60).contains(&leaf.not_after));
    let sent = world.block(async {
        let mut live = Live::open(&wire, certificate.as_ref()).await?;
        if let Some(leaf) = leaf.filter(|_| ends_soon) {
            live.try_send(&world.draft("GET", "/v1/tools")).await?.ok();
            while now() < leaf.not_after {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await; // time has to pass: that is what is tried
            }
        }
        live.try_send(&draft).await
    });
    match sent {
        Ok(reply) => {
            let mut answer = Answer::of(&reply, false);
            if let Some(error) = reply.json()["error"].as_str() {
                answer.code = format!("{error} {}", answer.code);
            }
            if (200..300).contains(&answer.status) {
                answer.status = 200;
            }
            // What is refused for the certificate names nobody; another tenant's records are in its own listing.
            let foreign = certificate.is_some_and(|it| it.chain.starts_with(world.deployment.path("foreign")));
            let named = !answer.code.ends_with("certificate-invalid") && !answer.code.ends_with("certificate-required");
            answer.recorded = matches!(at, At::Catalogue | At::Tool | At::Token) && named && !foreign;
            answer.forwarded = matches!(at, At::Tool);
            answer
        }
        Err(error) => Answer::none(error.rsplit("alert: ").next().unwrap_or_default()),
    }
}

#[test]
fn certificates_and_who_may_show_them() {
    let world = World::start();
    prepare(&world);
    run(&world, CASES, attempt);
}
