//! The load that goes on while things break: tokens, calls, and every so often a call once more, byte for byte. What was
//! answered is written down, to be compared with the records afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use tokio::task::JoinSet;

use crate::Failure;
use crate::agent::{LoadAgent, Work};
use crate::connection::{Connection, Protocol};

/// A caller gives up after this; the gateway's own deadlines are shorter.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two requests of one caller.
const PACE: Duration = Duration::from_millis(10);

/// An answer that was given.
#[derive(Clone, Debug)]
pub struct Answer {
    pub request_id: String,
    pub kind: Kind,
    pub status: u16,
    pub code: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Token,
    Call,
    Replay,
}

/// All that callers saw.
#[derive(Default)]
pub struct Ledger {
    answers: Mutex<Vec<Answer>>,
    seen: Mutex<BTreeMap<String, u64>>,
    /// The last moment that something went wrong for anybody.
    pub last_trouble: Mutex<Option<Instant>>,
    numbers: AtomicU64,
}

impl Ledger {
    pub fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What callers saw since the last time this was asked, by kind of answer.
    pub fn take_seen(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, what: &str, trouble: bool) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += 1;
        if trouble {
            *self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    fn answered(&self, answer: Answer) {
        let expected = match answer.kind {
            Kind::Token | Kind::Call => answer.status == 200,
            Kind::Replay => answer.code == "signature-replayed",
        };
        let what = if answer.code.is_empty() {
            format!("{} {:?}", answer.status, answer.kind).to_lowercase()
        } else {
            format!("{} {}", answer.status, answer.code)
        };
        self.note(&what, !expected);
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }
}

/// Callers at work, until dropped or stopped.
pub struct Traffic {
    pub ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Traffic {
    /// One caller for each agent, alternately on HTTP/1.1 and HTTP/2.
    pub fn start(agents: &[Arc<LoadAgent>]) -> Self {
        let (ledger, stop) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for (n, agent) in agents.iter().enumerate() {
            let protocol = if n % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            tasks.spawn(caller(Arc::clone(agent), protocol, Arc::clone(&ledger), Arc::clone(&stop)));
        }
        Self { ledger, stop, tasks }
    }

    pub async fn stop(mut self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.ledger
    }
}

async fn caller(agent: Arc<LoadAgent>, protocol: Protocol, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    let mut connection = None;
    let mut last_call = None;
    for turn in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(PACE).await;
        let mut live = match connection.take() {
            Some(live) => live,
            None => match tokio::time::timeout(PATIENCE, agent.connect(protocol)).await {
                Ok(Ok(live)) => live,
                Ok(Err(_)) => {
                    ledger.note("no connection", true);
                    continue;
                }
                Err(_) => {
                    ledger.note("no connection in time", true);
                    continue;
                }
            },
        };
        let (kind, request) = if turn % 10 == 0 || !agent.has_token() {
            (Kind::Token, agent.request(Work::ProbeToken, protocol))
        } else if turn % 7 == 3 && last_call.is_some() {
            (Kind::Replay, agent.again(last_call.as_ref().expect("looked at"), protocol))
        } else {
            let number = ledger.numbers.fetch_add(1, Ordering::Relaxed);
            (Kind::Call, agent.probe(&format!("{}-{number}", agent.id), protocol))
        };
        let Ok(request) = request else {
            ledger.note("not sent", true);
            continue;
        };
        let copy = Sent { uri: request.uri().clone(), headers: request.headers().clone() };
        match exchange(&mut live, request).await {
            Ok((answer, body)) => {
                let answer = Answer { kind, ..answer };
                if kind == Kind::Token && answer.status == 200 {
                    agent.keep_token(&body);
                }
                // Only what was acknowledged must be refused the second time: what got lost may never have arrived.
                if kind == Kind::Call && answer.status == 200 {
                    last_call = Some(copy);
                }
                if kind == Kind::Replay {
                    last_call = None;
                }
                if answer.code == "token-invalid" {
                    agent.forget_token();
                }
                ledger.answered(answer);
                connection = Some(live);
            }
            Err(what) => ledger.note(what, true),
        }
    }
}

/// A request that went out, to be sent again.
pub struct Sent {
    pub uri: http::Uri,
    pub headers: HeaderMap,
}

async fn exchange(connection: &mut Connection, request: Request<Full<Bytes>>) -> Result<(Answer, Bytes), &'static str> {
    let answered = tokio::time::timeout(PATIENCE, connection.exchange(request)).await;
    let (status, headers, body) = match answered {
        Err(_) => return Err("no answer in time"),
        Ok(Err(_)) => return Err("connection lost"),
        Ok(Ok(whole)) => whole,
    };
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = json.get("code").or_else(|| json.get("tgp_code")).and_then(serde_json::Value::as_str);
    let request_id = headers.get("tgp-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let answer =
        Answer { request_id, kind: Kind::Call, status: status.as_u16(), code: code.unwrap_or_default().to_owned() };
    Ok((answer, body))
}

/// Opens a connection of its own, takes a token and makes a call: whether the deployment works at this moment.
pub async fn works(agent: &LoadAgent, number: &str) -> Result<(), Failure> {
    let mut connection = agent.connect(Protocol::Http1).await?;
    let (answer, body) = exchange(&mut connection, agent.request(Work::ProbeToken, Protocol::Http1)?).await?;
    if answer.status != 200 {
        return Err(answer.code.into());
    }
    agent.keep_token(&body);
    let (answer, _) = exchange(&mut connection, agent.probe(number, Protocol::Http1)?).await?;
    if answer.status == 200 { Ok(()) } else { Err(answer.code.into()) }
}
