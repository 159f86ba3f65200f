//! Fetches a public document, such as a tool's OpenAPI description. From this machine and not from the gateway: nobody makes
//! the gateway connect somewhere by naming it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::CliError;

const PATIENCE: Duration = Duration::from_secs(60);

/// The body of what is at `url`, of at most `limit` bytes. Redirects are told, not followed.
pub async fn fetch(url: &str, limit: usize) -> Result<Bytes, CliError> {
    let failed = |why: String| CliError::failed(format!("cannot fetch {url}: {why}"));
    let uri: Uri = url.parse().map_err(|_| CliError::usage(format!("{url} is not a URL")))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get(uri).header("user-agent", "tgp").body(Empty::new());
    let request = request.map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let reply = client.request(request).await.map_err(|error| failed(error.to_string()))?;
        let status = reply.status();
        if status.is_redirection() {
            let to = reply.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
            return Err(failed(format!("it is at {to}")).hint("name that URL, if it is one to trust"));
        }
        if !status.is_success() {
            return Err(failed(format!("the answer is {status}")));
        }
        let body = Limited::new(reply.into_body(), limit).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| failed(error.to_string()))
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(failed("no answer in time".to_owned())))
}
