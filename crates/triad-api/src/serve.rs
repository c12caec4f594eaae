//! The agent's doors.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{IncomingStream, Listener};
use axum::{Json, Router};
use rustls::ServerConfig;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use triad_model::{BackendSetting, BanRequest, IpNet, Maintenance, Orders, ServerName, SwitchoverRequest, UsageNews};

use crate::{Agent, RestoreRequest};

/// Peers' handshakes and connections that may be under way at once.
const PEER_CONNECTIONS_MAX: usize = 64;
/// A peer that takes longer for its TLS handshake is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Answers commands on this server until the task is dropped.
pub async fn local<A: Agent>(listener: UnixListener, agent: A) -> std::io::Result<()> {
    axum::serve(
        listener,
        Router::new()
            .route("/v1/report", get(report::<A>))
            .route("/v1/status", get(status::<A>))
            .route("/v1/backend", post(set_backend_everywhere::<A>))
            .route("/v1/maintenance", post(set_maintenance_everywhere::<A>))
            .route("/v1/ban", post(ban_everywhere::<A>))
            .route("/v1/unban", post(unban_everywhere::<A>))
            .route("/v1/bans", get(bans::<A>))
            .route("/v1/apply", post(apply::<A>))
            .route("/v1/upgrade", post(upgrade::<A>))
            .route("/v1/database/promote", post(promote::<A>))
            .route("/v1/voters/snapshot", get(snapshot::<A>))
            .route("/v1/voters/restore", post(restore::<A>))
            .route("/v1/database/switchover", post(switchover::<A>))
            .route("/v1/database/restart/{server}", post(restart_database_of::<A>))
            .route("/v1/access/{server}/{id}", get(access_lines_of::<A>))
            .route("/v1/authority", get(authority::<A>))
            .with_state(agent),
    )
    .await
}

/// Answers other servers' agents until the task is dropped.
pub async fn peers<A: Agent>(listener: TcpListener, tls: Arc<ServerConfig>, agent: A) -> std::io::Result<()> {
    let router = Router::new()
        .route("/v1/report", get(report::<A>))
        .route("/v1/backend", post(set_backend::<A>))
        .route("/v1/orders", get(orders::<A>).post(take_orders::<A>))
        .route("/v1/usage", post(hear::<A>))
        .route("/v1/access/{id}", get(access_lines::<A>))
        .route("/v1/heartbeat", get(heartbeat_key::<A>))
        .route("/v1/voting", get(voting::<A>))
        .route("/v1/database/promotion", get(promotion::<A>))
        .route("/v1/database/record", get(remembered_record::<A>))
        .route("/v1/database/backup", get(backup::<A>))
        .route("/v1/database/switchover", post(switchover::<A>))
        .route("/v1/database/restart", post(restart_database::<A>))
        .with_state(agent)
        .into_make_service_with_connect_info::<Caller>();
    axum::serve(TlsListener::start(listener, tls), router).await
}

/// Answers Prometheus until the task is dropped.
pub async fn metrics<A: Agent>(listener: TcpListener, agent: A) -> std::io::Result<()> {
    axum::serve(listener, Router::new().route("/metrics", get(metrics_text::<A>)).with_state(agent)).await
}

async fn report<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.report()).into_response()
}

async fn status<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.status().await).into_response()
}

async fn set_backend<A: Agent>(State(agent): State<A>, Json(setting): Json<BackendSetting>) -> Response {
    told(agent.set_backend(setting).await)
}

async fn orders<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.orders()).into_response()
}

async fn take_orders<A: Agent>(State(agent): State<A>, Json(words): Json<Orders>) -> Response {
    told(agent.take_orders(words).await)
}

async fn hear<A: Agent>(State(agent): State<A>, Json(news): Json<UsageNews>) -> Response {
    Json(agent.hear(news)).into_response()
}

async fn ban_everywhere<A: Agent>(State(agent): State<A>, Json(ban): Json<BanRequest>) -> Response {
    told(agent.ban_everywhere(ban).await)
}

async fn unban_everywhere<A: Agent>(State(agent): State<A>, Json(network): Json<IpNet>) -> Response {
    told(agent.unban_everywhere(network).await)
}

async fn bans<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.bans().await).into_response()
}

async fn set_maintenance_everywhere<A: Agent>(
    State(agent): State<A>,
    Json(order): Json<Option<Maintenance>>,
) -> Response {
    Json(agent.set_maintenance_everywhere(order).await).into_response()
}

/// What came of what was said.
fn told<T: Serialize>(outcome: Result<T, String>) -> Response {
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(reason) => (StatusCode::CONFLICT, reason).into_response(),
    }
}

async fn set_backend_everywhere<A: Agent>(State(agent): State<A>, Json(setting): Json<BackendSetting>) -> Response {
    Json(agent.set_backend_everywhere(setting).await).into_response()
}

async fn apply<A: Agent>(State(agent): State<A>) -> Response {
    told(agent.apply().await)
}

async fn promote<A: Agent>(State(agent): State<A>) -> Response {
    told(agent.promote().await)
}

async fn promotion<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.promotion()).into_response()
}

async fn snapshot<A: Agent>(State(agent): State<A>) -> Response {
    told(agent.snapshot().await)
}

async fn restore<A: Agent>(State(agent): State<A>, Json(request): Json<RestoreRequest>) -> Response {
    told(agent.restore(request).await)
}

async fn remembered_record<A: Agent>(State(agent): State<A>) -> Response {
    told(agent.remembered_record())
}

async fn upgrade<A: Agent>(State(agent): State<A>) -> Response {
    told(agent.upgrade().await)
}

async fn restart_database<A: Agent>(State(agent): State<A>) -> Response {
    told(agent.restart_database().await)
}

async fn restart_database_of<A: Agent>(State(agent): State<A>, Path(server): Path<String>) -> Response {
    told(agent.restart_database_of(&server).await)
}

async fn switchover<A: Agent>(State(agent): State<A>, Json(request): Json<SwitchoverRequest>) -> Response {
    told(agent.switchover(request).await)
}

async fn access_lines<A: Agent>(State(agent): State<A>, Path(id): Path<String>) -> Response {
    Json(agent.access_lines(&id).await).into_response()
}

async fn access_lines_of<A: Agent>(State(agent): State<A>, Path((server, id)): Path<(String, String)>) -> Response {
    match agent.access_lines_of(&server, &id).await {
        Ok(lines) => Json(lines).into_response(),
        Err(reason) => (StatusCode::CONFLICT, reason).into_response(),
    }
}

async fn authority<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.authority()).into_response()
}

async fn metrics_text<A: Agent>(State(agent): State<A>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], agent.metrics()).into_response()
}

/// Each server gets its own key: who is asking is what its certificate says.
async fn heartbeat_key<A: Agent>(State(agent): State<A>, ConnectInfo(Caller(caller)): ConnectInfo<Caller>) -> Response {
    match caller.and_then(|caller| agent.heartbeat_key(&caller)) {
        Some(key) => Json(key).into_response(),
        None => (StatusCode::CONFLICT, "there are no heartbeats to whoever asks").into_response(),
    }
}

async fn voting<A: Agent>(State(agent): State<A>) -> Response {
    Json(agent.voting()).into_response()
}

async fn backup<A: Agent>(State(agent): State<A>) -> Response {
    match agent.backup().await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        Err(reason) => (StatusCode::CONFLICT, reason).into_response(),
    }
}

/// The server whose certificate a peer has shown.
#[derive(Clone)]
struct Caller(Option<ServerName>);

impl Connected<IncomingStream<'_, TlsListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, tls) = stream.io().get_ref();
        Self(tls.peer_certificates().and_then(triad_tls::peer_server))
    }
}

/// Shakes hands beside accepting, so that a slow peer holds up nobody.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, std::net::SocketAddr)>,
    address: std::net::SocketAddr,
}

impl TlsListener {
    fn start(listener: TcpListener, tls: Arc<ServerConfig>) -> Self {
        let address = listener.local_addr().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into());
        let (sender, ready) = mpsc::channel(PEER_CONNECTIONS_MAX);
        tokio::spawn(shake_hands(listener, TlsAcceptor::from(tls), sender));
        Self { ready, address }
    }
}

async fn shake_hands(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, std::net::SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(PEER_CONNECTIONS_MAX));
    while !sender.is_closed() {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, address) = Listener::accept(&mut listener).await;
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // The receiving end is gone only when the agent ends.
                let _ = sender.send((stream, address)).await;
            }
            drop(place);
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
