//! The proxies that are measured, and the origin behind them. Each configuration is the shortest that keeps
//! connections alive on both sides, adds X-Forwarded-For, and logs every request to a file.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;

use super::process::{Process, free_port, pin};
use super::work::LARGE_BYTES;
use crate::workspace::root;

/// The CPU a proxy has for itself.
pub const PROXY_CPU: u32 = 0;
/// The CPU of load and origin.
pub const SIDE_CPU: u32 = 1;

/// What the origin answers: 70 bytes.
pub const ANSWER: &str = "a small answer of seventy bytes, which fits into one packet with room.";

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
    /// A relay of bytes, which is no proxy: what the kernel and the runtime cost alone.
    Floor,
}

impl Subject {
    /// All of them, in the order of the table.
    pub const ALL: [Subject; 5] = [Self::Triad, Self::Haproxy, Self::Nginx, Self::Chain, Self::Floor];

    /// Starts it on `site.port`; returns its processes once it listens.
    pub fn start(self, site: &Site) -> anyhow::Result<Vec<Process>> {
        match self {
            Self::Triad => Ok(vec![start_proxy(triad_edge(site), site, "triad")?]),
            Self::Haproxy => Ok(vec![start_haproxy(site)?]),
            Self::Nginx => Ok(vec![start_nginx(site)?]),
            Self::Floor => Ok(vec![start_proxy(example("floor", site), site, "floor")?]),
            Self::Chain => {
                let behind = Site { port: free_port()?, pem: None, ..*site };
                let nginx = start_nginx(&behind)?;
                Ok(vec![start_haproxy(&Site { origin_port: behind.port, ..*site })?, nginx])
            }
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
            Self::Floor => "tcp relay",
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
    /// The port to send to, on 127.0.0.1.
    pub origin_port: u16,
    /// Certificate and key, if clients speak TLS.
    pub pem: Option<&'a Path>,
}

/// Starts the origin; returns once it listens.
pub fn start_origin(directory: &Path, port: u16) -> anyhow::Result<Process> {
    let server = format!(
        "access_log off;
         server {{
             listen 127.0.0.1:{port};
             location / {{ default_type text/plain; return 200 \"{ANSWER}\"; }}
             location = /large {{ root {}; }}
         }}",
        directory.display()
    );
    fs::write(directory.join("large"), vec![b'x'; LARGE_BYTES])?;
    let command = nginx(directory, "origin", &server)?;
    Process::start(pin(SIDE_CPU, &command), &directory.join("origin.out"), port)
}

/// One worker of our edge as a plain HTTP proxy from `site.port` to `site.origin_port`, in the foreground.
fn triad_edge(site: &Site) -> Command {
    let mut command = example("edge", site);
    command.arg(site.directory.join("triad.log")).args(site.pem);
    command
}

/// An example of `triad-proxy`, with both addresses.
fn example(name: &str, site: &Site) -> Command {
    let mut command = Command::new(root().join("target/dist/examples").join(name));
    command.args([site.port, site.origin_port].map(|port| format!("127.0.0.1:{port}")));
    command
}

fn start_haproxy(site: &Site) -> anyhow::Result<Process> {
    let Site { directory, port, origin_port, pem } = site;
    let tls = pem.map(|pem| format!(" ssl crt {}", pem.display())).unwrap_or_default();
    let configuration = format!(
        "global
    nbthread 1
    maxconn 4096
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
    bind 127.0.0.1:{port}{tls}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin_port}
"
    );
    let path = directory.join("haproxy.cfg");
    fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path);
    start_proxy(command, site, "haproxy")
}

fn start_nginx(site: &Site) -> anyhow::Result<Process> {
    let Site { directory, port, origin_port, pem } = site;
    let certificate = pem.map(|pem| format!("ssl_certificate {0}; ssl_certificate_key {0};", pem.display()));
    let (tls, certificate) = (if pem.is_some() { " ssl" } else { "" }, certificate.unwrap_or_default());
    let log = directory.join("nginx.log");
    let server = format!(
        "access_log {};
         upstream origin {{
             server 127.0.0.1:{origin_port};
             keepalive 64;
             keepalive_requests {REQUESTS_MAX};
         }}
         server {{
             listen 127.0.0.1:{port}{tls};
             {certificate}
             location / {{
                 proxy_pass http://origin;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
         }}",
        log.display()
    );
    start_proxy(nginx(directory, "nginx", &server)?, site, "nginx")
}

/// nginx with one worker and `http` inside its `http` block.
fn nginx(directory: &Path, name: &str, http: &str) -> anyhow::Result<Command> {
    let at = directory.display();
    let configuration = format!(
        "daemon off;
         worker_processes 1;
         pid {at}/{name}.pid;
         error_log {at}/{name}.error.log;
         events {{ worker_connections 4096; }}
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
    use super::ANSWER;

    #[test]
    fn the_answer_is_as_small_as_the_table_says() {
        assert_eq!(ANSWER.len(), 70);
    }
}
