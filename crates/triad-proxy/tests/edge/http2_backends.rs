//! Backends that are spoken to in HTTP/2: applications without TLS, other edges by agreement.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use triad_model::{ServerName, Verdict};
use triad_proxy::{BackendPlan, Edge, EdgePlan, PoolPlan, Target};
use triad_tls::Authority;

use crate::bed::*;
use crate::http2::{Got, Site, ask, got, request, run};
use crate::http2_origin::{Http2Origin, send_all};

fn instance(address: SocketAddr) -> BackendPlan {
    BackendPlan { http2: true, ..backend("app-1", address, 1) }
}

/// An edge in front of `origin`, for clients of HTTP/2.
fn site(origin: &Http2Origin) -> Site {
    Site::with(EdgePlan { local: pool(vec![instance(origin.address)]), grpc: true, ..plan() })
}

/// Two edges, the second in front of `origin`; the hop between them may be HTTP/2.
fn two(origin: &Http2Origin, hop_http2: bool) -> (Site, Edge) {
    let authority = Authority::generate("test").expect("an authority");
    let identity = |name| Some(authority.identity(&ServerName::new(name).expect("a name")).expect("an identity"));
    let local = pool(vec![instance(origin.address)]);
    let (back, hop) = edge("hop", EdgePlan { identity: identity("srv2"), local, grpc: true, ..plan() });
    let balancer = pool(vec![srv2(hop, hop_http2)]);
    let front = EdgePlan { identity: identity("srv1"), balancer, grpc: true, ..plan() };
    (Site::of(authority, front), back)
}

fn srv2(hop: SocketAddr, http2: bool) -> BackendPlan {
    let server_name = triad_tls::internal_name(&ServerName::new("srv2").expect("a name"));
    BackendPlan { http2, ..BackendPlan::new("srv2", Target::MutualTls { address: hop, server_name }) }
}

fn call(path: &str) -> Request<()> {
    let mut call = request("POST", path);
    let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "20S")];
    let fields = fields.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    call.headers_mut().extend(HeaderMap::from_iter(fields));
    call
}

async fn ready(client: &SendRequest<Bytes>) -> SendRequest<Bytes> {
    client.clone().ready().await.expect("a connection")
}

async fn get(client: &SendRequest<Bytes>, path: &str) -> Got {
    ask(client, request("GET", path)).await.expect("an answer")
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not in time: {what}");
}

#[test]
fn requests_share_a_connection_to_an_application_and_say_what_others_say() {
    let origin = Http2Origin::start();
    let site = site(&origin);
    run(async {
        let client = site.client().await;
        let answer = get(&client, "/page?q=1").await;
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(text.contains(&format!("GET http://{HOST}/page?q=1")), "{text}");
        assert!(text.contains("\"x-forwarded-for\": \"127.0.0.1\"") && !text.contains("connection"), "{text}");
        let many = (0..50).map(|_| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, request("GET", "/wait")).await })
        });
        let many: Vec<_> = many.collect();
        eventually("all are there", || origin.seen.requests.load(SeqCst) == 51).await;
        origin.seen.release.notify_waiters();
        for one in many {
            assert_eq!(one.await.expect("no panic").expect("an answer").status, 200);
        }
        assert_eq!(origin.seen.connections.load(SeqCst), 1);
    });
    let body = "x".repeat(300_000);
    let posted = format!("POST / HTTP/1.1\nHost: {HOST}\nContent-Length: {}\n\n{body}", body.len());
    let reply = exchange(&mut connect_tls(site.address, site.authority.certificate_pem()), &posted);
    assert!(reply.text().starts_with("300000 bytes\n"), "{}", reply.text());
}

#[test]
fn a_call_streams_both_ways_from_end_to_end() {
    for hop_http2 in [false, true] {
        let origin = Http2Origin::start();
        let (site, back) = two(&origin, hop_http2);
        run(async {
            let client = site.client().await;
            let (response, mut send) = ready(&client).await.send_request(call("/echo"), false).expect("begun");
            let mut body = response.await.expect("a head").into_body();
            // Each message waits for the one before to have come back, so nobody gathers.
            for number in 0..20 {
                let message = format!("message {number}");
                send.send_data(message.clone().into(), false).expect("sent");
                let mut echoed = Vec::new();
                while echoed.len() < message.len() {
                    echoed.extend_from_slice(&body.data().await.expect("more").expect("a part"));
                }
                assert_eq!(echoed, message.as_bytes());
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("checksum", "7".parse().expect("a value"));
            send.send_trailers(trailers).expect("sent");
            assert!(body.data().await.is_none(), "no more");
            let trailers = body.trailers().await.expect("an end").expect("trailers");
            assert_eq!(
                (&trailers["grpc-status"], &trailers["checksum"]),
                (&"0".parse().expect("a value"), &"7".parse().expect("a value"))
            );
        });
        let head = origin.seen.heads.lock().expect("heads").pop().expect("a call");
        assert!(head.contains("\"te\": \"trailers\"") && head.contains("\"grpc-timeout\": \"20S\""), "{head}");
        until("both have counted it", || [&site.edge, &back].iter().all(|edge| edge.report().requests_total() == 1));
    }
}

#[test]
fn a_change_of_mind_crosses_as_such_in_both_directions() {
    for hop_http2 in [false, true] {
        let origin = Http2Origin::start();
        let (site, _back) = two(&origin, hop_http2);
        run(async {
            let client = site.client().await;
            // While the answer streams, and before it has begun.
            let (response, mut send) =
                ready(&client).await.send_request(request("GET", "/watch"), true).expect("begun");
            let mut body = response.await.expect("a head").into_body();
            assert_eq!(body.data().await.expect("a part").expect("a part"), "some");
            send.send_reset(Reason::CANCEL);
            eventually("the application is told", || origin.seen.resets.lock().expect("resets").len() == 1).await;
            let (_response, mut send) = ready(&client).await.send_request(call("/never"), false).expect("begun");
            eventually("it is asked", || origin.seen.requests.load(SeqCst) == 2).await;
            send.send_reset(Reason::CANCEL);
            eventually("it is told again", || origin.seen.resets.lock().expect("resets").len() == 2).await;
            assert_eq!(*origin.seen.resets.lock().expect("resets"), [Reason::CANCEL; 2]);

            let (response, _send) = ready(&client).await.send_request(request("GET", "/cancel"), true).expect("begun");
            let mut body = response.await.expect("a head").into_body();
            assert_eq!(body.data().await.expect("a part").expect("a part"), "some");
            origin.seen.release.notify_waiters();
            let error = body.data().await.expect("an end").expect_err("not whole");
            // Between edges that speak HTTP/1.1 there is no word for it: the connection breaks off.
            let expected = if hop_http2 { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
            assert_eq!(error.reason(), Some(expected));
        });
    }
}

#[test]
fn uploads_that_nobody_reads_wait_and_hold_up_nobody() {
    let origin = Http2Origin::start();
    let (site, _back) = two(&origin, true);
    run(async {
        // Several, as each client's own connection has a window of its own.
        let mut stuck = Vec::new();
        for _ in 0..4 {
            let client = site.client().await;
            let (response, mut send) =
                ready(&client).await.send_request(request("POST", "/late"), false).expect("begun");
            let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counted = sent.clone();
            let sending = tokio::spawn(async move {
                for _ in 0..100 {
                    send_all(&mut send, Bytes::from_static(&[7; 100_000])).await;
                    counted.fetch_add(100_000, SeqCst);
                }
                send.send_data(Bytes::new(), true).expect("the end");
            });
            stuck.push((client, response, sending, sent));
        }
        eventually("they are there", || origin.seen.requests.load(SeqCst) == 4).await;
        assert_eq!(get(&site.client().await, "/").await.status, 200, "others go past them");
        for (_, _, _, sent) in &stuck {
            let mut before = usize::MAX;
            // What is on its way settles in the buffers.
            while before != sent.load(SeqCst) {
                before = sent.load(SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert!(before < 5_000_000, "{before} bytes are somewhere");
        }
        origin.seen.release.notify_waiters();
        for (_client, response, sending, _) in stuck {
            sending.await.expect("all was sent");
            let answer = got(response.await.expect("an answer")).await.expect("whole");
            assert!(answer.text().starts_with("10000000 bytes\n"), "{}", answer.text());
        }
    });
}

#[test]
fn what_was_surely_not_processed_is_sent_again() {
    let origin = Http2Origin::start();
    let site = site(&origin);
    run(async {
        let client = site.client().await;
        assert_eq!(get(&client, "/").await.status, 200);
        // Without a body to be spent, the method does not matter.
        origin.seen.refuse.store(1, SeqCst);
        assert_eq!(ask(&client, request("POST", "/")).await.expect("an answer").status, 200);
        assert_eq!(origin.seen.requests.load(SeqCst), 3);
        // Nor does a small body, told in either way; of a large one some is gone.
        for (path, size, told, status) in
            [("/", 10_000, false, 200), ("/", 10_000, true, 200), ("/refuse-late", 400_000, false, 502)]
        {
            origin.seen.refuse.store(usize::from(path == "/"), SeqCst);
            let mut post = request("POST", path);
            if told {
                post.headers_mut().insert("content-length", size.into());
            }
            let (response, mut send) = ready(&client).await.send_request(post, false).expect("begun");
            let sending = async {
                send_all(&mut send, vec![7; size].into()).await;
                // Broken off by an answer that did not wait for it.
                let _ = send.send_data(Bytes::new(), true);
            };
            let (answer, ()) = tokio::join!(async { got(response.await.expect("an answer")).await }, sending);
            let answer = answer.expect("whole");
            assert_eq!(answer.status, status, "{size} bytes");
            assert!(status != 200 || answer.text().starts_with("10000 bytes\n"), "{}", answer.text());
        }
        // Each request is the last of its connection.
        origin.seen.leave.store(true, SeqCst);
        for _ in 0..20 {
            assert_eq!(ask(&client, request("POST", "/")).await.expect("an answer").status, 200);
        }
    });
    assert_eq!(site.edge.report().backends[0].failures, 1, "the large one");
}

/// One of two servers has lost its only instance, and nobody has noticed.
#[test]
fn a_call_that_finds_nobody_goes_elsewhere() {
    let (origin, gone) = (Http2Origin::start(), Http2Origin::start());
    let authority = Authority::generate("test").expect("an authority");
    let identity = |name| Some(authority.identity(&ServerName::new(name).expect("a name")).expect("an identity"));
    // Checked once, then not for long.
    let rarely = |mut pool: Option<PoolPlan>| {
        pool.iter_mut().for_each(|pool| pool.check.interval_ms = 600_000);
        pool
    };
    let start = |origin: &Http2Origin| {
        let local = rarely(pool(vec![instance(origin.address)]));
        edge("hop", EdgePlan { identity: identity("srv2"), local, grpc: true, ..plan() })
    };
    let [(_one, to_one), (_other, to_other)] = [start(&origin), start(&gone)];
    let named = |name: &str, hop| BackendPlan { name: name.to_owned(), ..srv2(hop, true) };
    let balancer = rarely(pool(vec![named("srv2", to_one), named("srv3", to_other)]));
    let front = EdgePlan { identity: identity("srv1"), balancer, grpc: true, ..plan() };
    let site = Site::of(authority, front);
    drop(gone);
    run(async {
        let client = site.client().await;
        for _ in 0..10 {
            let (response, mut send) = ready(&client).await.send_request(call("/echo"), false).expect("begun");
            send.send_data("hello".into(), true).expect("sent");
            let answer = got(response.await.expect("an answer")).await.expect("whole");
            assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
        }
    });
    assert_eq!(origin.seen.requests.load(SeqCst), 10);
}

#[test]
fn what_an_application_gets_wrong_costs_the_request_alone() {
    let origin = Http2Origin::start();
    let site = site(&origin);
    run(async {
        let client = site.client().await;
        let waiting = client.clone();
        let waiting = tokio::spawn(async move { ask(&waiting, request("GET", "/wait")).await });
        eventually("it is there", || origin.seen.requests.load(SeqCst) == 1).await;
        assert_eq!(ask(&client, request("POST", "/wide")).await.expect("an answer").status, 502);
        origin.seen.release.notify_waiters();
        assert_eq!(waiting.await.expect("no panic").expect("an answer").status, 200);
        assert_eq!(origin.seen.connections.load(SeqCst), 1);
    });
    // HTTP/1.1 has targets that HTTP/2 has no words for.
    let mut tls = connect_tls(site.address, site.authority.certificate_pem());
    assert_eq!(exchange(&mut tls, &format!("GET /a<b HTTP/1.1\nHost: {HOST}\n\n")).status, 400);
    assert_eq!(site.edge.report().backends[0].failures, 1, "that is the client's");
}

#[test]
fn a_full_connection_is_followed_by_another_up_to_a_bound() {
    const CONNECTIONS_MAX: usize = 32;
    let origin = Http2Origin::with_streams(2);
    let site = site(&origin);
    run(async {
        let client = site.client().await;
        let mut waiting = Vec::new();
        for count in 1..=2 * CONNECTIONS_MAX {
            let client = client.clone();
            waiting.push(tokio::spawn(async move { ask(&client, request("GET", "/wait")).await }));
            eventually("it is there", || origin.seen.requests.load(SeqCst) == count).await;
        }
        assert_eq!(origin.seen.connections.load(SeqCst), CONNECTIONS_MAX);
        let busy = get(&client, "/").await;
        assert_eq!(busy.status, 503);
        assert!(busy.text().contains("busy"), "{}", busy.text());
        origin.seen.release.notify_waiters();
        for one in waiting {
            assert_eq!(one.await.expect("no panic").expect("an answer").status, 200);
        }
        assert_eq!(get(&client, "/").await.status, 200);
        assert_eq!(origin.seen.connections.load(SeqCst), CONNECTIONS_MAX);
    });
    assert_eq!(site.edge.report().backends[0].failures, 0, "to be busy is no failure");
}

#[test]
fn a_wish_to_switch_protocols_goes_over_http1() {
    let origin = Http2Origin::start();
    let (site, _back) = two(&origin, true);
    let mut client = connect_tls(site.address, site.authority.certificate_pem());
    client.write_all(shout().replace('\n', "\r\n").as_bytes()).expect("sent");
    assert!(read_head(&mut client).expect("an answer").starts_with("HTTP/1.1 101 "));
    client.write_all(b"hello").expect("sent");
    let mut loud = [0; 5];
    client.read_exact(&mut loud).expect("an answer");
    assert_eq!(&loud, b"HELLO");
}

#[test]
fn an_edge_that_knows_no_http2_is_spoken_to_in_http1() {
    let authority = Authority::generate("test").expect("an authority");
    let identity = |name| authority.identity(&ServerName::new(name).expect("a name")).expect("an identity");
    let config = triad_tls::mutual_server_config(&identity("srv2")).expect("a configuration");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let hop = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let session = rustls::ServerConnection::new(config).expect("a session");
                let mut stream = rustls::StreamOwned::new(session, stream);
                while read_head(&mut stream).is_some() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold").expect("sent");
                }
            });
        }
    });
    let front = EdgePlan { identity: Some(identity("srv1")), balancer: pool(vec![srv2(hop, true)]), ..plan() };
    let site = Site::of(authority, front);
    run(async {
        let client = site.client().await;
        let many: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client, request("GET", "/")).await })
            })
            .collect();
        for one in many {
            assert_eq!(one.await.expect("no panic").expect("an answer").text(), "old");
        }
    });
    assert_eq!(site.edge.report().backends[0].failures, 0);
}

#[test]
fn an_application_of_another_protocol_is_down_and_the_reason_is_told() {
    let origin = Origin::start("app-1");
    let (edge, _) = edge("http", EdgePlan { local: pool(vec![instance(origin.address)]), ..plan() });
    until_backend(&edge, "app-1", Verdict::Down);
    until("the reason is told", || edge.report().backends[0].why.starts_with("HTTP/2: "));
}

#[test]
fn servers_of_grpc_are_asked_their_own_way_and_balancers_are_answered_for_them() {
    let origin = Http2Origin::start();
    let asked = BackendPlan { grpc_check: true, ..instance(origin.address) };
    let (back, hop) = edge("hop", EdgePlan { local: pool(vec![asked]), ..plan() });
    let way = BackendPlan::new("srv2", Target::Plain(hop));
    let check = |mut pool: Option<PoolPlan>| {
        pool.iter_mut().for_each(|pool| pool.check.path = "/".to_owned());
        pool
    };
    let (front, _) = edge("http", EdgePlan { balancer: check(pool(vec![way])), ..plan() });
    until_backend(&back, "app-1", Verdict::Up);
    until_backend(&front, "srv2", Verdict::Up);
    origin.seen.sick.store(true, SeqCst);
    until_backend(&back, "app-1", Verdict::Down);
    assert_eq!(back.report().backends[0].why, "not serving");
    until_backend(&front, "srv2", Verdict::Down);
    origin.seen.sick.store(false, SeqCst);
    until_backend(&front, "srv2", Verdict::Up);
    assert_eq!(origin.seen.requests.load(SeqCst), 0, "no check reached the application as a request");
}
