//! The front end: listeners, routes and answers. HTTP status codes appear nowhere else.

mod activity;
mod addresses;
mod agents;
mod answer;
mod catalogue;
pub mod clock;
mod failures;
mod head;
mod health;
mod listen;
mod metrics;
mod operator;
pub mod peer;
pub mod problem;
pub mod tls;
mod verifiers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tgp_vault_client::BlockingTls;
use tgp_vault_client::wire::Describe;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::agents::AgentRoutes;
use self::failures::FailureLimit;
use self::health::HealthRoutes;
use self::listen::Wrapping;
use self::metrics::Metrics;
use self::operator::OperatorRoutes;
pub(crate) use self::operator::tool_body;
use self::tls::{Handshakes, ServerCertificate};
use crate::config::Config;
use crate::gateway::Gateway;
pub use crate::gateway::StartError;

/// How long a handshake waits for the vault's signature.
const SIGNATURE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the last outcomes may take at the end, when the database is slow or away.
const FLUSH: Duration = Duration::from_secs(5);
/// How often another gateway's new server certificate is looked for.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(30);

/// Bound, not yet served: what comes meanwhile waits.
pub struct Listeners {
    agents: std::net::TcpListener,
    operators: std::net::TcpListener,
    health: std::net::TcpListener,
}

impl Listeners {
    /// Before the process confines itself, and binds nothing more.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let listen = &config.listen;
        Ok(Self {
            agents: bind("listen.gateway", listen.gateway)?,
            operators: bind("listen.operators", listen.operators)?,
            health: bind("listen.health", listen.health)?,
        })
    }
}

/// Runs the gateway until `shutdown` completes. Returns once open requests have had their grace. `sandbox` says what the
/// process gave up, for the health report.
pub async fn serve(
    config: Config,
    listeners: Listeners,
    sandbox: String,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    let gateway = Gateway::start(config, Arc::new(clock::now)).await?;
    let config = &gateway.config;
    let limits = &config.limits;

    let door = BlockingTls::new(&config.vault.socket, config.vault.uid, SIGNATURE_DEADLINE);
    let certificate = ServerCertificate::new(&gateway.deployment.server_chain_pem, door)?;
    let tls = tls::server_config(Arc::clone(&certificate), &gateway.deployment.ca_pem, config.tls.minimum)?;
    let wrapping = || -> Result<Wrapping, StartError> {
        let handshakes = Handshakes::new(Arc::clone(&tls), limits.handshake_timeout)?;
        Ok(Wrapping::Tls { handshakes, trust_domain: config.trust_domain.clone() })
    };
    let (for_agents, for_operators) = (wrapping()?, wrapping()?);
    let Listeners { agents, operators, health } = listeners;
    let [agents, operators, health] = [agents, operators, health].map(TcpListener::from_std);
    let listening = |source| StartError::Io { what: "listen".to_owned(), source };
    let (agents, operators, health) =
        (agents.map_err(listening)?, operators.map_err(listening)?, health.map_err(listening)?);

    let (stop, stopping) = watch::channel(false);
    let background = Background(vec![
        tokio::spawn(gateway.cache.clone().keep_listening(config.database.url.expose_secret().to_owned()))
            .abort_handle(),
        tokio::spawn(gateway.store.clone().keep_partitions()).abort_handle(),
        tokio::spawn(gateway.streams.clone().keep_watch(gateway.cache.clone())).abort_handle(),
        tokio::spawn(follow_certificate(Arc::clone(&gateway), Arc::clone(&certificate))).abort_handle(),
    ]);
    tokio::spawn(async move {
        shutdown.await;
        // Every listener may have gone already.
        let _ = stop.send(true);
    });

    let metrics = Arc::new(Metrics::default());
    let agent_routes = Arc::new(AgentRoutes {
        gateway: Arc::clone(&gateway),
        failures: FailureLimit::new(limits.failures_per_minute),
        metrics: Arc::clone(&metrics),
        turns: catalogue::Turns::default(),
    });
    let operator_routes = Arc::new(OperatorRoutes {
        gateway: Arc::clone(&gateway),
        certificate,
        failures: FailureLimit::new(limits.failures_per_minute),
        metrics: Arc::clone(&metrics),
    });
    let health_routes = Arc::new(HealthRoutes { gateway: Arc::clone(&gateway), metrics, sandbox });
    tracing::info!(
        gateway = %config.listen.gateway,
        operators = %config.listen.operators,
        health = %config.listen.health,
        issuer = %config.issuer,
        "listening"
    );
    tokio::join!(
        listen::serve(agents, for_agents, limits, agent_routes, stopping.clone()),
        listen::serve(operators, for_operators, limits, operator_routes, stopping.clone()),
        listen::serve(health, Wrapping::Plain, limits, health_routes, stopping),
    );
    // Whoever is still reading had its grace: what it got is recorded, as everything else that has ended.
    gateway.streams.stop();
    let recorded = async {
        gateway.streams.ended().await;
        gateway.admission.flush().await;
    };
    if tokio::time::timeout(FLUSH, recorded).await.is_err() {
        tracing::error!("not all outcomes were recorded before the end");
    }
    drop(background);
    Ok(())
}

/// Tasks that end with the gateway.
struct Background(Vec<tokio::task::AbortHandle>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

fn bind(what: &str, address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let bound = std::net::TcpListener::bind(address).and_then(|bound| bound.set_nonblocking(true).map(|()| bound));
    bound.map_err(|source| StartError::Io { what: format!("{what} {address}"), source })
}

/// A server certificate that was issued through another gateway is used here soon after.
async fn follow_certificate(gateway: Arc<Gateway>, certificate: Arc<ServerCertificate>) {
    let mut chain = gateway.deployment.server_chain_pem.clone();
    loop {
        tokio::time::sleep(CERTIFICATE_LOOK).await;
        let Ok(description) = gateway.vault.ask(Describe {}).await else { continue };
        if description.server_chain_pem != chain {
            match certificate.replace(&description.server_chain_pem) {
                Ok(()) => chain = description.server_chain_pem,
                Err(error) => tracing::error!(%error, "the new server certificate cannot be used"),
            }
        }
    }
}
