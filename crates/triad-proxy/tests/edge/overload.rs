//! More than the edge has room for: what is there is served, what comes is turned away, the design's own is let in.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use triad_model::{CHECK_USER_AGENT, Limits};
use triad_proxy::EdgePlan;

use crate::bed::*;

const CHECKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// A connection from one of this host's addresses.
fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of this host");
    socket.connect(&address.into()).expect("the kernel accepts");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    socket.into()
}

fn check(address: SocketAddr) -> u16 {
    let check = format!("HEAD / HTTP/1.1\nHost: {HOST}\nUser-Agent: {CHECK_USER_AGENT}\nConnection: close\n\n");
    exchange(&mut connect_from(CHECKER, address), &check).status
}

/// Whether the edge closed it without a word.
fn is_turned_away(stream: &mut TcpStream) -> bool {
    // A reset is as good: what a client sent before it knew may be unread.
    stream.read(&mut [0]).is_ok_and(|length| length == 0)
}

#[test]
fn a_flood_of_connections_costs_those_that_are_open_nothing() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let limits = Some(Limits { site_connections: Some(20), ..Limits::default() });
    let (edge, address) = edge("http", EdgePlan { balancer, limits, checked_from: vec![CHECKER.into()], ..plan() });
    let ask = format!("GET / HTTP/1.1\nHost: {HOST}\n\n");
    let mut kept: Vec<_> = (0..20).map(|_| connect(address)).collect();
    assert!(kept.iter_mut().all(|client| exchange(client, &ask).status == 200));
    for round in 1..=3 {
        let mut flood: Vec<_> = (0..100).map(|_| connect(address)).collect();
        assert!(kept.iter_mut().all(|client| exchange(client, &ask).status == 200), "round {round}");
        assert_eq!(check(address), 204, "a name server's check");
        assert!(flood.iter_mut().all(is_turned_away), "round {round}");
        let report = edge.report();
        assert_eq!((report.connections_refused, report.refusals.connections_full), (100 * round, 100 * round));
        assert_eq!(report.connections_max, 20);
    }
    kept.truncate(19);
    until("one has ended", || edge.report().connections == 19);
    assert_eq!(exchange(&mut connect(address), &ask).status, 200, "there is room for one again");
}

#[test]
fn new_connections_are_closed_first_then_new_requests_are_told_to_come_back_and_what_runs_is_finished() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    // Of 64 files 32 for clients, 8 for the design's own, 8 for all else: 16 requests under way.
    let limits = Some(Limits { site_connections: Some(1_000_000), ..Limits::default() });
    let plan = EdgePlan { balancer, limits, files_max: Some(64), checked_from: vec![CHECKER.into()], ..plan() };
    let (address, mut listeners) = sockets();
    // One worker alone, so that it is known who has how many.
    listeners.truncate(1);
    let edge = triad_proxy::Edge::start(plan, vec![("http".to_owned(), listeners)]).expect("the edge starts");
    let ask = |path: &str| format!("GET {path} HTTP/1.1\nHost: {HOST}\n\n");
    let mut kept: Vec<_> = (0..17).map(|_| connect(address)).collect();
    assert!(kept.iter_mut().all(|client| exchange(client, &ask("/")).status == 200));
    let mut waiting = kept.split_off(1);
    for (number, client) in waiting.iter_mut().enumerate() {
        client.write_all(ask("/wait").replace('\n', "\r\n").as_bytes()).expect("sent");
        origin.until_asked(17 + number + 1);
        if number + 1 == 15 {
            assert!(is_turned_away(&mut connect(address)), "fifteen of sixteen are more than seven eighths");
        }
    }
    let refused = exchange(&mut kept[0], &ask("/"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(check(address), 204);
    let refusals = edge.report().refusals;
    assert_eq!((refusals.connections_full, refusals.requests_full), (1, 1));
    origin.state.release.notify_waiters();
    assert!(waiting.iter_mut().all(|client| read_reply(client).status == 200));
    assert_eq!(exchange(&mut kept[0], &ask("/")).status, 200);
}

#[test]
fn connections_that_switched_take_the_room_of_requests() {
    let origin = raw_origin(|mut stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
        stream.write_all(head).expect("sent");
        std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
    });
    let balancer = pool(vec![backend("srv2", origin, 1)]);
    // As above: 16 requests under way, and no new connections beyond 14.
    let limits = Some(Limits { site_connections: Some(1_000_000), ..Limits::default() });
    let plan = EdgePlan { balancer, limits, files_max: Some(64), ..plan() };
    let (address, mut listeners) = sockets();
    listeners.truncate(1);
    let edge = triad_proxy::Edge::start(plan, vec![("http".to_owned(), listeners)]).expect("the edge starts");
    let counted = |count| {
        until("they are counted", || edge.report().switched == count);
        assert_eq!(edge.report().in_flight, 0);
    };
    let switch = |_| {
        let mut client = connect(address);
        assert_eq!(exchange(&mut client, &shout()).status, 101);
        client
    };
    let mut switched: Vec<_> = (0..15).map(switch).collect();
    counted(15);
    assert!(is_turned_away(&mut connect(address)));
    switched.truncate(14);
    counted(14);
    switched.push(switch(14));
    drop(switched);
    counted(0);
}

#[test]
fn the_sites_rate_holds_for_all_clients_together_and_for_nobody_of_ours() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let limits = Limits { site_requests_per_s: Some(1), site_burst: 3, ..Limits::default() };
    let checked_from = vec![CHECKER.into()];
    let (edge, address) = edge("http", EdgePlan { balancer, limits: Some(limits), checked_from, ..plan() });
    let ask = format!("GET / HTTP/1.1\nHost: {HOST}\n\n");
    let from = |number| exchange(&mut connect_from(Ipv4Addr::new(127, 0, 0, number), address), &ask);
    let statuses: Vec<u16> = (2..6).map(|number| from(number).status).collect();
    assert_eq!(statuses, [200, 200, 200, 503]);
    let refused = from(9);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(refused.text().contains("too many requests of all"), "{}", refused.text());
    assert!((0..9).all(|_| check(address) == 204));
    assert_eq!(edge.report().refusals.requests_site, 2);
    assert_eq!(edge.report().refusals.requests_client, 0);
}
