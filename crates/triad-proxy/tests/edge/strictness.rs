//! What is refused, what is kept apart, and what a slow, broken or greedy other end costs. Bytes on real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use triad_proxy::{Edge, EdgePlan};
use triad_tls::Authority;

use crate::bed::*;
use crate::proxying::{front_plan, hop_edge};

fn local(address: SocketAddr) -> (Edge, SocketAddr) {
    edge("http", EdgePlan { local: pool(vec![backend("app-1", address, 1)]), ..plan() })
}

/// Everything the edge answers to `bytes` until it closes the connection.
fn all_of(address: SocketAddr, bytes: &[u8]) -> String {
    let mut client = connect(address);
    client.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("closed in order");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get_head() -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n")
}

fn post_head(fields: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_reaches_nobody() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(origin.address);
    let cases = [
        (400, post_head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        (400, post_head("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello!"),
        (400, post_head("Content-Length: 5, 5\r\n") + "hello"),
        (400, post_head("Content-Length: +5\r\n") + "hello"),
        (400, post_head("Content-Length : 5\r\n") + "hello"),
        (400, post_head("Transfer-Encoding: chunked, chunked\r\n")),
        (501, post_head("Transfer-Encoding: gzip, chunked\r\n")),
        (400, format!("POST / HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (400, get_head() + "X-A: 1\r\n folded\r\n\r\n"),
        (400, get_head() + "X-A: a\0b\r\n\r\n"),
        (400, get_head() + "X-A: a\rb\r\n\r\n"),
        (400, get_head() + "X-A: 1\n\r\n"),
        (400, format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n")),
        (421, format!("GET http://foobar.com/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        (400, format!(" GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        (501, format!("get / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (414, format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000))),
        (431, get_head() + &"X-A: 1\r\n".repeat(101) + "\r\n"),
        (431, get_head() + "X-A: " + &"a".repeat(40_000)),
        (417, post_head("Expect: a-miracle\r\nContent-Length: 5\r\n") + "hello"),
    ];
    for (status, bytes) in &cases {
        // What follows must not be taken for a request.
        let answer = all_of(address, &[bytes.as_bytes(), get_head().as_bytes(), b"\r\n"].concat());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{bytes:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{bytes:?}: {answer}");
    }
    assert_eq!(origin.state.requests.load(SeqCst), 0);
}

#[test]
fn a_body_whose_chunks_are_wrong_ends_the_request() {
    let origin = Origin::start("app-1");
    let (edge, address) = local(origin.address);
    for chunks in ["5\r\nhello!\r\n", "-5\r\nhello\r\n", "0x5\r\nhello\r\n", "5 \r\nhello\r\n", "5\nhello\r\n"] {
        let good = "3\r\nabc\r\n";
        let head = post_head("Transfer-Encoding: chunked\r\n").replace("/echo", "/never");
        let answer = all_of(address, format!("{head}{good}{chunks}0\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
    }
    assert_eq!(edge.report().backends[0].failures, 0, "the client's fault is not the backend's");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(origin.address);
    let mut client = connect(address);
    let mut bytes = String::new();
    for number in 0..20 {
        bytes += &format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{number:02}");
        bytes += &format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
        bytes += &format!("1\r\n{}\r\n1;x=y\r\n{}\r\n0\r\n\r\n", number / 10, number % 10);
    }
    client.write_all(bytes.as_bytes()).expect("sent");
    for number in 0..20 {
        for _ in 0..2 {
            assert_eq!(read_reply(&mut client).text(), format!("{number:02}"));
        }
    }
    assert_eq!(origin.state.requests.load(SeqCst), 40);
}

/// An origin that answers every request on a connection with `answer`, and what it was sent.
fn fixed_origin(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let address = raw_origin_with_heads(move |mut stream, head| {
        noted.lock().expect("heads").push(head);
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (address, seen)
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_a_bad_gateway() {
    let cases = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
        "hello\r\n\r\n",
        "",
    ];
    for answer in cases {
        let (origin, _) = fixed_origin(answer);
        let (_edge, address) = local(origin);
        let reply = get(address, "/");
        assert_eq!(reply.status, 502, "{answer:?}");
        assert!(reply.text().contains("What failed: backend app-1.<br>"), "{}", reply.text());
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_passed_for_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    ] {
        let (origin, _) = fixed_origin(answer);
        let (edge, address) = local(origin);
        let text = all_of(address, (get_head() + "\r\n").as_bytes());
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("hello"), "{text}");
        assert!(!text.ends_with("0\r\n\r\n"), "{text}");
        // To an old client the end of the connection would say that this was all.
        let mut old = connect(address);
        write!(old, "GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n").expect("sent");
        let read = old.read_to_string(&mut String::new());
        assert_eq!(read.is_err(), answer.contains("chunked"), "{answer:?}: {read:?}");
        until("both are counted", || edge.report().requests_total() == 2);
    }
}

/// Bodies that are not copied: a large one with a length, between plain connections.
#[test]
fn a_large_answer_ends_where_it_says_and_leaves_both_connections_for_the_next() {
    const BYTES: usize = 3_000_000;
    let origin = raw_origin_with_heads(|mut stream, _| {
        let body: Vec<u8> = (0..BYTES).map(|byte| (byte % 251) as u8).collect();
        for _ in 0..2 {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").expect("sent");
            for (piece, pause_ms) in body.chunks(700_001).zip([0, 20, 0, 5, 0]) {
                stream.write_all(piece).expect("sent");
                std::thread::sleep(Duration::from_millis(pause_ms));
            }
            read_head(&mut stream).expect("another request on the same connection");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").expect("sent");
    });
    let (edge, address) = local(origin);
    let mut client = connect(address);
    for _ in 0..2 {
        let reply = exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
        assert!(reply.status == 200 && reply.body.len() == BYTES, "{} bytes", reply.body.len());
        assert!(reply.body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    }
    assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).text(), "hello");
    assert_eq!(edge.report().backends[0].failures, 0);
}

#[test]
fn a_large_answer_that_breaks_off_or_whose_client_goes_leaves_nothing_to_others() {
    const SENT: usize = 700_000;
    let origin = raw_origin_with_heads(|mut stream, head| {
        let (length, sent) = if head.starts_with("GET /half ") { (2 * SENT, SENT) } else { (SENT, SENT) };
        let body = vec![if length == sent { b'w' } else { b'h' }; sent];
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").expect("sent");
        // A client that goes away is the origin's business only so far.
        let _ = stream.write_all(&body);
    });
    let (edge, address) = local(origin);
    for round in 0..40 {
        let mut gone = connect(address);
        write!(gone, "{}\r\n", get_head()).expect("sent");
        read_head(&mut gone).expect("an answer begins");
        drop(gone);
        let mut client = connect(address);
        write!(client, "GET /half HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
        read_head(&mut client).expect("an answer begins");
        let mut half = Vec::new();
        let _ = client.read_to_end(&mut half);
        assert!(half.len() <= SENT && half.iter().all(|byte| *byte == b'h'), "round {round}: {} bytes", half.len());
        let whole = get(address, "/");
        assert!(whole.body.len() == SENT && whole.body.iter().all(|byte| *byte == b'w'), "round {round}");
    }
    until("all are counted", || edge.report().requests_total() == 120);
}

#[test]
fn the_end_of_an_answer_is_told_to_each_client_in_its_own_way() {
    let (origin, _) = fixed_origin("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
    let (_edge, address) = local(origin);
    let mut client = connect(address);
    let reply = exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    assert_eq!((reply.header("transfer-encoding"), reply.text().as_str()), (Some("chunked"), "hello"));
    let reply = exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    assert_eq!(reply.text(), "hello", "the client's connection is kept");
    let old = all_of(address, format!("GET / HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n").as_bytes());
    assert!(old.ends_with("\r\n\r\nhello") && old.contains("connection: close\r\n"), "{old}");
}

#[test]
fn an_old_client_is_kept_if_it_asks_and_gets_no_chunks() {
    let (origin, _) =
        fixed_origin("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n");
    let (_edge, address) = local(origin);
    let old = all_of(address, format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes());
    assert!(old.ends_with("\r\n\r\nhello") && !old.contains("chunked"), "{old}");
    let whole = Origin::start("app-1");
    let (_edge, address) = local(whole.address);
    let mut client = connect(address);
    for _ in 0..2 {
        let reply = exchange(&mut client, &format!("GET / HTTP/1.0\nHost: {HOST}\nConnection: keep-alive\n\n"));
        assert_eq!((reply.status, reply.header("connection")), (200, Some("keep-alive")));
    }
}

#[test]
fn trailers_pass_and_carry_no_claims() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n";
    let (origin, _) = fixed_origin(answer);
    let (_edge, address) = local(origin);
    let close = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n");
    assert!(all_of(address, close.as_bytes()).ends_with("1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"));
    let without = close.replace("TE: trailers\r\n", "");
    assert!(all_of(address, without.as_bytes()).ends_with("1\r\nx\r\n0\r\n\r\n"));

    let sent = Arc::new(Mutex::new(String::new()));
    let noted = sent.clone();
    let origin = raw_origin_with_heads(move |mut stream, _| {
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a body");
            body.push(byte[0]);
        }
        *noted.lock().expect("text") = String::from_utf8(body).expect("text");
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("sent");
    });
    let (_edge, address) = local(origin);
    let body = "1;a\r\nx\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    let reply =
        exchange(&mut connect(address), &(post_head("Transfer-Encoding: chunked\r\n") + body).replace("\r\n", "\n"));
    assert_eq!(reply.status, 204);
    assert_eq!(*sent.lock().expect("text"), "1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n");
}

#[test]
fn the_client_is_told_to_continue_once_there_is_a_backend_for_its_body() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(origin.address);
    let mut client = connect(address);
    let request = post_head("Expect: 100-continue\r\nContent-Length: 5\r\n");
    client.write_all(request.as_bytes()).expect("sent");
    assert!(read_head(&mut client).expect("an interim answer").starts_with("HTTP/1.1 100 "));
    client.write_all(b"hello").expect("sent");
    assert_eq!(read_reply(&mut client).text(), "hello");
    let heads = origin.state.heads.lock().expect("heads");
    assert!(!heads[0].contains("expect"), "{heads:?}");
    drop(heads);
    let (_edge, address) = local(nowhere());
    let mut client = connect(address);
    client.write_all(request.as_bytes()).expect("sent");
    assert_eq!(read_reply(&mut client).status, 503, "no body is asked for in vain");
}

#[test]
fn early_hints_pass_and_a_continue_of_the_backend_does_not() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (origin, _) = fixed_origin(answer);
    let (_edge, address) = local(origin);
    let mut client = connect(address);
    write!(client, "{}\r\n", get_head()).expect("sent");
    let hints = read_head(&mut client).expect("hints");
    assert!(hints.starts_with("HTTP/1.1 103 ") && hints.contains("Link: </a>"), "{hints}");
    assert_eq!(read_reply(&mut client).text(), "ok");
    let old = all_of(address, format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes());
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "{old}");
}

#[test]
fn bytes_behind_an_upgrade_wait_for_the_101() {
    let early = Arc::new(AtomicUsize::new(0));
    let seen = early.clone();
    let origin = raw_origin_with_heads(move |mut stream, head| {
        assert!(head.contains("upgrade: shout"), "{head}");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a limit");
        let mut word = [0; 5];
        seen.store(stream.read(&mut word).unwrap_or(0), SeqCst);
        stream.set_read_timeout(None).expect("no limit");
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nHI ";
        stream.write_all(switch).expect("sent");
        stream.read_exact(&mut word).expect("a word");
        stream.write_all(&word.to_ascii_uppercase()).expect("sent");
    });
    let (_edge, address) = local(origin);
    let request = format!("GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello");
    let answer = all_of(address, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\nHI HELLO"), "{answer}");
    assert_eq!(early.load(SeqCst), 0);
}

#[test]
fn a_switch_to_another_http_is_not_passed_on() {
    let (origin, seen) = fixed_origin("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (_edge, address) = local(origin);
    let request = format!(
        "GET / HTTP/1.1\nHost: {HOST}\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\n\
                           HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\n\n"
    );
    assert_eq!(exchange(&mut connect(address), &request).text(), "ok");
    let heads = seen.lock().expect("heads");
    assert!(!heads[0].to_lowercase().contains("upgrade") && !heads[0].to_lowercase().contains("http2"), "{heads:?}");
}

#[test]
fn a_backend_that_closes_its_idle_connections_costs_no_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    // It promises to keep the connection and closes it.
    let origin = raw_origin_with_heads(move |mut stream, _| {
        count.fetch_add(1, SeqCst);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
    });
    let (edge, address) = local(origin);
    let mut client = connect(address);
    for number in 1..=50 {
        let method = if number % 2 == 0 { "POST" } else { "GET" };
        let request = format!("{method} / HTTP/1.1\nHost: {HOST}\nContent-Length: 0\n\n");
        assert_eq!(exchange(&mut client, &request).status, 200, "request {number}");
        // Time for the news to arrive: a POST may not be repeated once it was sent.
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(connections.load(SeqCst), 50);
    assert_eq!(edge.report().backends[0].failures, 0);
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_answered_408() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(origin.address);
    let mut silent = connect(address);
    let start = Instant::now();
    let mut slow = connect(address);
    slow.write_all(b"GET / HTTP/1.1\r\n").expect("sent");
    let mut dripping = slow.try_clone().expect("a handle");
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b"X-A: 1\r\n").is_ok() && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(silent.read(&mut [0]).expect("closed"), 0, "who sent nothing gets nothing");
    assert!((9..16).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(slow);
    drip.join().expect("it ends");
}

/// Memory of this process that is in use, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("a file");
    status.split(' ').nth(1).expect("a field").parse::<usize>().expect("a number") * 4096
}

#[test]
fn large_bodies_pass_both_ways_in_bounded_memory() {
    const BYTES: usize = 50 * 1024 * 1024;
    // It sends back what it gets, but first lets the client wait.
    let origin = raw_origin_with_heads(|stream, _| {
        let mut reading = stream.try_clone().expect("a handle");
        let mut writing = stream;
        std::thread::sleep(Duration::from_millis(300));
        write!(writing, "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").expect("sent");
        let copied = std::io::copy(&mut Read::by_ref(&mut reading).take(BYTES as u64), &mut writing);
        assert_eq!(copied.expect("copied"), BYTES as u64);
    });
    let (_edge, address) = local(origin);
    let before = resident_bytes();
    let mut client = connect(address);
    write!(client, "{}", post_head(&format!("Content-Length: {BYTES}\r\n"))).expect("sent");
    let mut sending = client.try_clone().expect("a handle");
    let sender = std::thread::spawn(move || {
        let piece: Vec<u8> = (0..65_536u32).map(|byte| byte as u8).collect();
        (0..BYTES / piece.len()).for_each(|_| sending.write_all(&piece).expect("sent"));
    });
    let head = read_head(&mut client).expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut most = 0;
    let mut received = 0;
    let mut piece = vec![0; 65_536];
    while received < BYTES {
        let length = client.read(&mut piece).expect("read");
        assert!(length > 0, "{received} bytes came back");
        assert!(piece[..length].iter().enumerate().all(|(at, byte)| *byte == (received + at) as u8));
        received += length;
        most = most.max(resident_bytes());
    }
    sender.join().expect("sent");
    assert!(most.saturating_sub(before) < BYTES / 2, "{} bytes more", most - before);
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A request whose body is `body`, by its length or in chunks.
fn framed(body: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    if numbers.below(2) == 0 {
        return [post_head(&format!("Content-Length: {}\r\n", body.len())).as_bytes(), body].concat();
    }
    let mut request = post_head("Transfer-Encoding: chunked\r\n").into_bytes();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + numbers.below(rest.len()));
        request.extend(format!("{:X}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
        rest = after;
    }
    request.extend(b"0\r\n\r\n");
    request
}

#[test]
fn bodies_of_any_size_sent_in_any_pieces_come_back_as_they_were() {
    let origin = Origin::start("app-1");
    let (edge, address) = local(origin.address);
    let clients: Vec<_> = (1..=6)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut numbers = Numbers(seed * 7919);
                let mut client = connect(address);
                for round in 0..40 {
                    let bound = [10, 1000, 20_000, 200_000][numbers.below(4)];
                    let size = numbers.below(bound);
                    let body: Vec<u8> = (0..size).map(|_| numbers.below(256) as u8).collect();
                    let request = framed(&body, &mut numbers);
                    let mut sending = client.try_clone().expect("a handle");
                    let sender = std::thread::spawn(move || {
                        let mut rest = &request[..];
                        while !rest.is_empty() {
                            let (piece, after) = rest.split_at(1 + numbers.below(rest.len()));
                            sending.write_all(piece).expect("sent");
                            rest = after;
                        }
                        numbers
                    });
                    let reply = read_reply(&mut client);
                    numbers = sender.join().expect("sent");
                    assert_eq!(reply.status, 200, "client {seed}, round {round}");
                    assert!(reply.body == body, "client {seed}, round {round}: {size} bytes");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("all came back"));
    assert_eq!(edge.report().backends[0].failures, 0);
}

#[test]
fn large_bodies_cross_tls_on_both_hops() {
    const BYTES: usize = 3 * 1024 * 1024;
    let body: Vec<u8> = (0..BYTES).map(|byte| (byte % 251) as u8).collect();
    let origin = raw_origin_with_heads(|mut stream, _| {
        let mut body = vec![0; BYTES];
        stream.read_exact(&mut body).expect("a body");
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{BYTES:x}\r\n").expect("sent");
        stream.write_all(&body).expect("sent");
        stream.write_all(b"\r\n0\r\n\r\n").expect("sent");
    });
    let authority = Authority::generate("test").expect("an authority");
    let (_back, hop) = hop_edge(&authority, origin);
    let (_front, address) = edge("https", front_plan(&authority, hop));
    let mut client = connect_tls(address, authority.certificate_pem());
    write!(client, "{}", post_head(&format!("Content-Length: {BYTES}\r\n"))).expect("sent");
    client.write_all(&body).expect("sent");
    let reply = read_reply(&mut client);
    assert_eq!(reply.status, 200);
    assert!(reply.body == body, "{} bytes came back", reply.body.len());
}

#[test]
fn a_client_that_does_not_read_holds_the_backend_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let origin = raw_origin_with_heads(move |mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
        let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 65_536], b"\r\n".to_vec()].concat();
        while stream.write_all(&chunk).is_ok() {
            count.fetch_add(chunk.len(), SeqCst);
        }
    });
    let (_edge, address) = local(origin);
    let mut client: TcpStream = connect(address);
    write!(client, "{}\r\n", get_head()).expect("sent");
    let mut before = 0;
    until("it stops", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(SeqCst);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(sent.load(SeqCst) < 64 * 1024 * 1024, "what the kernel's buffers hold, and no more");
}
