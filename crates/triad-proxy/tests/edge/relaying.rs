//! The relay to the database.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;

use triad_proxy::{EdgePlan, RelayTarget};

use crate::bed::*;

/// Reads until the other side has finished sending, then answers with what it got and a mark.
fn answer_at_the_end(mut stream: impl Read + Write, mark: &str) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    write!(stream, "{mark}: {text}").expect("sent");
}

fn ask(address: std::net::SocketAddr, question: &str) -> String {
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
fn ask_in_vain(address: std::net::SocketAddr) -> String {
    let mut answer = String::new();
    let _ = connect(address).read_to_string(&mut answer);
    answer
}
