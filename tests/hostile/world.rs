//! The deployment that a table is tried on: two agents with grants, and the token that good requests go with.

use std::cell::Cell;
use std::sync::OnceLock;

use http::HeaderMap;

use crate::forge::Forge;
use crate::support::{Deployment, Setup};
use crate::wire::{Draft, Reply, TestAgent, Wire};

pub struct World {
    pub deployment: Deployment,
    pub wire: Wire,
    pub agent: TestAgent,
    pub other: TestAgent,
    /// `agent`'s, for `mail:send`.
    pub token: String,
    pub forge: OnceLock<Forge>,
    reading: OnceLock<String>,
    /// Good requests that cases sent beside their own.
    pub spent: Cell<usize>,
}

impl World {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With further configuration: lines of the section `[limits]` first.
    pub fn with(config: &'static str) -> Self {
        let deployment = Deployment::with(Setup { config, ..Setup::default() });
        let agent = deployment.agent("travel-bot");
        deployment.grant("travel-bot", "mail", &["list", "send", "read"]);
        let other = deployment.agent("other-bot");
        deployment.grant("other-bot", "mail", &["*"]);
        let wire = deployment.wire();
        let token = deployment.runtime.block_on(agent.token(&wire, "mail", "send"));
        Self {
            deployment,
            wire,
            agent,
            other,
            token,
            forge: OnceLock::new(),
            reading: OnceLock::new(),
            spent: Cell::new(0),
        }
    }

    /// Requests that reached the tool so far, those that cases sent beside their own left out.
    pub fn seen(&self) -> usize {
        self.deployment.stack.tool().journal().len() - self.spent.get()
    }

    /// A token of `agent` for `mail:list`.
    pub fn list(&self) -> String {
        self.block(self.agent.token(&self.wire, "mail", "list"))
    }

    /// A token of `agent` for `list`, `read` and `send`.
    pub fn reading(&self) -> String {
        let ask = async {
            let scope = "mail:list mail:read mail:send";
            let resource = format!("{}/t/mail", self.wire.issuer);
            let reply = self.agent.ask_with(&self.wire, &self.agent.master_key, scope, &resource).await;
            reply.ok().json()["access_token"].as_str().expect("a token").to_owned()
        };
        self.reading.get_or_init(|| self.block(ask)).clone()
    }

    /// The deployment's own keys, misused.
    pub fn forge(&self) -> &Forge {
        self.forge.get_or_init(|| Forge::of(&self.deployment))
    }

    pub fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.deployment.runtime.block_on(future)
    }

    /// A request before it has fields.
    pub fn draft(&self, method: &str, target: &str) -> Draft {
        Draft { method: method.to_owned(), target: target.to_owned(), headers: HeaderMap::new(), body: Vec::new() }
    }

    /// A plain request as `agent`, or as nobody.
    pub fn plain(
        &self,
        certified: bool,
        method: &str,
        target: &str,
        fields: &[(&'static str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut headers = http::HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_str(value).expect("a header value"));
        }
        let certificate = certified.then_some(&self.agent.certificate);
        self.block(self.wire.send(certificate, method, target, headers, body)).expect("an answer")
    }
}
