//! An application that speaks HTTP/2 without TLS, as servers of gRPC do; `GET /up` and gRPC's own check answer as told.
//! A connection that does not begin with the preface gets what HTTP/1.1 has for it: a shout.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What a test tells and asks it.
#[derive(Default)]
pub struct Seen {
    /// Connections that carried a request beside checks.
    pub connections: AtomicUsize,
    /// Requests beside checks.
    pub requests: AtomicUsize,
    /// Requests that are still to be refused.
    pub refuse: AtomicUsize,
    pub sick: AtomicBool,
    /// Whether connections that carried a request are to go away after it.
    pub leave: AtomicBool,
    /// Lets `/wait` go on, and whoever reads late read.
    pub release: Arc<Notify>,
    /// Reasons for which clients broke off.
    pub resets: Mutex<Vec<Reason>>,
    pub heads: Mutex<Vec<String>>,
}

/// The application.
pub struct Http2Origin {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    _running: tokio::sync::oneshot::Sender<()>,
}

impl Http2Origin {
    pub fn start() -> Self {
        Self::with_streams(1000)
    }

    /// One that takes so many requests at one time on a connection.
    pub fn with_streams(max: u32) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Seen::default());
        let (running, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = seen.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(connection(stream, max, serving.clone()));
                    }
                });
                let _ = ended.await;
            });
        });
        Self { address, seen, _running: running }
    }
}

async fn connection(mut stream: TcpStream, max: u32, seen: Arc<Seen>) {
    let mut first = [0];
    if !matches!(stream.peek(&mut first).await, Ok(1)) {
        return;
    }
    if first != *b"P" {
        return shout(&mut stream).await;
    }
    let Ok(mut server) = Builder::new().max_concurrent_streams(max).handshake::<_, Bytes>(stream).await else { return };
    let mut fresh = true;
    while let Some(Ok((request, mut respond))) = server.accept().await {
        let path = request.uri().path().to_owned();
        if path == "/up" {
            let status = if seen.sick.load(SeqCst) { 503 } else { 200 };
            let _ = respond.send_response(Response::builder().status(status).body(()).expect("an answer"), true);
            continue;
        }
        if path.starts_with("/grpc.health") {
            tokio::spawn(health(request, respond, seen.sick.load(SeqCst)));
            continue;
        }
        if std::mem::take(&mut fresh) {
            seen.connections.fetch_add(1, SeqCst);
        }
        // Made before it is counted: who sees it counted may let it go on at once.
        let released = seen.release.clone().notified_owned();
        seen.requests.fetch_add(1, SeqCst);
        if seen.refuse.load(SeqCst) > 0 {
            seen.refuse.fetch_sub(1, SeqCst);
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        if seen.leave.load(SeqCst) {
            server.graceful_shutdown();
        }
        tokio::spawn(act(request, respond, seen.clone(), path, released));
    }
}

/// Switches protocols, and answers one word of five letters, louder.
async fn shout(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.expect("a head"));
    }
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.expect("a word");
    stream.write_all(&word.to_ascii_uppercase()).await.expect("sent");
}

async fn health(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, is_sick: bool) {
    let mut body = request.into_body();
    let mut asked = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        asked.extend_from_slice(&part);
    }
    assert_eq!(asked, [0; 5], "an empty message");
    let mut send = respond.send_response(Response::new(()), false).expect("begun");
    let message = [0, 0, 0, 0, 2, 8, if is_sick { 2 } else { 1 }];
    send.send_data(Bytes::copy_from_slice(&message), false).expect("sent");
    let _ = send.send_trailers(trailers());
}

pub fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))])
}

async fn act(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Arc<Seen>,
    path: String,
    released: OwnedNotified,
) {
    let head = format!("{} {}\n{:?}", request.method(), request.uri(), request.headers());
    seen.heads.lock().expect("heads").push(head.clone());
    let mut body = request.into_body();
    match path.as_str() {
        "/echo" => return echo(&mut body, respond, &seen).await,
        "/cancel" => {
            let mut send = respond.send_response(Response::new(()), false).expect("begun");
            send.send_data("some".into(), false).expect("sent");
            released.await;
            return send.send_reset(Reason::CANCEL);
        }
        "/watch" => {
            let mut send = respond.send_response(Response::new(()), false).expect("begun");
            send.send_data("some".into(), false).expect("sent");
            return note_reset(&mut send, &seen).await;
        }
        "/wide" => {
            let wide = Response::builder().header("x-wide", "x".repeat(100_000)).body(()).expect("an answer");
            let _ = respond.send_response(wide, true);
            return;
        }
        "/full" => {
            let answer = Response::builder().status(503).body(()).expect("an answer");
            let mut send = respond.send_response(answer, false).expect("begun");
            send_all(&mut send, vec![b'.'; 300_000].into()).await;
            let _ = send.send_data(Bytes::new(), true);
            return;
        }
        "/refuse-late" => {
            let mut length = 0;
            while length < 50_000 {
                length += body.data().await.expect("more").expect("a part").len();
            }
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        "/late" | "/wait" => released.await,
        "/never" => {
            if let Ok(reason) = std::future::poll_fn(|context| respond.poll_reset(context)).await {
                seen.resets.lock().expect("resets").push(reason);
            }
            return;
        }
        _ => {}
    }
    let mut length = 0;
    while let Some(Ok(part)) = body.data().await {
        length += part.len();
        let _ = body.flow_control().release_capacity(part.len());
    }
    let Ok(mut send) = respond.send_response(Response::new(()), false) else { return };
    let _ = send.send_data(format!("{length} bytes\n{head}").into(), true);
}

/// Each part of the body, as it comes; then its trailers, and the status.
async fn echo(body: &mut RecvStream, mut respond: SendResponse<Bytes>, seen: &Seen) {
    let mut send = respond.send_response(Response::new(()), false).expect("begun");
    loop {
        let part = match body.data().await {
            Some(Ok(part)) => part,
            Some(Err(error)) => return seen.resets.lock().expect("resets").extend(error.reason()),
            None => break,
        };
        let length = part.len();
        send_all(&mut send, part).await;
        let _ = body.flow_control().release_capacity(length);
    }
    let mut trailers = body.trailers().await.expect("trailers").unwrap_or_default();
    trailers.extend(self::trailers());
    let _ = send.send_trailers(trailers);
}

async fn note_reset(send: &mut SendStream<Bytes>, seen: &Seen) {
    let reset = std::future::poll_fn(|context| send.poll_reset(context));
    if let Ok(Ok(reason)) = tokio::time::timeout(Duration::from_secs(20), reset).await {
        seen.resets.lock().expect("resets").push(reason);
    }
}

/// Sends `part` as the other end has room.
pub async fn send_all(send: &mut SendStream<Bytes>, mut part: Bytes) {
    while !part.is_empty() {
        send.reserve_capacity(part.len());
        let room = match send.capacity() {
            0 => match std::future::poll_fn(|context| send.poll_capacity(context)).await {
                Some(Ok(room)) => room,
                _ => return,
            },
            room => room,
        };
        if send.send_data(part.split_to(room.min(part.len())), false).is_err() {
            return;
        }
    }
}
