//! The relay to the database.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use socket2::{Domain, Socket, Type};
use triad_model::{DatabaseRoute, ServerName};
use triad_proxy::{DatabaseWays, Edge, EdgePlan, RelayTarget};

use crate::bed::*;

/// Reads until the other side has finished sending, then answers with what it got and a mark.
fn answer_at_the_end(mut stream: impl Read + Write, mark: &str) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    write!(stream, "{mark}: {text}").expect("sent");
}

fn ask(address: SocketAddr, question: &str) -> String {
    let mut client = connect(address);
    client.write_all(question.as_bytes()).expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_relay_copies_both_ways_keeps_half_close_and_follows_its_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("database.sock");
    let (near, far) =
        (UnixListener::bind(&socket).expect("a socket"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let far_address = far.local_addr().expect("bound");
    std::thread::spawn(move || answer_at_the_end(near.accept().expect("a connection").0, "near"));
    std::thread::spawn(move || answer_at_the_end(far.accept().expect("a connection").0, "far"));

    let to = |target| EdgePlan { relay: Some(target), ..plan() };
    let (edge, address) = edge("relay", to(RelayTarget::Unix(socket)));
    assert_eq!(ask(address, "select 1"), "near: select 1");
    edge.reload(to(RelayTarget::Tcp(far_address))).expect("a good plan");
    assert_eq!(ask(address, "select 2"), "far: select 2");
    edge.reload(to(RelayTarget::Tcp(nowhere()))).expect("a good plan");
    assert_eq!(ask_in_vain(address), "");
    until("the failure is counted", || edge.report().relay_failures == 1);
    until("all are closed", || edge.report().relay_connections == 0);
}

/// The relay closes the connection, perhaps before it has read the question.
fn ask_in_vain(address: SocketAddr) -> String {
    let mut answer = String::new();
    let _ = connect(address).read_to_string(&mut answer);
    answer
}

fn name(name: &str) -> ServerName {
    ServerName::new(name).expect("a name")
}

/// A database that greets with its name, as MariaDB speaks first, and then says every line again.
fn database(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || speak(stream, name));
        }
    });
    address
}

fn speak(mut stream: TcpStream, name: &str) {
    let _ = writeln!(stream, "{name}");
    let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
    while let Some(Ok(line)) = lines.next() {
        let _ = writeln!(stream, "{line}");
    }
}

/// An application's connection to its database.
struct Session(BufReader<TcpStream>);

impl Session {
    fn begin(relay: SocketAddr) -> Self {
        Self(BufReader::new(connect(relay)))
    }

    /// The next line; empty when the connection is cut.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        line.trim_end().to_owned()
    }

    fn ask(&mut self, question: &str) -> String {
        let _ = writeln!(self.0.get_mut(), "{question}");
        self.line()
    }
}

/// Who answers a new connection.
fn greeting(relay: SocketAddr) -> String {
    Session::begin(relay).line()
}

/// The file says that the first of `servers` is the primary.
fn plan_of(servers: &[(&str, SocketAddr)], held: bool) -> EdgePlan {
    let ways = servers.iter().map(|(server, address)| (name(server), RelayTarget::Tcp(*address)));
    let relay = Some(RelayTarget::Tcp(servers[0].1));
    EdgePlan { relay, database: DatabaseWays { servers: ways.collect(), held, account: None }, ..plan() }
}

fn route(epoch: u64, primary: Option<&str>, readable: &[&str]) -> DatabaseRoute {
    DatabaseRoute { epoch, primary: primary.map(name), readable: readable.iter().map(|it| name(it)).collect() }
}

#[test]
fn connections_are_held_until_somebody_says_who_is_the_primary() {
    let plan = plan_of(&[("srv1", database("srv1")), ("srv2", database("srv2"))], true);
    let (edge, address) = edge("relay", plan);
    let mut session = Session::begin(address);
    let leaver = connect(address);
    until("both are held", || edge.report().relay.held == 2);
    drop(leaver);
    until("the one that is gone is held no more", || edge.report().relay.held == 1);
    edge.route_database(route(1, None, &[]));
    edge.route_database(route(2, Some("srv2"), &[]));
    assert_eq!((session.line().as_str(), session.ask("select 1").as_str()), ("srv2", "select 1"));
    let report = edge.report();
    let counted = (report.relay.open, report.relay.held, report.relay.held_total, report.relay.failures);
    assert_eq!((counted, report.read_relay), ((1, 0, 2, 0), Default::default()));
}

#[test]
fn connections_to_whom_is_the_primary_no_more_are_cut() {
    let plan = plan_of(&[("srv1", database("srv1")), ("srv2", database("srv2"))], false);
    let (edge, address) = edge("relay", plan);
    let mut session = Session::begin(address);
    assert_eq!(session.line(), "srv1");
    for same in [route(1, Some("srv1"), &["srv2"]), route(4, Some("srv1"), &[]), route(4, None, &[])] {
        edge.route_database(same);
        assert_eq!(session.ask("select 1"), "select 1");
    }
    edge.route_database(route(5, Some("srv2"), &[]));
    assert_eq!(session.line(), "", "cut though nothing was asked");
    edge.route_database(route(4, Some("srv1"), &[]));
    let mut session = Session::begin(address);
    assert_eq!(session.line(), "srv2", "what an older epoch says is of no account");
    edge.route_database(route(6, None, &[]));
    assert_eq!(session.line(), "");
    until("both are counted", || edge.report().relay.cut == 2);
    assert_eq!((edge.report().relay.open, edge.report().relay.failures), (0, 0));
}

#[test]
fn a_primary_that_refuses_is_tried_again_until_there_is_another() {
    let socket = bound();
    let mortal = address_of(&socket);
    let (edge, address) = edge("relay", plan_of(&[("srv1", mortal), ("srv2", database("srv2"))], false));
    edge.route_database(route(1, Some("srv1"), &[]));
    let mut session = Session::begin(address);
    until("it is held", || edge.report().relay.held == 1);
    socket.listen(1).expect("listening");
    let reborn = TcpListener::from(socket);
    writeln!(reborn.accept().expect("a connection").0, "srv1").expect("sent");
    assert_eq!(session.line(), "srv1", "within one epoch");

    drop(reborn);
    let mut session = Session::begin(address);
    until("it is held", || edge.report().relay.held == 1);
    edge.route_database(route(2, Some("srv2"), &[]));
    assert_eq!(session.line(), "srv2");
}

/// Has a port and refuses connections until it listens.
fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().expect("bound").as_socket().expect("an address")
}

/// A listener whose queue is full: connecting to it neither succeeds nor fails.
fn silent() -> (SocketAddr, Vec<Socket>) {
    let listener = bound();
    listener.listen(0).expect("listening");
    let address = address_of(&listener);
    let filler = || {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        filler.set_nonblocking(true).expect("not blocking");
        let _ = filler.connect(&address.into());
        filler
    };
    let fillers: Vec<Socket> = (0..4).map(|_| filler()).collect();
    (address, fillers.into_iter().chain([listener]).collect())
}

#[test]
fn a_connection_under_way_is_dropped_for_the_new_primary() {
    let (silent, _sockets) = silent();
    let (edge, address) = edge("relay", plan_of(&[("srv1", silent), ("srv2", database("srv2"))], true));
    edge.route_database(route(1, Some("srv1"), &[]));
    let mut session = Session::begin(address);
    until("it is under way", || edge.report().relay.open == 1);
    edge.route_database(route(2, Some("srv2"), &[]));
    assert_eq!(session.line(), "srv2");
    assert_eq!(edge.report().relay.held_total, 0, "srv1 was not waited for");
}

#[test]
fn readers_are_led_to_replicas_and_cut_when_those_fall_behind() {
    let (writers, readers) = (sockets(), sockets());
    let servers = ["srv1", "srv2", "srv3"].map(|it| (it, database(it)));
    let listeners = vec![("relay".to_owned(), writers.1), ("read_relay".to_owned(), readers.1)];
    let edge = Edge::start(plan_of(&servers, false), listeners).expect("the edge starts");
    assert_eq!(greeting(readers.0), "srv1", "the file's primary");

    edge.route_database(route(1, Some("srv1"), &["srv2", "srv3"]));
    let mut sessions: Vec<Session> = (0..4).map(|_| Session::begin(readers.0)).collect();
    let mut seen: Vec<String> = sessions.iter_mut().map(Session::line).collect();
    seen.sort();
    assert_eq!(seen, ["srv2", "srv2", "srv3", "srv3"], "in turn");
    assert_eq!(greeting(writers.0), "srv1");

    edge.route_database(route(1, None, &["srv3"]));
    let staying = sessions.iter_mut().filter_map(|it| Some(it.ask("select 1")).filter(|line| !line.is_empty()));
    assert_eq!(staying.count(), 2);
    until("the others are counted", || edge.report().read_relay.cut == 2);
    assert_eq!(greeting(readers.0), "srv3", "while nobody takes writes");
    edge.route_database(route(2, Some("srv2"), &[]));
    assert_eq!(greeting(readers.0), "srv2", "the primary, where no replica will do");
    assert_eq!(edge.report().relay.cut, 0);
}

#[test]
fn a_reader_has_its_own_servers_replica_and_another_one_when_that_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("database.sock");
    let mut plan = plan_of(&[("srv1", database("srv1")), ("srv2", database("srv2"))], false);
    plan.database.servers.insert(name("srv3"), RelayTarget::Unix(socket.clone()));
    let (edge, address) = edge("read_relay", plan);
    edge.route_database(route(1, Some("srv1"), &["srv2", "srv3"]));
    assert_eq!(greeting(address), "srv2", "nobody listens on the socket");
    let own = UnixListener::bind(&socket).expect("a socket");
    let asked = std::thread::spawn(move || writeln!(own.accept().expect("a connection").0, "srv3"));
    assert_eq!(greeting(address), "srv3");
    asked.join().expect("asked").expect("sent");
}
