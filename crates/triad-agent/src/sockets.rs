//! Listening sockets: the agent opens and keeps them, its children inherit them, so a child that dies loses none.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel holds while a child is replaced.
const BACKLOG: i32 = 4096;

/// A socket with the name its child knows it by; several with one name are one per worker.
pub struct Named {
    /// As in `LISTEN_FDNAMES`: no colon in it.
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// `count` TCP listeners on `address`, among which the kernel spreads connections (`SO_REUSEPORT`).
pub fn tcp(address: SocketAddr, count: usize) -> anyhow::Result<Vec<TcpListener>> {
    let sockets = group(address, Type::STREAM, Protocol::TCP, count)?;
    sockets
        .into_iter()
        .map(|socket| {
            socket.listen(BACKLOG).with_context(|| format!("cannot listen on {address}"))?;
            Ok(socket.into())
        })
        .collect()
}

/// A UDP socket on `address`.
pub fn udp(address: SocketAddr) -> anyhow::Result<Vec<UdpSocket>> {
    Ok(group(address, Type::DGRAM, Protocol::UDP, 1)?.into_iter().map(UdpSocket::from).collect())
}

fn group(address: SocketAddr, kind: Type, protocol: Protocol, count: usize) -> anyhow::Result<Vec<Socket>> {
    // Alone first: a group would let another process of the same user in, a second agent above all.
    bound(address, kind, protocol, false)?;
    (0..count).map(|_| bound(address, kind, protocol, true)).collect()
}

fn bound(address: SocketAddr, kind: Type, protocol: Protocol, shared: bool) -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol)).context("cannot make a socket")?;
    // For TCP: past connections that still wait do not hold the port. For UDP it would share it.
    socket.set_reuse_address(protocol == Protocol::TCP)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).map_err(|error| explain(error, address, protocol))?;
    Ok(socket)
}

fn explain(error: std::io::Error, address: SocketAddr, protocol: Protocol) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let what = if protocol == Protocol::UDP { "udp" } else { "tcp" };
            let holder = holder(address, what).unwrap_or_else(|| "another process".to_owned());
            anyhow::anyhow!(
                "{what} port {} of {} is taken by {holder}; stop it, then start the agent again",
                address.port(),
                address.ip()
            )
        }
        std::io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "this host has no address {}; give it to an interface, or correct the server in triad.toml",
            address.ip()
        ),
        _ => anyhow::Error::new(error).context(format!("cannot bind {address}")),
    }
}

/// Who listens on `address`, as `nginx (pid 1234)`: its socket's inode from /proc/net, then whoever has that open.
pub fn holder(address: SocketAddr, protocol: &str) -> Option<String> {
    let inode = inodes(protocol).into_iter().find(|(bound, _)| conflicts(*bound, address)).map(|(_, inode)| inode)?;
    let link = format!("socket:[{inode}]");
    let processes = procfs::process::all_processes().ok()?.flatten();
    for process in processes {
        let Ok(mut open) = std::fs::read_dir(format!("/proc/{}/fd", process.pid)) else { continue };
        let has_it = open
            .any(|fd| fd.is_ok_and(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == link.as_str())));
        if has_it {
            return Some(format!("{} (pid {})", process.stat().ok()?.comm, process.pid));
        }
    }
    None
}

fn conflicts(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let any = |address: IpAddr| address.is_unspecified();
    bound.port() == wanted.port() && (bound.ip() == wanted.ip() || any(bound.ip()) || any(wanted.ip()))
}

fn inodes(protocol: &str) -> Vec<(SocketAddr, u64)> {
    if protocol == "udp" {
        let entries = [procfs::net::udp(), procfs::net::udp6()];
        entries.into_iter().flatten().flatten().map(|entry| (entry.local_address, entry.inode)).collect()
    } else {
        let entries = [procfs::net::tcp(), procfs::net::tcp6()];
        let listening = |entry: &procfs::net::TcpNetEntry| entry.state == procfs::net::TcpState::Listen;
        let entries = entries.into_iter().flatten().flatten().filter(listening);
        entries.map(|entry| (entry.local_address, entry.inode)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    #[test]
    fn a_taken_port_names_its_holder_and_a_foreign_address_says_so() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let error = super::tcp(address, 2).unwrap_err().to_string();
        let own = format!("(pid {})", std::process::id());
        assert!(error.contains(&format!("tcp port {} of 127.0.0.1 is taken by", address.port())), "{error}");
        assert!(error.contains(&own), "{error}");

        let foreign: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let error = super::tcp(foreign, 1).unwrap_err().to_string();
        assert!(error.starts_with("this host has no address 192.0.2.1"), "{error}");
    }

    #[test]
    fn several_workers_share_one_address_and_nobody_else_gets_in() {
        let workers = super::tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = workers[0].local_addr().unwrap();
        assert!(super::tcp(address, 1).unwrap_err().to_string().contains("is taken by"));
        drop(workers);
        assert_eq!(super::tcp(address, 4).unwrap().len(), 4);
    }
}
