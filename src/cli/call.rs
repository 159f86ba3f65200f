//! `tgp call`: curl for agents. Finds the action's method and path in the catalogue, takes a token,
//! signs, sends, and streams the reply to standard output.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use tgp_client::{Action, Agent, Problem, Reply, Request};
use tgp_request::name::{ActionName, Slug};
use tgp_request::target::PathTemplate;

use super::client::escape;
use super::output::{self, Output};
use super::token::AgentArgs;
use super::{CliError, block_on, input};

/// A body is read whole before it is signed.
const BODY_LIMIT: u64 = 256 << 20;
/// The gateway's own refusals are far below this.
const PROBLEM_LIMIT: usize = 64 << 10;
/// With `--json` the reply is held in memory.
const JSON_LIMIT: usize = 64 << 20;

#[derive(Args)]
pub struct Call {
    tool: Slug,
    action: ActionName,
    /// The body; @FILE reads a file, @- standard input
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// A header field; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<Field>,
    /// A parameter of the action's path; may be repeated
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<Pair>,
    /// A parameter of the query; may be repeated
    #[arg(short, long = "query", value_name = "NAME=VALUE")]
    query: Vec<Pair>,
    /// Path and query below the tool, sent as they are written, instead of the catalogue's
    #[arg(long, value_name = "PATH", conflicts_with_all = ["params", "query"])]
    path: Option<String>,
    /// The method, instead of the catalogue's
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<Method>,
    /// Show status and header fields too
    #[arg(short, long)]
    include: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

/// `name=value`
#[derive(Clone, Debug)]
struct Pair {
    name: String,
    value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it reads NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// `name: value`
#[derive(Clone, Debug)]
struct Field(HeaderName, HeaderValue);

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("it reads NAME:VALUE")?;
        let name: HeaderName = name.trim().parse().map_err(|_| "the name is not a field name".to_owned())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| "the value is not a field value".to_owned())?;
        if ["authorization", "signature", "signature-input", "content-digest", "host", "content-length"]
            .contains(&name.as_str())
        {
            return Err(format!("{name} is set by tgp"));
        }
        Ok(Self(name, value))
    }
}

impl Call {
    pub fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let agent = self.agent.load()?;
        let body = self.body()?;
        block_on(async {
            let request = self.request(&agent, body).await?;
            let reply = agent.call(&self.tool, &self.action, request).await?;
            self.show(&agent, reply, output).await
        })
    }

    fn body(&self) -> Result<Bytes, CliError> {
        match self.data.as_deref() {
            None => Ok(Bytes::new()),
            Some(data) => match data.strip_prefix('@') {
                None => Ok(Bytes::copy_from_slice(data.as_bytes())),
                Some(path) => Ok(Bytes::copy_from_slice(&input::octets(Path::new(&PathBuf::from(path)), BODY_LIMIT)?)),
            },
        }
    }

    async fn request(&self, agent: &Agent, body: Bytes) -> Result<Request, CliError> {
        let (method, path_and_query) = match (&self.method, &self.path) {
            (Some(method), Some(path)) => (method.clone(), path.clone()),
            _ => {
                let action = self.look_up(agent).await?;
                let method = match &self.method {
                    Some(method) => method.clone(),
                    None => {
                        action.method.parse().map_err(|_| CliError::failed("the catalogue's method is malformed"))?
                    }
                };
                let path = match &self.path {
                    Some(path) => path.clone(),
                    None => fill(&action, &self.params)? + &query(&self.query),
                };
                (method, path)
            }
        };
        let headers = headers(&self.headers, &body);
        Ok(Request { method, path_and_query, headers, body })
    }

    async fn look_up(&self, agent: &Agent) -> Result<Action, CliError> {
        let tool = agent.tool_with(&self.tool, &self.action).await?;
        tool.action(&self.action).cloned().ok_or_else(|| {
            CliError::usage(format!("{} has no action {}", self.tool, self.action))
                .hint(format!("`tgp tool search --tool {}` lists what it has", self.tool))
        })
    }

    async fn show(&self, agent: &Agent, mut reply: Reply, output: &Output) -> Result<ExitCode, CliError> {
        let status = reply.status();
        let is_problem = reply
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
        if status.is_client_error() || status.is_server_error() {
            if is_problem {
                let body = reply.bytes(PROBLEM_LIMIT).await?;
                if let Some(problem) = Problem::of_gateway(agent.issuer().as_str(), status.as_u16(), &body) {
                    if self.include {
                        output::write(head(&reply).as_bytes())?;
                    }
                    return Err(problem.into());
                }
                // The tool's own problem document.
                self.begin(&reply, output)?;
                self.write_whole(&reply, &body, output)?;
            } else {
                self.stream(&mut reply, output).await?;
            }
            return Err(CliError::failed(format!("the tool answered {status}")));
        }
        self.stream(&mut reply, output).await?;
        Ok(ExitCode::SUCCESS)
    }

    async fn stream(&self, reply: &mut Reply, output: &Output) -> Result<(), CliError> {
        if output.is_json() {
            let body = reply.bytes(JSON_LIMIT).await?;
            return self.write_whole(reply, &body, output);
        }
        self.begin(reply, output)?;
        let mut last = b'\n';
        while let Some(chunk) = reply.chunk().await? {
            last = chunk.last().copied().unwrap_or(last);
            output::write(&chunk)?;
        }
        // The prompt comes on a line of its own; a file gets the body's bytes and no more.
        if last != b'\n' && std::io::stdout().is_terminal() { output::write(b"\n") } else { Ok(()) }
    }

    fn begin(&self, reply: &Reply, output: &Output) -> Result<(), CliError> {
        if self.include && !output.is_json() { output::write(head(reply).as_bytes()) } else { Ok(()) }
    }

    fn write_whole(&self, reply: &Reply, body: &[u8], output: &Output) -> Result<(), CliError> {
        if !output.is_json() {
            return output::write(body);
        }
        let body =
            serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
        let headers: serde_json::Map<String, Value> = reply
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        output.show(&json!({ "status": reply.status().as_u16(), "headers": headers, "body": body }), String::new)
    }
}

fn headers(fields: &[Field], body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for Field(name, value) in fields {
        headers.append(name.clone(), value.clone());
    }
    if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        let kind = if is_json { "application/json" } else { "application/octet-stream" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers
}

/// Status line and header fields, as HTTP/1.1 writes them.
fn head(reply: &Reply) -> String {
    let mut text = format!("{:?} {}\n", reply.version(), reply.status());
    for (name, value) in reply.headers() {
        text.push_str(&output::clean(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The action's path with every parameter filled in and none left over.
fn fill(action: &Action, params: &[Pair]) -> Result<String, CliError> {
    let template: PathTemplate =
        action.path.parse().map_err(|e| CliError::failed(format!("the catalogue's path: {e}")))?;
    let names: Vec<&str> = template.parameters().collect();
    let escaped: Vec<(&str, String)> = params.iter().map(|pair| (pair.name.as_str(), escape(&pair.value))).collect();
    if let Some((unknown, _)) = escaped.iter().find(|(name, _)| !names.contains(name)) {
        return Err(CliError::usage(format!("{} has no parameter {unknown}", action.name))
            .hint(format!("its path is {}", action.path)));
    }
    let missing = names.iter().find(|name| !escaped.iter().any(|(given, value)| given == *name && !value.is_empty()));
    if let Some(missing) = missing {
        return Err(CliError::usage(format!("{} needs a parameter {missing}", action.name))
            .hint(format!("add -p {missing}=VALUE")));
    }
    let value = |name: &str| escaped.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
    template.fill(value).ok_or_else(|| CliError::failed("the catalogue's path cannot be filled in"))
}

/// `?a=1&b=2`, or nothing.
fn query(pairs: &[Pair]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|pair| format!("{}={}", escape(&pair.name), escape(&pair.value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(path: &str) -> Action {
        let told = serde_json::json!({ "name": "read", "method": "GET", "path": path });
        serde_json::from_value(told).unwrap()
    }

    fn pairs(texts: &[&str]) -> Vec<Pair> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn parameters_are_escaped_and_all_of_them_are_used() {
        let path = fill(&action("/messages/{id}"), &pairs(&["id=a b/é?"])).unwrap();
        assert_eq!(path, "/messages/a%20b%2F%C3%A9%3F");
        assert!(fill(&action("/messages/{id}"), &[]).is_err());
        assert!(fill(&action("/messages/{id}"), &pairs(&["id="])).is_err());
        assert!(fill(&action("/messages/{id}"), &pairs(&["id=1", "x=2"])).is_err());
        assert_eq!(fill(&action("/messages"), &[]).unwrap(), "/messages");
    }

    #[test]
    fn a_query_is_escaped_in_the_order_given() {
        assert_eq!(query(&pairs(&["q=a&b=c", "n=1"])), "?q=a%26b%3Dc&n=1");
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn a_json_body_is_called_json_unless_the_caller_says_otherwise() {
        assert_eq!(headers(&[], b"{\"a\":1}")[CONTENT_TYPE], "application/json");
        assert_eq!(headers(&[], b"BEGIN:VCALENDAR")[CONTENT_TYPE], "application/octet-stream");
        assert_eq!(headers(&["content-type: text/calendar".parse().unwrap()], b"{}")[CONTENT_TYPE], "text/calendar");
        assert!(headers(&[], b"").is_empty());
    }

    #[test]
    fn fields_that_tgp_sets_cannot_be_set_by_hand() {
        for field in [
            "Authorization: Bearer x",
            "signature: x",
            "Signature-Input:x",
            "content-digest: x",
            "Host: x",
            "nocolon",
            "a b: c",
        ] {
            assert!(field.parse::<Field>().is_err(), "{field}");
        }
    }
}
