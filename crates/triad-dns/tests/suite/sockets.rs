//! A name server on real sockets.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use triad_dns::NameServer;

use crate::support::{name, zone};

/// Starts a name server for `design` on a free port of 127.0.0.1.
pub fn start(design: &str) -> (NameServer, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("its address");
    let udp = UdpSocket::bind(address).expect("the same port over UDP");
    let server = NameServer::start(zone(design), vec![udp], vec![tcp]).expect("a name server");
    (server, address)
}

fn query(id: u16, owner: &str) -> Vec<u8> {
    let mut query = Message::new(id, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(owner).expect("a name"), RecordType::A));
    query.to_vec().expect("a query")
}

async fn ask_udp(address: SocketAddr, packet: &[u8]) -> Message {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(packet, address).await.expect("to send");
    let mut bytes = vec![0; 2048];
    let length = socket.recv(&mut bytes).await.expect("an answer");
    Message::from_vec(&bytes[..length]).expect("a message")
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).expect("a short packet");
    [&length.to_be_bytes()[..], packet].concat()
}

async fn read_framed(stream: &mut TcpStream) -> Message {
    let length = stream.read_u16().await.expect("a length");
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.expect("a message of that length");
    Message::from_vec(&bytes).expect("a message")
}

#[tokio::test]
async fn a_long_answer_is_truncated_over_udp_and_whole_over_tcp() {
    let (_server, address) = start("wide");
    let truncated = ask_udp(address, &query(1, "foobar.com.")).await;
    assert!(truncated.truncation);
    assert!(truncated.answers.is_empty());
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&framed(&query(2, "foobar.com."))).await.expect("to send");
    let whole = read_framed(&mut stream).await;
    assert!(!whole.truncation);
    assert_eq!(whole.answers.len(), 90);
}

#[tokio::test]
async fn a_connection_carries_several_queries_and_ends_with_what_is_none() {
    let (server, address) = start("secured");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let pipelined = [framed(&query(7, "foobar.com.")), framed(&query(8, "nope.foobar.com."))].concat();
    stream.write_all(&pipelined).await.expect("to send");
    let first = read_framed(&mut stream).await;
    let second = read_framed(&mut stream).await;
    assert_eq!((first.id, first.response_code), (7, ResponseCode::NoError));
    assert_eq!((second.id, second.response_code), (8, ResponseCode::NXDomain));

    stream.write_all(&framed(b"short")).await.expect("to send");
    assert_eq!(stream.read(&mut [0; 1]).await.expect("an orderly end"), 0);
    let report = server.report();
    assert_eq!((report.udp, report.tcp, report.dropped), (0, 2, 1));
    assert_eq!(report.answers[..2], [("NOERROR".to_owned(), 1), ("NXDOMAIN".to_owned(), 1)]);
}

#[tokio::test]
async fn it_survives_strangers_and_takes_a_new_zone_and_health_while_it_runs() {
    let (server, address) = start("secured");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    stranger.send_to(b"", address).expect("to send");
    stranger.send_to(&[0xff; 3000], address).expect("to send");
    assert_eq!(ask_udp(address, &query(1, "foobar.com.")).await.answers.len(), 2);
    assert_eq!(server.report().dropped, 2);

    server.leave_out(vec![name("srv1"), name("srv9")]);
    let rest = ask_udp(address, &query(2, "www.foobar.com.")).await.answers;
    assert_eq!(rest.iter().map(|record| record.data.to_string()).collect::<Vec<_>>(), ["foobar.com.", "203.0.113.12"]);
    assert_eq!(server.report().left_out, [name("srv1")]);

    server.leave_out(vec![name("srv1"), name("srv2")]);
    assert_eq!(ask_udp(address, &query(3, "foobar.com.")).await.answers.len(), 2, "all dead: all are answered");
    assert_eq!(server.report().left_out, []);

    let mut renamed = zone("secured");
    renamed.domain = "example.org".to_owned();
    server.reload(renamed).expect("a good zone");
    assert_eq!(ask_udp(address, &query(4, "foobar.com.")).await.response_code, ResponseCode::Refused);

    let mut broken = zone("secured");
    broken.hosts = vec!["two..dots.foobar.com".to_owned()];
    let error = server.reload(broken).expect_err("an empty label");
    assert!(error.to_string().starts_with("\"two..dots.foobar.com\" is not a domain name"), "{error}");
    assert_eq!(ask_udp(address, &query(5, "example.org.")).await.answers.len(), 2, "the old zone stays");
}
