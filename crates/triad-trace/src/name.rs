//! The name, asked of the name servers as a resolver does, but so that one sees who answers.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};
use triad_model::DNS;

use crate::seen::{Lookup, Passed};

/// Where the name servers stand (resolv.conf(5)).
const RESOLVER_FILE: &str = "/etc/resolv.conf";
/// A name server that does not answer within this is passed over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer over UDP without EDNS, in bytes (RFC 1035 §4.2.1).
const ANSWER_BYTES_MAX: usize = 512;
/// What is asked, each in a query of its own with its place here as id.
const QUESTIONS: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// The addresses of `host`, by the first name server that answers.
pub async fn look_up(host: &str) -> anyhow::Result<Lookup> {
    let text = std::fs::read_to_string(RESOLVER_FILE).unwrap_or_default();
    let servers = name_servers(&text);
    if servers.is_empty() {
        return from_files(host).await;
    }
    let mut passed = Vec::new();
    for server in servers {
        let began = Instant::now();
        match timeout(ANSWER_TIMEOUT, ask(server, host)).await {
            Ok(Ok(lookup)) => return Ok(Lookup { passed, took_us: since_us(began), ..lookup }),
            Ok(Err(error)) => passed.push(Passed { address: server, why: format!("{error:#}") }),
            Err(_) => {
                let why = format!("did not answer within {} ms", ANSWER_TIMEOUT.as_millis());
                passed.push(Passed { address: server, why });
            }
        }
    }
    let whys: Vec<String> = passed.iter().map(|passed| format!("{} {}", passed.address, passed.why)).collect();
    bail!("no name server gives {host}: {}", whys.join("; "))
}

/// Without name servers: whatever else the system knows, `/etc/hosts` above all.
async fn from_files(host: &str) -> anyhow::Result<Lookup> {
    let began = Instant::now();
    let found = tokio::net::lookup_host((host, 0)).await.with_context(|| format!("{host} is not known"))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(Lookup { addresses, took_us: since_us(began), ..Lookup::default() })
}

/// Addresses of `nameserver` lines.
fn name_servers(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok()).collect()
}

async fn ask(server: IpAddr, host: &str) -> anyhow::Result<Lookup> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(SocketAddr::new(server, DNS)).await?;
    let name = Name::from_ascii(format!("{host}.")).context("the host is no name")?;
    for (id, kind) in (0..).zip(QUESTIONS) {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name.clone(), kind));
        socket.send(&query.to_vec()?).await?;
    }
    let mut lookup = Lookup { server: Some(server), ..Lookup::default() };
    let mut open: HashSet<u16> = (0..).take(QUESTIONS.len()).collect();
    let mut bytes = [0; ANSWER_BYTES_MAX];
    while !open.is_empty() {
        let length = socket.recv(&mut bytes).await.context("refused the query")?;
        let Ok(message) = Message::from_vec(&bytes[..length]) else { continue };
        if open.remove(&message.metadata.id) {
            take(&message, &mut lookup)?;
        }
    }
    if lookup.addresses.is_empty() {
        bail!("knows no address");
    }
    Ok(lookup)
}

/// Adds what `message` says to `lookup`.
fn take(message: &Message, lookup: &mut Lookup) -> anyhow::Result<()> {
    if message.metadata.response_code != ResponseCode::NoError {
        bail!("answered {}", message.metadata.response_code);
    }
    for record in &message.answers {
        lookup.ttl_s.get_or_insert(record.ttl);
        match &record.data {
            RData::A(address) => lookup.addresses.push(address.0.into()),
            RData::AAAA(address) => lookup.addresses.push(address.0.into()),
            RData::CNAME(alias) => {
                let alias = alias.0.to_ascii().trim_end_matches('.').to_owned();
                if !lookup.aliases.contains(&alias) {
                    lookup.aliases.push(alias);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Microseconds since `began`.
pub fn since_us(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::name_servers;

    #[test]
    fn name_servers_are_asked_in_the_order_of_the_file() {
        let text = "options timeout:1\nnameserver 203.0.113.11\n nameserver\t2001:db8::1\n# nameserver 192.0.2.1\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["203.0.113.11", "2001:db8::1"]);
    }
}
