//! One voter, asked over HTTP/1.1 in mutual TLS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName as DnsName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsConnector;
use triad_model::ServerName;
use triad_tls::internal_name;

use super::messages::{Refusal, Streamed};

/// Bytes of an answer, and of a line of a stream, at most.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that an answer's line has beyond the last whole line at most.
const LINE_BYTES_MAX: usize = ANSWER_BYTES_MAX;
/// Questions that may wait for one voter's answer at one time, those included that nobody waits for any more.
const QUESTIONS_MAX: usize = 4;
/// How long an answer is waited for that nobody waits for any more.
const ANSWER_LATE_MAX: Duration = Duration::from_secs(3);
/// How long a voter that failed is asked last.
const FAILED_FOR: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The question did not leave this server.
    NotSent(String),
    /// It may have arrived.
    Sent(String),
}

pub(super) struct Endpoint {
    /// `srv2 (10.0.0.2:2379)`.
    pub place: String,
    server: ServerName,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    /// A connection that nobody uses now.
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
    /// Questions that wait for their answers.
    under_way: Arc<Semaphore>,
    /// When it failed last, if it has not answered since.
    pub failed: watch::Sender<Option<Instant>>,
}

impl Endpoint {
    pub fn new(server: ServerName, address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let place = format!("{server} ({address})");
        Self {
            place,
            server,
            address,
            tls,
            idle: Mutex::new(None),
            under_way: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            failed: watch::Sender::new(None),
        }
    }

    pub fn has_failed(&self) -> bool {
        self.failed.borrow().is_some_and(|at| at.elapsed() < FAILED_FOR)
    }

    /// Asks, and remembers whether it answered within `limit`. An answer that comes later is read to its end all the same,
    /// so that the connection is there for the next question: on a busy server, opening one takes longer than an answer.
    pub async fn ask(self: &Arc<Self>, path: &str, question: &Value, limit: Duration) -> Result<Bytes, Unanswered> {
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else {
            self.remember(false);
            return Err(not_sent("earlier questions wait for their answers still"));
        };
        let (this, path, question) = (self.clone(), path.to_owned(), question.clone());
        let asked = tokio::spawn(async move {
            let _permit = permit;
            let late = || Unanswered::Sent(format!("no answer within {ANSWER_LATE_MAX:?}"));
            tokio::time::timeout(ANSWER_LATE_MAX, this.exchange(&path, &question)).await.unwrap_or_else(|_| Err(late()))
        });
        let answer = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(Unanswered::Sent(error.to_string())),
            Err(_) => Err(Unanswered::Sent(format!("no answer within {limit:?}"))),
        };
        self.remember(answer.is_ok());
        answer
    }

    async fn exchange(&self, path: &str, question: &Value) -> Result<Bytes, Unanswered> {
        let (mut sender, is_new) = self.connection().await?;
        let response = match send(&mut sender, path, question).await {
            // The voter closed it while nobody used it.
            Err(Unanswered::NotSent(_)) if !is_new => {
                sender = self.open().await?;
                send(&mut sender, path, question).await?
            }
            sent => sent?,
        };
        let bytes = whole(response).await?;
        *self.idle() = Some(sender);
        Ok(bytes)
    }

    /// Opens a stream of answers. Only its beginning is bounded in time.
    pub async fn stream(&self, path: &str, question: &Value, limit: Duration) -> Result<Lines, Unanswered> {
        let opened = async {
            let mut sender = self.open().await?;
            let response = send(&mut sender, path, question).await?;
            match response.status() {
                StatusCode::OK => Ok(Lines { body: response.into_body(), rest: BytesMut::new(), _sender: sender }),
                _ => Err(whole(response).await.err().unwrap_or_else(|| Unanswered::Sent("a refusal".to_owned()))),
            }
        };
        let late = || Unanswered::Sent(format!("no answer within {limit:?}"));
        let opened = tokio::time::timeout(limit, opened).await.unwrap_or_else(|_| Err(late()));
        if opened.is_err() {
            self.remember(false);
        }
        opened
    }

    pub fn remember(&self, answered: bool) {
        self.failed.send_if_modified(|failed| {
            let is_news = !answered || failed.is_some();
            *failed = (!answered).then(Instant::now);
            is_news
        });
    }

    async fn connection(&self) -> Result<(SendRequest<Full<Bytes>>, bool), Unanswered> {
        let idle = self.idle().take().filter(|sender| !sender.is_closed());
        match idle {
            Some(sender) => Ok((sender, false)),
            None => Ok((self.open().await?, true)),
        }
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, Unanswered> {
        let stream = TcpStream::connect(self.address).await.map_err(not_sent)?;
        stream.set_nodelay(true).map_err(not_sent)?;
        let name = DnsName::try_from(internal_name(&self.server)).map_err(not_sent)?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.map_err(not_sent)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(not_sent)?;
        // Ends with its sender; its errors reach us through the answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    question: &Value,
) -> Result<Response<Incoming>, Unanswered> {
    let request = Request::post(path)
        .header(header::HOST, "etcd")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(question.to_string())))
        .expect("paths here are well-formed");
    sender.ready().await.map_err(not_sent)?;
    sender.try_send_request(request).await.map_err(|mut failed| match failed.take_message() {
        Some(_) => not_sent(failed.error()),
        None => Unanswered::Sent(failed.error().to_string()),
    })
}

/// All of an answer; a refusal is an error in its own words.
async fn whole(response: Response<Incoming>) -> Result<Bytes, Unanswered> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| Unanswered::Sent(error.to_string()))?.to_bytes();
    match status {
        StatusCode::OK => Ok(bytes),
        _ => {
            let refusal = serde_json::from_slice::<Refusal>(&bytes).unwrap_or_default();
            Err(Unanswered::Sent(format!("{status}: {}", refusal.message)))
        }
    }
}

fn not_sent(error: impl std::fmt::Display) -> Unanswered {
    Unanswered::NotSent(error.to_string())
}

/// Answers as they come, one a line.
pub(super) struct Lines {
    body: Incoming,
    rest: BytesMut,
    _sender: SendRequest<Full<Bytes>>,
}

impl Lines {
    /// The next answer; `None` at the end. May be dropped and called again.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return match serde_json::from_slice(&line).map_err(|error| error.to_string())? {
                    Streamed::Result(answer) => Ok(Some(answer)),
                    Streamed::Error(error) => Err(error.to_string()),
                };
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let data = frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default();
            if self.rest.len() + data.len() > LINE_BYTES_MAX {
                return Err(format!("a line of more than {LINE_BYTES_MAX} bytes"));
            }
            self.rest.extend_from_slice(&data);
        }
    }
}
