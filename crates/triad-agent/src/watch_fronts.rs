//! Which front servers look alive, for the name server to leave dead ones out of its answers.
//!
//! The agent asks each front for a page's head over plain HTTP, as a user's first request would come. Accepting the
//! connection is not enough: the kernel does that for an edge that is gone as well.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use triad_model::{
    CHECK_USER_AGENT, Design, FRONT_CHECK_COUNT, FRONT_CHECK_MS, HTTP, Health, Reading, ServerName, Verdict,
};

const INTERVAL: Duration = Duration::from_millis(FRONT_CHECK_MS);
const TIMEOUT: Duration = INTERVAL;

/// Watches every front of `design` and tells `left_out` which ones look dead, for as long as the agent runs.
/// Starts by believing all of them.
pub async fn run(design: Design, left_out: watch::Sender<Vec<ServerName>>) {
    let mut fronts: Vec<Front> = design.fronts().into_iter().filter_map(|name| Front::of(&design, name)).collect();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let readings =
            futures_util::future::join_all(fronts.iter().map(|front| probe(front.address, &design.site.domain))).await;
        let mut changed = false;
        for (front, reading) in fronts.iter_mut().zip(readings) {
            if let Some(verdict) = front.health.take(reading) {
                tracing::info!(server = front.server.as_str(), ?verdict, "a front changed in DNS");
                changed = true;
            }
        }
        if changed {
            let dead = fronts.iter().filter(|front| front.health.verdict() == Verdict::Down);
            left_out.send_replace(dead.map(|front| front.server.clone()).collect());
        }
    }
}

struct Front {
    server: ServerName,
    address: IpAddr,
    health: Health,
}

impl Front {
    fn of(design: &Design, name: &ServerName) -> Option<Self> {
        let address = *design.server(name)?.public.first()?;
        Some(Self {
            server: name.clone(),
            address,
            health: Health::new(Verdict::Up, FRONT_CHECK_COUNT, FRONT_CHECK_COUNT),
        })
    }
}

async fn probe(address: IpAddr, domain: &str) -> Reading {
    match tokio::time::timeout(TIMEOUT, ask(address, domain)).await {
        Ok(Ok(true)) => Reading::Pass,
        Ok(Ok(false) | Err(_)) | Err(_) => Reading::Fail,
    }
}

/// Whether anything that speaks HTTP answers.
async fn ask(address: IpAddr, domain: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(SocketAddr::new(address, HTTP)).await?;
    let head =
        format!("HEAD / HTTP/1.1\r\nHost: {domain}\r\nUser-Agent: {CHECK_USER_AGENT}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut start = [0; 5];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/")
}
