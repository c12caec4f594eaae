//! The proxies that are measured, and the origin behind them. Each configuration is the shortest that keeps
//! connections alive on both sides, adds X-Forwarded-For, checks backends where the program can, and logs every
//! request to a file. TLS is as it comes: tickets are sent by all, and the client chooses the version and the suite.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;

use super::load::CONNECTIONS;
use super::process::{Process, free_port, pin};
use crate::workspace::root;

/// The CPU a proxy has for itself.
pub const PROXY_CPU: u32 = 0;
/// The CPU of load and origin.
pub const SIDE_CPU: u32 = 1;

/// What the origin answers: 70 bytes.
pub const ANSWER: &str = "a small answer of seventy bytes, which fits into one packet with room.";

/// What is asked for to have a large answer.
pub const LARGE_PATH: &str = "/large";
/// A large answer: one megabyte.
pub const LARGE_BYTES: usize = 1_000_000;

/// Most backends in front of which a proxy is measured: the origin has so many addresses, from 127.0.0.1 on.
pub const BACKENDS_MAX: u8 = 100;

/// Most routes through which a proxy is measured; each is for paths that begin with `/service-NUMBER/`.
pub const ROUTES_MAX: u16 = 1000;
/// A path that the first of them, and the only one, is for.
pub const ROUTE_PATH: &str = "/service-0/item/42";

/// Most connections that each proxy may hold on each side, if the system permits so many open files.
const CONNECTIONS_MAX: u64 = 12_000;
/// Open files that a proxy needs for other things than connections.
const OTHER_FILES: u64 = 512;

/// Keeps nginx from closing connections, which it otherwise does after 1000 requests.
const REQUESTS_MAX: u64 = 1_000_000_000;

/// A proxy, or a chain of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Subject {
    /// Ours.
    Triad,
    /// HAProxy alone.
    Haproxy,
    /// nginx alone.
    Nginx,
    /// HAProxy in front of nginx: the usual stack of balancer and web server.
    Chain,
    /// Bytes from one socket to the other, nothing parsed: the floor.
    Relay,
}

impl Subject {
    /// All of them, in the order of the table.
    pub const ALL: [Subject; 5] = [Self::Triad, Self::Haproxy, Self::Nginx, Self::Chain, Self::Relay];

    /// Starts it on `site.port`; returns its processes once it listens.
    pub fn start(self, site: &Site) -> anyhow::Result<Vec<Process>> {
        match self {
            Self::Triad => Ok(vec![start_proxy(triad_edge(site), site, "triad")?]),
            Self::Haproxy => Ok(vec![start_haproxy(site)?]),
            Self::Nginx => Ok(vec![start_nginx(site)?]),
            Self::Chain => {
                let behind = Site { port: free_port()?, certificate: None, ..*site };
                let nginx = start_nginx(&behind)?;
                Ok(vec![start_haproxy(&Site { origin_port: behind.port, backends: 1, ..*site })?, nginx])
            }
            Self::Relay => Ok(vec![start_proxy(relay(site), site, "relay")?]),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Triad => "triad",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Chain => "haproxy > nginx",
            Self::Relay => "raw TCP relay",
        })
    }
}

/// Where a proxy works.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// For configurations and logs.
    pub directory: &'a Path,
    /// The port to listen on, on 127.0.0.1.
    pub port: u16,
    /// The port to send to, on as many addresses from 127.0.0.1 on as there are backends.
    pub origin_port: u16,
    /// How many of the origin's addresses are used, at most [`BACKENDS_MAX`].
    pub backends: u8,
    /// How many routes lead to them, at most [`ROUTES_MAX`]; 0: all requests go there without one.
    pub routes: u16,
    /// Speak TLS with the certificate and the key in this file; otherwise plain HTTP.
    pub certificate: Option<&'a Path>,
    /// Whether clients may choose HTTP/2.
    pub http2: bool,
    /// Open files that a process may have.
    pub open_files: u64,
}

impl Site<'_> {
    fn origins(&self) -> Vec<String> {
        (1..=self.backends).map(|host| format!("127.0.0.{host}:{}", self.origin_port)).collect()
    }

    /// Connections that fit on each side into the open files.
    pub fn connections_max(&self) -> u64 {
        CONNECTIONS_MAX.min(self.open_files.saturating_sub(OTHER_FILES) / 2)
    }
}

/// Starts the origin; returns once it listens.
pub fn start_origin(site: &Site) -> anyhow::Result<Process> {
    let Site { directory, origin_port, .. } = site;
    let large = directory.join(LARGE_PATH.trim_start_matches('/'));
    fs::write(&large, vec![b'x'; LARGE_BYTES]).with_context(|| format!("cannot write {}", large.display()))?;
    let listen: String = site.origins().iter().map(|address| format!("listen {address};\n")).collect();
    let server = format!(
        "access_log off;
         server {{
             {listen}
             location / {{ default_type text/plain; return 200 \"{ANSWER}\"; }}
             location = {LARGE_PATH} {{ root {}; sendfile on; }}
         }}",
        directory.display()
    );
    let command = nginx(site, "origin", &server)?;
    Process::start(pin(SIDE_CPU, &command), &directory.join("origin.out"), *origin_port)
}

/// One worker of our edge, in the foreground.
fn triad_edge(site: &Site) -> Command {
    let mut command = Command::new(root().join("target/dist/examples/edge"));
    command.arg(format!("127.0.0.1:{}", site.port)).arg(site.directory.join("triad.log")).args(site.origins());
    command.args(site.certificate.iter().flat_map(|path| [Path::new("--certificate"), path]));
    command.args(["--routes", &site.routes.to_string(), "--connections", &site.connections_max().to_string()]);
    command
}

fn relay(site: &Site) -> Command {
    let mut command = Command::new(root().join("target/dist/examples/relay"));
    command.args([site.port, site.origin_port].map(|port| format!("127.0.0.1:{port}")));
    command
}

fn start_haproxy(site: &Site) -> anyhow::Result<Process> {
    let Site { directory, port, certificate, http2, .. } = site;
    let connections_max = site.connections_max();
    let tls = certificate.map(|path| format!(" ssl crt {}", path.display())).unwrap_or_default();
    let alpn = if *http2 { " alpn h2,http/1.1" } else { "" };
    let default = haproxy_routes(site)?;
    let servers = site.origins().into_iter().enumerate();
    let servers: String = servers.map(|(index, to)| format!("    server origin-{index} {to} check\n")).collect();
    let configuration = format!(
        "global
    nbthread 1
    maxconn {connections_max}
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option forwardfor
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend site
    bind 127.0.0.1:{port}{tls}{alpn}
    {default}
backend origin
    option httpchk
    http-check send meth GET uri / ver HTTP/1.1 hdr Host 127.0.0.1
{servers}"
    );
    let path = directory.join("haproxy.cfg");
    fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path);
    start_proxy(command, site, "haproxy")
}

/// Where requests go: a map of the starts of paths, its way to have many, or all to the origin.
fn haproxy_routes(site: &Site) -> anyhow::Result<String> {
    if site.routes == 0 {
        return Ok("default_backend origin".to_owned());
    }
    let path = site.directory.join("haproxy.map");
    let map: String = (0..site.routes).map(|number| format!("/service-{number}/ origin\n")).collect();
    fs::write(&path, map).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("use_backend %[path,map_beg({})]", path.display()))
}

fn start_nginx(site: &Site) -> anyhow::Result<Process> {
    let Site { directory, port, certificate, backends, http2, .. } = site;
    let log = directory.join("nginx.log");
    let servers: String = site.origins().iter().map(|address| format!("server {address};\n")).collect();
    let idle = CONNECTIONS * u32::from(*backends);
    let version = if *http2 { " http2" } else { "" };
    let (ssl, tls) = match certificate.map(Path::display) {
        None => ("", String::new()),
        // Version 1.3 is off in Debian's nginx unless asked for.
        Some(path) => {
            (" ssl", format!("ssl_certificate {path}; ssl_certificate_key {path}; ssl_protocols TLSv1.2 TLSv1.3;"))
        }
    };
    let server = format!(
        "access_log {};
         upstream origin {{
             {servers}
             keepalive {idle};
             keepalive_requests {REQUESTS_MAX};
         }}
         server {{
             listen 127.0.0.1:{port}{ssl}{version};
             {tls}
             location / {{
                 proxy_pass http://origin;
                 proxy_max_temp_file_size 0;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
         }}",
        log.display()
    );
    start_proxy(nginx(site, "nginx", &server)?, site, "nginx")
}

/// nginx with one worker and `http` inside its `http` block.
fn nginx(site: &Site, name: &str, http: &str) -> anyhow::Result<Command> {
    let Site { directory, .. } = site;
    let at = directory.display();
    // Connections of both sides are counted together.
    let connections_max = site.connections_max() * 2;
    // As root, workers would become another user, who need not have access to the repository.
    let configuration = format!(
        "daemon off;
         user root;
         worker_processes 1;
         pid {at}/{name}.pid;
         error_log {at}/{name}.error.log;
         events {{ worker_connections {connections_max}; }}
         http {{
             client_body_temp_path {at}/{name}.body;
             proxy_temp_path {at}/{name}.proxy;
             keepalive_requests {REQUESTS_MAX};
             {http}
         }}\n"
    );
    let path = directory.join(format!("{name}.conf"));
    fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(directory.join(format!("{name}.error.log"))).arg("-c").arg(path);
    Ok(command)
}

/// Starts `command` on the proxy's CPU. Logs of earlier rounds are emptied, so that the disk is not what is measured.
fn start_proxy(command: Command, site: &Site, name: &str) -> anyhow::Result<Process> {
    let log = site.directory.join(format!("{name}.log"));
    File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    let output = if name == "haproxy" { log } else { site.directory.join(format!("{name}.out")) };
    Process::start(pin(PROXY_CPU, &command), &output, site.port)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ANSWER, Site, relay, triad_edge};

    fn site() -> Site<'static> {
        Site {
            directory: Path::new("d"),
            port: 80,
            origin_port: 81,
            backends: 2,
            routes: 0,
            certificate: Some(Path::new("a.pem")),
            http2: false,
            open_files: 1024,
        }
    }

    #[test]
    fn the_answer_is_as_small_as_the_table_says() {
        assert_eq!(ANSWER.len(), 70);
    }

    #[test]
    fn our_programs_are_told_where_to_work() {
        let arguments = |command: std::process::Command| {
            let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
            arguments.join(" ")
        };
        assert_eq!(
            arguments(triad_edge(&site())),
            "127.0.0.1:80 d/triad.log 127.0.0.1:81 127.0.0.2:81 --certificate a.pem --routes 0 --connections 256"
        );
        assert_eq!(arguments(relay(&site())), "127.0.0.1:80 127.0.0.1:81");
    }

    #[test]
    fn connections_fit_into_the_open_files() {
        assert_eq!(site().connections_max(), 256);
        assert_eq!(Site { open_files: 1 << 20, ..site() }.connections_max(), 12_000);
        assert_eq!(Site { open_files: 100, ..site() }.connections_max(), 0);
    }
}
