//! What holds of any stream: bodies arrive whole, nobody is made to remember more than the bounds, and both ends learn
//! when the other gives up.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use triad_http2::limits::{BROKEN_FREE, SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};

use super::bed::{pair, read_request, request, send_body, serve};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Bytes that are not all the same.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn bodies_of_any_size_arrive_as_they_were_sent() {
    for (size, told) in [(0, true), (1, true), (70_000, true), (900_000, true), (1, false), (900_000, false)] {
        let (server, client) = pair(&Builder::new()).await;
        tokio::spawn(serve(server, |mut stream| async move {
            let (_, body, _) = read_request(&mut stream).await.expect("a request");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.expect("a head");
            stream.write_all(&body).await.expect("a body");
            stream.shutdown().await.expect("the end");
        }));
        let mut sent = request("POST", "/echo");
        if told {
            sent.headers_mut().insert("content-length", size.into());
        }
        let mut client = client.ready().await.expect("a connection");
        let (response, mut send) = client.send_request(sent, size == 0).expect("begun");
        let sending = async {
            if size > 0 {
                send_body(&mut send, bytes(size).into(), true).await;
            }
        };
        let receiving = async {
            let mut body = response.await.expect("an answer").into_body();
            let mut received = Vec::new();
            while let Some(part) = body.data().await {
                let part = part.expect("data");
                received.extend_from_slice(&part);
                body.flow_control().release_capacity(part.len()).expect("released");
            }
            received
        };
        let ((), received) = tokio::join!(sending, receiving);
        assert!(received == bytes(size), "{size} bytes, length told: {told}");
    }
}

#[tokio::test]
async fn an_answer_nobody_reads_is_not_gathered() {
    let (server, client) = pair(&Builder::new()).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    tokio::spawn(serve(server, move |mut stream| {
        let count = count.clone();
        async move {
            read_request(&mut stream).await.expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await.expect("a head");
            while let Ok(length) = stream.write(&[7; 16 * 1024]).await {
                count.fetch_add(length, SeqCst);
            }
        }
    }));
    let mut client = client.ready().await.expect("a connection");
    let (response, _send) = client.send_request(request("GET", "/"), true).expect("begun");
    let body = response.await.expect("an answer").into_body();
    let mut before = 0;
    while before == 0 || written.load(SeqCst) != before {
        before = written.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The client's window, what waits for the connection, and one write that waits for that.
    assert!(before <= 65_535 + SEND_BUFFER_BYTES_MAX + 16 * 1024, "{before} bytes were taken");
    drop(body);
}

#[tokio::test]
async fn a_body_nobody_reads_stops_at_the_window() {
    let (server, client) = pair(&Builder::new()).await;
    tokio::spawn(serve(server, |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    }));
    let mut client = client.ready().await.expect("a connection");
    let (_response, mut send) = client.send_request(request("POST", "/"), false).expect("begun");
    let mut sent = 0;
    loop {
        send.reserve_capacity(1 << 20);
        let room = match send.capacity() {
            0 => tokio::time::timeout(Duration::from_millis(300), poll_fn(|context| send.poll_capacity(context))).await,
            room => Ok(Some(Ok(room))),
        };
        let Ok(Some(Ok(room))) = room else { break };
        send.send_data(Bytes::from(bytes(room)), false).expect("sent");
        sent += room;
    }
    assert_eq!(sent, STREAM_WINDOW_BYTES as usize);
}

#[tokio::test]
async fn a_stream_fails_when_its_client_breaks_it_off() {
    let (server, client) = pair(&Builder::new()).await;
    let gone = Arc::new(Notify::new());
    let seen = gone.clone();
    tokio::spawn(serve(server, move |mut stream| {
        let seen = seen.clone();
        async move {
            read_request(&mut stream).await.expect("a request");
            assert!(stream.read_u8().await.is_err());
            seen.notify_one();
        }
    }));
    let mut client = client.ready().await.expect("a connection");
    let (_response, mut send) = client.send_request(request("GET", "/"), true).expect("begun");
    tokio::task::yield_now().await;
    send.send_reset(Reason::CANCEL);
    tokio::time::timeout(Duration::from_secs(20), gone.notified()).await.expect("the stream learns of it");
}

#[tokio::test]
async fn a_dropped_stream_breaks_its_answer_off() {
    let (server, client) = pair(&Builder::new()).await;
    let seen = Arc::new(Notify::new());
    let arrived = seen.clone();
    tokio::spawn(serve(server, move |mut stream| {
        let arrived = arrived.clone();
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal").await.expect("a part");
            arrived.notified().await;
        }
    }));
    let mut client = client.ready().await.expect("a connection");
    let (response, _send) = client.send_request(request("GET", "/"), true).expect("begun");
    let mut body = response.await.expect("a head").into_body();
    assert_eq!(body.data().await.expect("data").expect("data"), "hal");
    seen.notify_one();
    let error = body.data().await.expect("an end").expect_err("not a whole answer");
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn whoever_breaks_off_most_of_what_it_begins_is_shown_out() {
    let (server, mut client) = pair(&Builder::new()).await;
    tokio::spawn(serve(server, |mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }));
    let mut begun = 0;
    let why = loop {
        client = match client.ready().await {
            Ok(client) => client,
            Err(error) => break error.reason(),
        };
        let Ok((_response, mut send)) = client.send_request(request("GET", "/"), true) else { continue };
        begun += 1;
        assert!(begun < 10 * BROKEN_FREE, "still welcome");
        // Long enough to be accepted: `h2` itself counts those that are not.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        send.send_reset(Reason::CANCEL);
    };
    assert!(begun > BROKEN_FREE, "a page that is left breaks off many");
    assert_eq!(why, Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn streams_beyond_the_bound_wait_for_others_to_end() {
    let (server, client) = pair(&Builder::new()).await;
    let open = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(Notify::new());
    let (counted, released) = (open.clone(), release.clone());
    tokio::spawn(serve(server, move |mut stream| {
        let (open, release) = (counted.clone(), released.clone());
        async move {
            let wait = release.notified();
            assert!(open.fetch_add(1, SeqCst) < STREAMS_MAX as usize, "too many at one time");
            wait.await;
            open.fetch_sub(1, SeqCst);
            stream.write_all(OK).await.expect("an answer");
            stream.shutdown().await.expect("the end");
        }
    }));
    let ask = |client: h2::client::SendRequest<Bytes>| async {
        let mut client = client.ready().await.expect("room for a request");
        client.send_request(request("GET", "/"), true).expect("begun").0.await.expect("an answer").status()
    };
    // The server's settings have to be there, or the client knows of no bound.
    let first = tokio::spawn(ask(client.clone()));
    while open.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (0..2 * STREAMS_MAX).map(|_| tokio::spawn(ask(client.clone()))).collect();
    let finish = async {
        for asked in others.into_iter().chain([first]) {
            assert_eq!(asked.await.expect("an answer"), 200);
        }
    };
    let go_on = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            release.notify_waiters();
        }
    };
    tokio::select! { () = finish => {}, () = go_on => {} }
}

#[tokio::test]
async fn after_shut_down_what_was_begun_is_answered_and_no_more() {
    let (mut server, client) = pair(&Builder::new()).await;
    let mut asking = client.clone().ready().await.expect("a connection");
    let (response, _send) = asking.send_request(request("GET", "/"), true).expect("begun");
    let mut stream = server.accept().await.expect("a stream");
    assert!(!server.is_idle());
    server.shut_down();
    let rest = tokio::spawn(async move { server.accept().await.is_none() });
    stream.write_all(OK).await.expect("an answer");
    stream.shutdown().await.expect("the end");
    drop(stream);
    assert_eq!(response.await.expect("an answer").status(), 200);
    drop((client, asking));
    assert!(rest.await.expect("no panic"), "no stream came after");
}

#[tokio::test]
async fn an_answer_that_http2_cannot_say_breaks_the_stream_off() {
    let (server, client) = pair(&Builder::new()).await;
    tokio::spawn(serve(server, |mut stream| async move {
        assert!(stream.write_all(b"HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n").await.is_err());
    }));
    let mut client = client.ready().await.expect("a connection");
    let (response, _send) = client.send_request(request("GET", "/"), true).expect("begun");
    assert_eq!(response.await.expect_err("no answer").reason(), Some(Reason::INTERNAL_ERROR));
}
