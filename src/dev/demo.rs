//! `tgp demo`: the whole flow in a temporary directory, told as it goes. Ends well only if each step did exactly what
//! it says, the refusals included.

use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::{ExposeSecret as _, SecretString};
use tgp_client::{Agent, AgentDir, ClientIdentity, Transport, Trust, unix_now};
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};
use tokio::runtime::Runtime;

use super::{DevError, Ports, Stack, StackOptions};

/// What `tgp demo` is asked for.
#[derive(Default)]
pub struct DemoOptions {
    /// Keeps the directory.
    pub keep: bool,
}

/// Short enough to wait for its end at the end.
const TOKEN_LIFETIME_S: u32 = 12;
const MESSAGE: &str = r#"{"to":"ada","text":"hello"}"#;

/// Runs the demonstration.
pub fn demo(options: DemoOptions) -> Result<(), DevError> {
    let directory = Scratch::new(options.keep)?;
    let runtime = Runtime::new().map_err(|e| DevError::start("runtime", e))?;
    say("TGP, start to end, on this machine alone: NOT PRODUCTION, the token is software");
    say(&format!("starting PostgreSQL, token, vault, gateway and a sample tool in {}", directory.path.display()));
    let stack =
        StackOptions::new(directory.path.join("stack")).ports(Ports::free()?).token_lifetime_s(TOKEN_LIFETIME_S);
    let stack = Stack::start(stack, &runtime)?;
    let demo = Demo { stack, runtime, directory: directory.path.clone() };
    let outcome = demo.run();
    if outcome.is_ok() {
        say("\nall of it went exactly so; the directory is removed");
    }
    outcome
}

struct Demo {
    stack: Stack,
    runtime: Runtime,
    directory: PathBuf,
}

/// A reply, read whole.
struct Answer {
    status: u16,
    code: String,
    text: String,
    headers: HeaderMap,
}

/// An agent and what it has in hand, so that requests can be bent.
struct Hand {
    home: PathBuf,
    agent: Agent,
    identity: IdentitySecret,
    transport: Transport,
}

impl Demo {
    fn run(&self) -> Result<(), DevError> {
        let secret = std::fs::read_to_string(self.stack.layout().path("sample-tool.secret"));
        let secret = SecretString::from(secret.map_err(|e| DevError::file(&self.directory, e))?);
        self.prepare()?;
        let hand = self.enrol("travel-bot")?;
        let other = self.enrol("other-bot")?;
        self.grant()?;
        self.call(&hand, &secret)?;
        self.refusals(&hand, &other)
    }

    fn prepare(&self) -> Result<(), DevError> {
        step(
            1,
            "a tool",
            "an operator registers the sample tool; its credential is sealed and write-only from here on",
        );
        self.stack.prepare_sample_tool()?;
        shell("tgp tool add mail --action 'send=POST /messages' …; tgp tool credential mail --bearer --secret-file …");
        done(
            "the vault keeps the credential only because a granter's key signed for exactly this tool and its origins",
        );
        Ok(())
    }

    fn enrol(&self, handle: &'static str) -> Result<Hand, DevError> {
        let (code, home) = (self.directory.join(format!("{handle}.code")), self.directory.join(handle));
        if handle == "travel-bot" {
            step(
                2,
                "invite and enrol",
                "an inviter signs an invitation; the agent makes its own two key pairs and proves them",
            );
        }
        self.stack.operator(&["agent", "create", handle, "--code-file", &code.display().to_string()])?;
        shell(&format!("tgp agent create {handle} --code-file {handle}.code"));
        let url = format!("https://localhost:{}", self.stack.ports().gateway);
        let tgp = self.stack.layout().path("bin/tgp");
        let (code, home_text) = (code.display().to_string(), home.display().to_string());
        let args = ["enrol", "--code-file", &code, "--url", &url, "--dir", &home_text];
        super::process::run("tgp enrol", Command::new(tgp).args(args))?;
        shell(&format!("tgp enrol --code-file {handle}.code --url {url} --dir {handle}"));
        let problem = |e: tgp_client::ClientError| failed("enrol", e.to_string());
        let (dir, _) = AgentDir::open(&home).map_err(problem)?;
        let agent = Agent::load(&home).map_err(problem)?;
        let tls = dir.tls_key().map_err(problem)?;
        let identity = ClientIdentity::from_pem(&dir.chain().map_err(problem)?, &tls.expose_pem()).map_err(problem)?;
        let trust = Trust::Bundle(dir.ca().map_err(problem)?);
        let transport = Transport::new(agent.issuer().clone(), &trust, Some(identity)).map_err(problem)?;
        done(&format!("{handle} is agent {}, AAN {}", agent.id(), agent.aan().grouped()));
        Ok(Hand { home, agent, identity: dir.identity().map_err(problem)?, transport })
    }

    fn grant(&self) -> Result<(), DevError> {
        step(3, "grant", "a granter signs: this agent, this tool, these actions; without it the vault mints no token");
        for (agent, actions) in [("travel-bot", &["send"][..]), ("other-bot", &["send", "list"])] {
            let mut args = vec!["grant", "add", agent, "mail"];
            actions.iter().for_each(|action| args.extend(["--action", action]));
            self.stack.operator(&args)?;
            shell(&format!("tgp {}", args.join(" ")));
        }
        done("signed on the operator's machine, checked in the vault, sealed in the database");
        Ok(())
    }

    fn call(&self, hand: &Hand, secret: &SecretString) -> Result<(), DevError> {
        step(
            4,
            "token and signed call",
            "a token for mail:send alone, bound to the agent's key; each request is signed",
        );
        let token = self.token(hand)?;
        shell("tgp token --agent travel-bot mail send");
        done(&format!(
            "an ES256 token of {} bytes, good for {TOKEN_LIFETIME_S} seconds, signed inside the token",
            token.len()
        ));
        let answer = self.send(
            hand,
            "POST",
            "/t/mail/messages",
            MESSAGE,
            &self.signed(hand, &token, "POST", "/t/mail/messages", MESSAGE)?,
        )?;
        shell(&format!("tgp call --agent travel-bot mail send -d '{MESSAGE}'"));
        expect("call", answer.status == 201, || format!("{} {}", answer.status, answer.text))?;
        done(&format!("{} {}", answer.status, answer.text.trim()));

        step(5, "who saw the credential", "the tool did, the agent did not");
        let seen =
            self.stack.tool().journal().pop().ok_or_else(|| failed("journal", "the tool was not called".into()))?;
        let injected = seen
            .headers
            .get(header::AUTHORIZATION)
            .is_some_and(|v| v == format!("Bearer {}", secret.expose_secret()).as_str());
        expect("injection", injected, || "the tool did not see its credential".into())?;
        expect("injection", !seen.headers.contains_key("signature"), || {
            "the agent's signature reached the tool".into()
        })?;
        let everything = format!("{:?}{}", answer.headers, answer.text);
        expect("injection", !everything.contains(secret.expose_secret()), || "the agent saw the credential".into())?;
        done(
            "the tool saw `authorization: Bearer <its own credential>` and none of the agent's headers that prove things",
        );
        done("the agent's reply holds no trace of it");
        Ok(())
    }

    fn refusals(&self, hand: &Hand, other: &Hand) -> Result<(), DevError> {
        let target = "/t/mail/messages";
        let calls = self.stack.tool().journal().len();
        let running_out = self.token(hand)?;
        let taken = unix_now();
        step(6, "refusals", "each with its reason, each recorded, none reaches the tool");

        let token = self.token(hand)?;
        let unsigned = self.bare(&token, MESSAGE)?;
        self.refuse("no signature", &self.send(hand, "POST", target, MESSAGE, &unsigned)?, 401, "signature-missing")?;

        let signed = self.signed(hand, &token, "POST", target, MESSAGE)?;
        let first = self.send(hand, "POST", target, MESSAGE, &signed)?;
        expect("replay", first.status == 201, || first.text.clone())?;
        let calls = calls + 1; // the one that is replayed next
        self.refuse(
            "the same request again",
            &self.send(hand, "POST", target, MESSAGE, &signed)?,
            400,
            "signature-replayed",
        )?;

        let signed = self.signed(hand, &token, "DELETE", "/t/mail/messages/1", "")?;
        let answer = self.send(hand, "DELETE", "/t/mail/messages/1", "", &signed)?;
        self.refuse("another action with the same token", &answer, 403, "scope-insufficient")?;

        let signed = self.signed(hand, &token, "POST", target, MESSAGE)?;
        self.refuse(
            "another agent's certificate",
            &self.send(other, "POST", target, MESSAGE, &signed)?,
            403,
            "certificate-mismatch",
        )?;

        let answer = self.send(hand, "POST", target, r#"{"to":"eve","text":"hello"}"#, &signed)?;
        self.refuse("a body that was changed on its way", &answer, 400, "digest-mismatch")?;

        let token = self.token(hand)?;
        self.stack.operator(&["agent", "freeze", "travel-bot"])?;
        shell("tgp agent freeze travel-bot");
        let signed = self.signed(hand, &token, "POST", target, MESSAGE)?;
        let answer = self.send(hand, "POST", target, MESSAGE, &signed)?;
        self.refuse("a frozen agent, its token still running", &answer, 403, "agent-frozen")?;
        self.stack.operator(&["agent", "unfreeze", "travel-bot"])?;
        shell("tgp agent unfreeze travel-bot");

        let end = taken + i64::from(TOKEN_LIFETIME_S) + 1;
        say(&format!("   … waiting for a token's end ({} s)", (end - unix_now()).max(0)));
        while unix_now() < end {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let signed = self.signed(hand, &running_out, "POST", target, MESSAGE)?;
        self.refuse("an expired token", &self.send(hand, "POST", target, MESSAGE, &signed)?, 401, "token-invalid")?;

        let now = self.stack.tool().journal().len();
        expect("refusals", now == calls, || format!("{} refused requests reached the tool", now - calls))?;
        let records = self.stack.operator(&["audit", "tail", "--json", "-n", "100"])?;
        for code in
            ["signature-replayed", "scope-insufficient", "certificate-mismatch", "digest-mismatch", "agent-frozen"]
        {
            expect("records", records.contains(code), || format!("no record says {code}"))?;
        }
        shell("tgp audit tail");
        done("the records name each; what fails before a token is read is counted by the minute");
        Ok(())
    }

    /// A fresh token, straight from the token endpoint.
    fn token(&self, hand: &Hand) -> Result<String, DevError> {
        // The SDK keeps tokens until near their end; a demonstration wants new ones.
        let fresh = Agent::load(&hand.home).map_err(|e| failed("token", e.to_string()))?;
        let (tool, action) = (name("mail")?, name("send")?);
        let token = self.runtime.block_on(fresh.token(&tool, &[action])).map_err(|e| failed("token", e.to_string()))?;
        Ok(token.expose_text().to_owned())
    }

    fn bare(&self, token: &str, body: &str) -> Result<HeaderMap, DevError> {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| failed("token", e.to_string()))?;
        headers.insert(header::AUTHORIZATION, bearer);
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(headers)
    }

    fn signed(&self, hand: &Hand, token: &str, method: &str, path: &str, body: &str) -> Result<HeaderMap, DevError> {
        let mut headers = self.bare(token, body)?;
        let random = tgp_client::random::<16>().map_err(|e| failed("nonce", e.to_string()))?;
        let params = Params::new(unix_now(), random);
        let uri = hand.agent.issuer().join(path);
        sign_request(method, &uri, &mut headers, body.as_bytes(), Tag::Request, &hand.identity, params, "demo")
            .map_err(|e| failed("signature", e.to_string()))?;
        Ok(headers)
    }

    fn send(&self, hand: &Hand, method: &str, path: &str, body: &str, headers: &HeaderMap) -> Result<Answer, DevError> {
        let problem = |e: tgp_client::ClientError| failed("request", e.to_string());
        let method = Method::from_bytes(method.as_bytes()).map_err(|e| failed("request", e.to_string()))?;
        self.runtime.block_on(async {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let mut reply = hand.transport.send(method, path, headers.clone(), body).await.map_err(problem)?;
            let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
            let text = String::from_utf8_lossy(&reply.bytes(1 << 20).await.map_err(problem)?).into_owned();
            let code = serde_json::from_str::<serde_json::Value>(&text).ok();
            let code = code.and_then(|json| Some(json.get("code")?.as_str()?.to_owned())).unwrap_or_default();
            Ok(Answer { status, code, text, headers })
        })
    }

    fn refuse(&self, what: &'static str, answer: &Answer, status: u16, code: &str) -> Result<(), DevError> {
        let right = answer.status == status && answer.code == code;
        expect(what, right, || format!("expected {status} {code}, got {} {}", answer.status, answer.text))?;
        done(&format!("{what:<42} {status} {code}"));
        Ok(())
    }
}

/// A directory that others may pass through (the parts have users of their own), removed at the end.
struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new(keep: bool) -> Result<Self, DevError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("tgp-demo-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o755).create(&path).map_err(|e| DevError::file(&path, e))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path); // what cannot be removed is in the temporary directory
        }
    }
}

fn name<T: std::str::FromStr>(text: &str) -> Result<T, DevError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| failed("name", e.to_string()))
}

fn failed(step: &'static str, problem: String) -> DevError {
    DevError::Demo { step, problem }
}

fn expect(step: &'static str, holds: bool, problem: impl FnOnce() -> String) -> Result<(), DevError> {
    if holds { Ok(()) } else { Err(failed(step, problem())) }
}

fn step(number: u8, title: &str, what: &str) {
    println!("\n{number}. {title}\n   {what}");
}

fn shell(command: &str) {
    println!("   $ {command}");
}

fn done(what: &str) {
    println!("   ✓ {what}");
}

fn say(text: &str) {
    println!("{text}");
}
