//! One edge worker in front of one origin, as `cargo xtask bench edge` measures it: what the agent starts, without
//! the agent. Health checks, counters and access log on; plain HTTP, or HTTPS with the certificate and key in a file.
//!
//! `edge LISTEN ORIGIN ACCESS_LOG [PEM]`, both addresses as `127.0.0.1:8080`.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use triad_model::{HealthCheck, Secret};
use triad_proxy::{BackendPlan, Edge, EdgePlan, ListenerSpec, PoolPlan, Target};
use triad_tls::KeyPair;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin, access_log, pem @ ..] = arguments.as_slice() else {
        return Err("usage: edge LISTEN ORIGIN ACCESS_LOG [PEM]".into());
    };
    let listen: SocketAddr = listen.parse()?;
    let socket = TcpListener::bind(listen)?;
    socket.set_nonblocking(true)?;
    let mut plan = plan(listen, origin.parse()?, access_log.into());
    let mut door = ListenerSpec::HTTP;
    if let [pem] = pem {
        let text = std::fs::read_to_string(pem)?;
        plan.site_certificate = Some(KeyPair { certificate_pem: text.clone(), key_pem: Secret::new(text) });
        door = ListenerSpec::HTTPS;
    }
    let _edge = Edge::start(plan, vec![(door.to_owned(), vec![socket])])?;
    loop {
        std::thread::park();
    }
}

fn plan(listen: SocketAddr, origin: SocketAddr, access_log: PathBuf) -> EdgePlan {
    let backend = BackendPlan { name: "origin".to_owned(), target: Target::Instance(origin), weight: 1, backup: false };
    let check = HealthCheck { path: "/".to_owned(), interval_ms: 500, timeout_ms: 500, rise: 2, fall: 2 };
    EdgePlan {
        // The load generator asks for the address.
        hosts: vec![listen.ip().to_string()],
        redirect_to_https: false,
        site_certificate: None,
        identity: None,
        hop_from: Vec::new(),
        checked_from: Vec::new(),
        root: None,
        balancer: None,
        local: Some(PoolPlan { backends: vec![backend], check }),
        relay: None,
        access_log: Some(access_log),
    }
}
