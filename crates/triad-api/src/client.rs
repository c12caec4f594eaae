//! Asking agents.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName as DnsName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use triad_model::{
    AGENT, BackendSetting, BanRequest, IpNet, Maintenance, Orders, Promotion, Server, ServerName, ServerReport,
    Switchover, SwitchoverRequest, UsageNews,
};
use triad_tls::internal_name;

use crate::{
    BansReport, DesignReport, HeartbeatKey, RestoreRequest, Restored, SettingAnswer, Snapshot, TakenUp, Upgraded,
    Voting,
};

/// An agent answers a question about its own server within this.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// An agent asks its peers before it answers for all, so this is longer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// A setting is in force on every balancer within this: each edge answers for itself, all at the same time.
const SETTING_TIMEOUT: Duration = Duration::from_secs(12);
/// An edge is replaced, or the new one is given up, within this; it may have to wait for another change first.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);
/// Another server is the database's primary, or the old one takes writes again, within this.
const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why an agent's answer is missing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody listens there.
    #[error("no agent answers at {place}: {source}")]
    Unreachable {
        /// Socket path or address.
        place: String,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// It listens and says nothing.
    #[error("the agent at {place} did not answer within {} s", .after.as_secs())]
    TimedOut {
        /// Socket path or address.
        place: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("the connection to the agent at {place} broke: {reason}")]
    Broken {
        /// Socket path or address.
        place: String,
        /// What was seen.
        reason: String,
    },
    /// It answered, and refused.
    #[error("the agent at {place} refused: {reason}")]
    Refused {
        /// Socket path or address.
        place: String,
        /// Its words.
        reason: String,
    },
}

/// Asks the agent behind `socket` for its own server's state.
pub async fn local_report(socket: &Path) -> Result<ServerReport, ApiError> {
    ask_local(socket, get("/v1/report"), REPORT_TIMEOUT).await
}

/// Asks the agent behind `socket` for the state of every server of its design.
pub async fn local_status(socket: &Path) -> Result<DesignReport, ApiError> {
    ask_local(socket, get("/v1/status"), STATUS_TIMEOUT).await
}

/// Tells the agent behind `socket` what every balancer of its design shall know of a backend.
pub async fn set_backend(socket: &Path, setting: &BackendSetting) -> Result<Vec<SettingAnswer>, ApiError> {
    ask_local(socket, post("/v1/backend", setting), SETTING_TIMEOUT).await
}

/// Tells the agent behind `socket` that every front server of its design shall turn users away, or let them in again.
pub async fn set_maintenance(socket: &Path, order: Option<&Maintenance>) -> Result<Vec<SettingAnswer>, ApiError> {
    ask_local(socket, post("/v1/maintenance", &order), SETTING_TIMEOUT).await
}

/// Tells the agent behind `socket` that every front server of its design shall ban clients.
pub async fn ban(socket: &Path, ban: &BanRequest) -> Result<Vec<SettingAnswer>, ApiError> {
    ask_local(socket, post("/v1/ban", ban), SETTING_TIMEOUT).await
}

/// Tells it to end a ban.
pub async fn unban(socket: &Path, network: IpNet) -> Result<Vec<SettingAnswer>, ApiError> {
    ask_local(socket, post("/v1/unban", &network), SETTING_TIMEOUT).await
}

/// Asks it who is banned.
pub async fn bans(socket: &Path) -> Result<BansReport, ApiError> {
    ask_local(socket, get("/v1/bans"), STATUS_TIMEOUT).await
}

/// Tells the agent behind `socket` to take its server's file into use, also one that was replaced by another.
pub async fn apply(socket: &Path) -> Result<TakenUp, ApiError> {
    ask_local(socket, post("/v1/apply", &()), UPGRADE_TIMEOUT).await
}

/// Tells the agent behind `socket` to make its server's database the primary.
pub async fn promote(socket: &Path) -> Result<Promotion, ApiError> {
    ask_local(socket, post("/v1/database/promote", &()), STATUS_TIMEOUT).await
}

/// Asks the agent behind `socket` for all that servers agree on.
pub async fn snapshot(socket: &Path) -> Result<Snapshot, ApiError> {
    ask_local(socket, get("/v1/voters/snapshot"), STATUS_TIMEOUT).await
}

/// Tells it to put the record back that voters lost.
pub async fn restore(socket: &Path, request: &RestoreRequest) -> Result<Restored, ApiError> {
    ask_local(socket, post("/v1/voters/restore", request), STATUS_TIMEOUT).await
}

/// Tells the agent behind `socket` to replace its server's edge by one that runs the binary that is installed now.
pub async fn upgrade(socket: &Path) -> Result<Upgraded, ApiError> {
    ask_local(socket, post("/v1/upgrade", &()), UPGRADE_TIMEOUT).await
}

/// Tells the agent behind `socket` to have another server become the database's primary.
pub async fn switchover(socket: &Path, request: &SwitchoverRequest) -> Result<Switchover, ApiError> {
    ask_local(socket, post("/v1/database/switchover", request), SWITCHOVER_TIMEOUT + REPORT_TIMEOUT).await
}

/// Tells it to have the database of `server` started anew, if that is a replica.
pub async fn restart_database(socket: &Path, server: &ServerName) -> Result<(), ApiError> {
    ask_local(socket, post(&format!("/v1/database/restart/{server}"), &()), SETTING_TIMEOUT).await
}

/// Asks the agent behind `socket` for what the edge of `server` logged of the request `id`.
pub async fn access_lines(socket: &Path, server: &ServerName, id: &str) -> Result<Vec<String>, ApiError> {
    ask_local(socket, get(&format!("/v1/access/{server}/{id}")), STATUS_TIMEOUT).await
}

/// Asks the agent behind `socket` for the certificate of its design's authority, PEM.
pub async fn authority(socket: &Path) -> Result<String, ApiError> {
    ask_local(socket, get("/v1/authority"), REPORT_TIMEOUT).await
}

/// Another server's agent, asked over mutual TLS.
#[derive(Clone)]
pub struct Peer {
    server: ServerName,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Peer {
    /// `server`'s agent; `None` for a server without a private address.
    pub fn of(server: &Server, tls: Arc<ClientConfig>) -> Option<Self> {
        let address = SocketAddr::new(server.private?, AGENT);
        Some(Self { server: server.name.clone(), address, tls })
    }

    /// Asks for its server's state.
    pub async fn report(&self) -> Result<ServerReport, ApiError> {
        self.get("/v1/report").await
    }

    /// Asks for the key of its heartbeats to this server.
    pub async fn heartbeat_key(&self) -> Result<HeartbeatKey, ApiError> {
        self.get("/v1/heartbeat").await
    }

    /// Asks whether its server votes.
    pub async fn voting(&self) -> Result<Voting, ApiError> {
        self.get("/v1/voting").await
    }

    /// Asks which database was promoted by hand last.
    pub async fn promotion(&self) -> Result<Option<Promotion>, ApiError> {
        self.get("/v1/database/promotion").await
    }

    /// Asks for the record of which database is the primary, as its server read it last.
    pub async fn remembered_record(&self) -> Result<Option<String>, ApiError> {
        self.get("/v1/database/record").await
    }

    /// Asks for what its edge logged of the request `id`.
    pub async fn access_lines(&self, id: &str) -> Result<Vec<String>, ApiError> {
        self.get(&format!("/v1/access/{id}")).await
    }

    /// Tells it what its server, if it balances, shall know of a backend; whether it does.
    pub async fn set_backend(&self, setting: &BackendSetting) -> Result<bool, ApiError> {
        self.tell(post("/v1/backend", setting)).await
    }

    /// Asks for what it knows was said to the front servers.
    pub async fn orders(&self) -> Result<Orders, ApiError> {
        self.get("/v1/orders").await
    }

    /// Tells it what was said; what it knows of all.
    pub async fn take_orders(&self, words: &Orders) -> Result<Orders, ApiError> {
        self.tell(post("/v1/orders", words)).await
    }

    /// A connection that is kept.
    pub async fn link(&self) -> Result<Link, ApiError> {
        let place = self.place();
        let sender = within(&place, REPORT_TIMEOUT, async { open(&place, self.connect().await?).await }).await?;
        Ok(Link { place, sender })
    }

    async fn tell<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, ApiError> {
        self.answer(request, SETTING_TIMEOUT / 2).await
    }

    /// What it says of its own server.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.answer(get(path), REPORT_TIMEOUT).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>, limit: Duration) -> Result<T, ApiError> {
        let place = self.place();
        within(&place, limit, async { decode(&place, self.ask(request).await?).await }).await
    }

    /// Has another server become the database's primary, if its server is that now.
    pub async fn switchover(&self, request: &SwitchoverRequest) -> Result<Switchover, ApiError> {
        self.answer(post("/v1/database/switchover", request), SWITCHOVER_TIMEOUT).await
    }

    /// Starts its server's database anew, if that is a replica.
    pub async fn restart_database(&self) -> Result<(), ApiError> {
        self.tell(post("/v1/database/restart", &())).await
    }

    /// Asks for a copy of its database. The stream has no end to wait for; whoever reads it bounds its pauses.
    pub async fn backup(&self) -> Result<Incoming, ApiError> {
        let place = self.place();
        let response = within(&place, STATUS_TIMEOUT, self.ask(get("/v1/database/backup"))).await?;
        Ok(accepted(&place, response).await?.into_body())
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ApiError> {
        let place = self.place();
        ask(&place, self.connect().await?, request).await
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, ApiError> {
        let place = self.place();
        let unreachable = |source| ApiError::Unreachable { place: place.clone(), source };
        let stream = TcpStream::connect(self.address).await.map_err(unreachable)?;
        let name = DnsName::try_from(internal_name(&self.server))
            .map_err(|error| ApiError::Broken { place: place.clone(), reason: error.to_string() })?;
        TlsConnector::from(self.tls.clone()).connect(name, stream).await.map_err(unreachable)
    }

    fn place(&self) -> String {
        format!("{} ({})", self.server, self.address)
    }
}

/// A connection to another server's agent, for what is said often.
pub struct Link {
    place: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Link {
    /// Tells what clients used; what it knows of orders, in a number.
    pub async fn tell_usage(&mut self, news: &UsageNews) -> Result<u64, ApiError> {
        self.ask(post("/v1/usage", news), REPORT_TIMEOUT).await
    }

    /// Tells it what was said; what it knows of all.
    pub async fn take_orders(&mut self, words: &Orders) -> Result<Orders, ApiError> {
        self.ask(post("/v1/orders", words), SETTING_TIMEOUT / 2).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<T, ApiError> {
        let place = &self.place;
        let answer = async {
            let response = self.sender.send_request(request).await.map_err(|error| broken(place, &error))?;
            decode(place, response).await
        };
        within(place, limit, answer).await
    }
}

async fn within<T>(
    place: &str,
    after: Duration,
    question: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(after, question)
        .await
        .unwrap_or_else(|_| Err(ApiError::TimedOut { place: place.to_owned(), after }))
}

async fn ask_local<T: DeserializeOwned>(
    socket: &Path,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<T, ApiError> {
    let place = socket.display().to_string();
    let asked = async { decode(&place, ask(&place, open_local(socket).await?, request).await?).await };
    within(&place, limit, asked).await
}

async fn open_local(socket: &Path) -> Result<UnixStream, ApiError> {
    let unreachable = |source| ApiError::Unreachable { place: socket.display().to_string(), source };
    UnixStream::connect(socket).await.map_err(unreachable)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    request(Request::get(path), Bytes::new())
}

fn post(path: &str, body: &impl Serialize) -> Request<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("settings are plain data");
    request(Request::post(path).header(header::CONTENT_TYPE, "application/json"), body.into())
}

fn request(builder: Builder, body: Bytes) -> Request<Full<Bytes>> {
    builder.header(header::HOST, "agent").body(Full::new(body)).expect("paths here are well-formed")
}

async fn ask<S>(place: &str, stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut sender = open(place, stream).await?;
    sender.send_request(request).await.map_err(|error| broken(place, &error))
}

async fn open<S>(place: &str, stream: S) -> Result<SendRequest<Full<Bytes>>, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| broken(place, &error))?;
    // Ends with the last answer, or when its receiver is dropped; its errors reach us through the answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn broken(place: &str, error: &hyper::Error) -> ApiError {
    ApiError::Broken { place: place.to_owned(), reason: error.to_string() }
}

async fn accepted(place: &str, response: Response<Incoming>) -> Result<Response<Incoming>, ApiError> {
    if response.status() == StatusCode::OK {
        return Ok(response);
    }
    let is_unknown = response.status() == StatusCode::NOT_FOUND;
    let bytes = body(place, response).await?;
    let reason = match is_unknown {
        true => "it does not know that; an agent of another version runs until it is restarted".to_owned(),
        false => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Err(ApiError::Refused { place: place.to_owned(), reason })
}

async fn decode<T: DeserializeOwned>(place: &str, response: Response<Incoming>) -> Result<T, ApiError> {
    let bytes = body(place, accepted(place, response).await?).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::Broken { place: place.to_owned(), reason: error.to_string() })
}

async fn body(place: &str, response: Response<Incoming>) -> Result<Bytes, ApiError> {
    let limited = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = limited.collect().await;
    Ok(collected.map_err(|error| ApiError::Broken { place: place.to_owned(), reason: error.to_string() })?.to_bytes())
}
