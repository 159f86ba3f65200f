//! The loopback listener: is the process there, can it do its work, and how often has it.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tgp_vault_client::wire::{Count, Health, HealthReport};

use super::answer::{content, json as answer_json};
use super::listen::{Answer, Connection};
use super::metrics::Metrics;
use super::problem;
use crate::gateway::Gateway;

const TEXT: &str = "text/plain; charset=utf-8";

pub struct HealthRoutes {
    pub gateway: Arc<Gateway>,
    pub metrics: Arc<Metrics>,
    /// What this process gave up, and what of it this kernel does not know.
    pub sandbox: String,
}

impl Answer for HealthRoutes {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Arc<Connection>) -> Response<Body> {
        let (mut parts, _) = request.into_parts();
        if let Err(refusal) = connection.verdict.check(&mut parts) {
            return content(problem::status(refusal.code), TEXT, refusal.detail + "\n");
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return content(StatusCode::METHOD_NOT_ALLOWED, TEXT, "");
        }
        match parts.uri.path() {
            "/health/live" => answer_json(StatusCode::OK, &json!({ "status": "live" })),
            "/health/ready" => self.ready().await,
            "/metrics" => self.metrics().await,
            _ => content(StatusCode::NOT_FOUND, TEXT, "/health/live, /health/ready, /metrics\n"),
        }
    }
}

impl HealthRoutes {
    /// A known-answer operation in the token, and a question to the database.
    async fn ready(&self) -> Response<Body> {
        let (vault, store) = tokio::join!(self.gateway.vault.ask(Health {}), self.gateway.store.ping());
        let (vault_ok, mode, vault_text) = match &vault {
            Ok(report) => {
                let text = match (report.known_answer, report.state_sound) {
                    (true, true) => "ok",
                    (false, _) => "the known answer is wrong",
                    (true, false) => "its state cannot be written",
                };
                (text == "ok", Some(report.mode.as_str()), text.to_owned())
            }
            Err(error) => (false, None, error.to_string()),
        };
        let store_text = store.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
        let ready = vault_ok && store.is_ok();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let report = json!({
            "status": if ready { "ready" } else { "not ready" },
            "vault": vault_text,
            "store": store_text,
            "listening_for_changes": self.gateway.cache.is_live(),
            "mode": mode,
            "sandbox": { "gateway": self.sandbox, "vault": vault.as_ref().ok().map(|report| &report.sandbox) },
        });
        answer_json(status, &report)
    }

    async fn metrics(&self) -> Response<Body> {
        let report = self.gateway.vault.ask(Health {}).await.ok();
        let calls = report.iter().flat_map(|report| &report.calls);
        let calls: Vec<_> = calls.map(|count| (count.op.clone(), count.ok, count.refused)).collect();
        let text = self.metrics.text(&calls) + &report.map_or_else(String::new, |report| vault_counters(&report));
        content(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }
}

/// What the vault counts beside its calls.
fn vault_counters(report: &HealthReport) -> String {
    let rows = |name: &str, label: &str, counts: &[Count]| -> String {
        let row = |Count { name: value, count }: &Count| format!("{name}{{{label}=\"{value}\"}} {count}\n");
        format!("# TYPE {name} counter\n{}", counts.iter().map(row).collect::<String>())
    };
    rows("tgp_vault_refusals_total", "code", &report.refusals)
        + &rows("tgp_vault_connections_total", "met", &report.connections)
        + &format!("# TYPE tgp_vault_token_logins_total counter\ntgp_vault_token_logins_total {}\n", report.logins)
}
