//! An enrolled agent at work.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tgp_request::jwk::IdentitySecret;
use tgp_request::name::{Aan, ActionName, Slug};
use tgp_request::signature::Tag;
use tgp_request::{MasterKey, target};
use tokio::sync::Mutex;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::catalogue::{Page, Tool};
use crate::certificate::Leaf;
use crate::dir::{AgentDir, AgentFile};
use crate::request::{Request, escape, sign};
use crate::token::{self, Cache, Token, TokenReply, Wanted};
use crate::transport::{ClientIdentity, Transport};
use crate::trust::Trust;
use crate::{ClientError, Origin, Reply, TlsKey, enrol, unix_now};

/// After a renewal that failed, the next one waits this long.
const RETRY_RENEWAL: i64 = 60;

/// An agent: its keys, its certificate, its tokens.
pub struct Agent {
    dir: AgentDir,
    file: AgentFile,
    issuer: Origin,
    /// Where connections go; the issuer unless [`Agent::through`] said otherwise.
    dial: Origin,
    identity: IdentitySecret,
    tls: TlsKey,
    master_key: Option<Zeroizing<String>>,
    asserting: bool,
    connection: Mutex<Option<Connection>>,
    tokens: Cache,
}

struct Connection {
    transport: Transport,
    leaf: Leaf,
    renewal_tried: i64,
}

#[derive(Deserialize)]
struct CertificateReply {
    certificate_chain: String,
}

impl Agent {
    /// Loads an agent from its directory; connects when it has something to ask.
    pub fn load(path: &Path) -> Result<Self, ClientError> {
        let (dir, file) = AgentDir::open(path)?;
        let issuer = Origin::parse(&file.gateway)?;
        let (identity, tls, master_key) = (dir.identity()?, dir.tls_key()?, dir.master_key()?);
        Ok(Self {
            dir,
            file,
            dial: issuer.clone(),
            issuer,
            identity,
            tls,
            master_key,
            asserting: false,
            connection: Mutex::new(None),
            tokens: Cache::default(),
        })
    }

    /// With a master key that its directory does not hold.
    pub fn with_master_key(mut self, text: &str) -> Result<Self, ClientError> {
        let key = MasterKey::parse(text.trim()).map_err(|e| ClientError::Input(e.to_string()))?;
        if key.agent != self.file.agent {
            return Err(ClientError::Input("the master key is another agent's".into()));
        }
        self.master_key = Some(key.expose_text());
        Ok(self)
    }

    /// Authenticates at the token endpoint by its identity key (`private_key_jwt`) in place of the master key. The
    /// agent's record must allow it.
    pub fn asserting(mut self) -> Self {
        self.asserting = true;
        self
    }

    /// Reaches the gateway at another origin (a second gateway, a tunnel). What is signed stays the
    /// issuer's, and so does the CA that must vouch for the server.
    pub fn through(mut self, dial: Origin) -> Self {
        self.dial = dial;
        self
    }

    pub fn id(&self) -> Uuid {
        self.file.agent
    }

    pub fn aan(&self) -> &Aan {
        &self.file.aan
    }

    /// The gateway's issuer.
    pub fn issuer(&self) -> &Origin {
        &self.issuer
    }

    /// The URL prefix under which a tool is called.
    pub fn resource(&self, tool: &Slug) -> String {
        self.issuer.join(&format!("/t/{tool}"))
    }

    /// A token for these actions of a tool: one from memory, or a new one.
    pub async fn token(&self, tool: &Slug, actions: &[ActionName]) -> Result<Arc<Token>, ClientError> {
        self.token_for(Wanted::new(tool, actions)).await
    }

    /// The same, for what `wanted` says.
    pub async fn token_for(&self, wanted: Wanted) -> Result<Arc<Token>, ClientError> {
        if let Some(token) = self.tokens.find(&wanted, unix_now()) {
            return Ok(token);
        }
        let token = Arc::new(self.ask(wanted.form(&self.resource(&wanted.tool))).await?);
        self.tokens.keep(wanted, token.clone());
        Ok(token)
    }

    /// A token on behalf of the agent that handed over `subject_token`, which it had made out to this one
    /// ([`Wanted::made_out_to`]): RFC 8693. Of what that token is for, what `wanted` says.
    pub async fn exchange(&self, subject_token: &str, wanted: &Wanted) -> Result<Token, ClientError> {
        self.ask(wanted.exchange_form(&self.resource(&wanted.tool), subject_token)).await
    }

    async fn ask(&self, mut form: String) -> Result<Token, ClientError> {
        // First the connection: its certificate may have to be renewed, and an assertion is good for a minute.
        let transport = self.transport().await?;
        let now = unix_now();
        let headers = match &self.master_key {
            _ if self.asserting => {
                let issuer = self.issuer.to_string();
                form.push_str(&token::assertion_form(self.file.agent, &issuer, &self.identity, now)?);
                token::plain_headers()
            }
            Some(master_key) => token::headers(self.file.agent, master_key)?,
            None => return Err(ClientError::MasterKeyMissing),
        };
        let reply = transport.send(Method::POST, "/oauth2/token", headers, form.into()).await?;
        reply.json::<TokenReply>().await?.into_token(now)
    }

    /// Calls a tool: takes a token for `action`, signs, sends. The reply's body streams.
    pub async fn call(&self, tool: &Slug, action: &ActionName, request: Request) -> Result<Reply, ClientError> {
        let token = self.token(tool, std::slice::from_ref(action)).await?;
        let reply = self.send(tool, &token, request).await?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            // Revoked, or the signing key went: the next call asks for a new one.
            self.tokens.forget(&Wanted::new(tool, std::slice::from_ref(action)));
        }
        Ok(reply)
    }

    /// Signs and sends a request with a token at hand.
    pub async fn send(&self, tool: &Slug, token: &Token, request: Request) -> Result<Reply, ClientError> {
        let Request { method, path_and_query, mut headers, body } = request;
        let path = format!("/t/{tool}{path_and_query}");
        target::canonical(&path).map_err(|refusal| ClientError::Input(format!("{path:?}: {}", refusal.detail)))?;
        if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            return Err(ClientError::Input("a body goes with a content-type".into()));
        }
        let mut bearer = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", token.expose_text())))
            .map_err(|_| ClientError::Answer("the token is not text".into()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        let target = self.issuer.join(&path);
        sign(&mut headers, &method, &target, &body, Tag::Request, &self.identity, unix_now())?;
        self.transport().await?.send(method, &path, headers, body).await
    }

    /// A page of the catalogue: actions of all tools or of one that answer `question`, or all in order where it is empty;
    /// `cursor` is the last page's `next`.
    pub async fn search(&self, tool: Option<&Slug>, question: &str, cursor: Option<&str>) -> Result<Page, ClientError> {
        let mut query = format!("?q={}", escape(question));
        if let Some(cursor) = cursor {
            query.push_str(&format!("&cursor={}", escape(cursor)));
        }
        match tool {
            None => self.read(&format!("/v1/tools{query}")).await?.json().await,
            Some(slug) => {
                let mut tool: Tool = self.read(&format!("/v1/tools/{slug}{query}")).await?.json().await?;
                let next = tool.next.take();
                Ok(Page { tools: vec![tool], next })
            }
        }
    }

    /// One tool, with its first actions and their schemas.
    pub async fn tool(&self, slug: &Slug) -> Result<Tool, ClientError> {
        self.read(&format!("/v1/tools/{slug}")).await?.json().await
    }

    /// One tool with one of its actions alone, or with none if it has none of this name.
    pub async fn tool_with(&self, slug: &Slug, action: &ActionName) -> Result<Tool, ClientError> {
        self.read(&format!("/v1/tools/{slug}?action={action}")).await?.json().await
    }

    async fn read(&self, path: &str) -> Result<Reply, ClientError> {
        self.transport().await?.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    /// The certificate's end, Unix seconds.
    pub fn certificate_not_after(&self) -> Result<i64, ClientError> {
        Ok(Leaf::of_chain(&self.dir.chain()?)?.not_after)
    }

    /// Renews the certificate now; connections that follow show the new one.
    pub async fn renew_certificate(&self) -> Result<i64, ClientError> {
        let mut held = self.connection.lock().await;
        let current = self.connect()?;
        let renewed = self.renew(&current).await?;
        let not_after = renewed.leaf.not_after;
        *held = Some(renewed);
        Ok(not_after)
    }

    /// The connection pool, its certificate renewed when less than a third of its life is left.
    async fn transport(&self) -> Result<Transport, ClientError> {
        let now = unix_now();
        let mut held = self.connection.lock().await;
        let connection = match held.take() {
            Some(connection) => held.insert(connection),
            None => held.insert(self.connect()?),
        };
        if connection.leaf.is_due(now) && now >= connection.renewal_tried + RETRY_RENEWAL {
            connection.renewal_tried = now;
            match self.renew(connection).await {
                Ok(renewed) => *connection = renewed,
                Err(error) if connection.leaf.is_expired(now) => return Err(error),
                Err(_) => {} // it is good for a while yet, and the next try is a minute away
            }
        }
        Ok(connection.transport.clone())
    }

    fn connect(&self) -> Result<Connection, ClientError> {
        let chain = self.dir.chain()?;
        let identity = ClientIdentity::from_pem(&chain, &self.tls.expose_pem())?;
        let transport = Transport::new(self.dial.clone(), &Trust::Bundle(self.dir.ca()?), Some(identity))?;
        Ok(Connection { transport, leaf: Leaf::of_chain(&chain)?, renewal_tried: 0 })
    }

    async fn renew(&self, current: &Connection) -> Result<Connection, ClientError> {
        const PATH: &str = "/v1/certificates";
        let body = serde_json::to_vec(&serde_json::json!({ "csr": self.tls.csr()? }));
        let body = body.map_err(|e| ClientError::Bug(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let target = self.issuer.join(PATH);
        sign(&mut headers, &Method::POST, &target, &body, Tag::Renew, &self.identity, unix_now())?;
        let reply = current.transport.send(Method::POST, PATH, headers, body.into()).await?;
        let CertificateReply { certificate_chain } = reply.json().await?;
        let leaf = Leaf::of_chain(&certificate_chain)?;
        if leaf.spki != self.tls.spki() || !leaf.uris.iter().any(|uri| enrol::names_agent(uri, self.file.agent)) {
            return Err(ClientError::Answer("the renewed certificate is not this agent's".into()));
        }
        self.dir.write_chain(&certificate_chain)?;
        self.connect()
    }
}
