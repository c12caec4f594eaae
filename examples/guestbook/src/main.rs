//! A guestbook: visitors leave a name and a few words, and everybody reads them.
//!
//! It is the example application of Triad and depends on nothing of it. It shows what an application needs to be
//! run as several instances on several servers: it listens on the port it is given, keeps no state of its own, says
//! when it is healthy, survives a database that is away for a while, and finishes its work when told to stop.
//!
//! Its environment: `PORT`, `DATABASE_URL` (`mysql://user:password@127.0.0.1:3306/name`), and, to be shown to
//! visitors, `TRIAD_SERVER` (else the host's name) and `TRIAD_INSTANCE` (else 1).

#![forbid(unsafe_code)]

mod http;
mod pages;
mod store;

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::http::App;
use crate::store::Store;

/// What the system gets to find a file descriptor when it has none for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What requests under way get to finish after SIGTERM. Whoever stops us is told five seconds.
const STOP_DEADLINE: Duration = Duration::from_millis(4_500);

/// Who answers: the proof, on every page, that a load balancer is at work.
#[derive(Serialize)]
struct Identity {
    server: String,
    instance: String,
    pid: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let port: u16 = variable("PORT")?.parse().context("PORT is not a port number")?;
    let app = Arc::new(App { store: Store::new(&variable("DATABASE_URL")?)?, identity: identity()? });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
    eprintln!("listening on 127.0.0.1:{port}");
    serve(listener, app).await
}

fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("the environment variable {name} is needed"))
}

fn identity() -> anyhow::Result<Identity> {
    let server = match env::var("TRIAD_SERVER") {
        Ok(name) => name,
        Err(_) => fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host's name")?,
    };
    let instance = env::var("TRIAD_INSTANCE").unwrap_or_else(|_| "1".to_string());
    Ok(Identity { server: server.trim().to_string(), instance, pid: process::id() })
}

/// Serves until SIGTERM, then lets requests under way finish. How many connections come at once is for whoever
/// stands in front to bound; what they cost the database is bounded in [`Store`].
async fn serve(listener: TcpListener, app: Arc<App>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve_connection(stream, Arc::clone(&app), &connections),
                Err(error) => {
                    eprintln!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(STOP_DEADLINE, connections.shutdown()).await.is_err() {
        eprintln!("stopped with requests unfinished after {} ms", STOP_DEADLINE.as_millis());
    }
    Ok(())
}

fn serve_connection(stream: TcpStream, app: Arc<App>, connections: &GracefulShutdown) {
    let service = service_fn(move |request| http::answer(Arc::clone(&app), request));
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    // A client that goes away in the middle of a request is its own business.
    tokio::spawn(async move { connection.await.ok() });
}
