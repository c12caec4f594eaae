//! Whole connections at random, against the client of the `h2` crate: what one end said, the other understood. Fields
//! repeat, so that both tables of compression are in use; windows and tables are small; several streams are open.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use triad_http2::Stream;

use super::bed::{pair, read_request, send_body, serve};

/// More than any case takes.
const PATIENCE: Duration = Duration::from_secs(60);

type Fields = Vec<(String, String)>;

#[derive(Clone, Debug)]
struct Message {
    fields: Fields,
    body: Vec<u8>,
    /// Whether its length is told before.
    told: bool,
    trailers: Fields,
}

/// What a client is like.
#[derive(Clone, Debug)]
struct Settings {
    window: u32,
    table: u32,
}

fn fields(most: usize) -> impl Strategy<Value = Fields> {
    let name = "x-[a-d]|accept|vary|etag|x-[a-z0-9-]{1,30}";
    let value = "[a-c]{0,2}|[!-~]([ -~]{0,60}[!-~])?|[!-~]{200}|\u{e4}{1,3}";
    proptest::collection::vec((name, value), 0..most)
}

fn message() -> impl Strategy<Value = Message> {
    let body = prop_oneof![Just(0), 1usize..100, 1usize..70_000]
        .prop_map(|length| (0..length).map(|at| (at % 251) as u8).collect());
    (fields(12), body, any::<bool>(), fields(3)).prop_map(|(fields, body, told, trailers)| {
        let trailers = if told { Fields::new() } else { trailers };
        Message { fields, body, told, trailers }
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    (prop_oneof![1u32..200, Just(65_535), Just(1 << 20)], prop_oneof![0u32..200, Just(4096), Just(1 << 16)])
        .prop_map(|(window, table)| Settings { window, table })
}

fn map(fields: &Fields) -> HeaderMap {
    let text = |value: &str| HeaderValue::from_bytes(value.as_bytes()).expect("a value");
    fields.iter().map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), text(value))).collect()
}

/// Sorted, because a map keeps the order of one name only.
fn list(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut list: Vec<_> = map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    list.sort();
    list
}

/// Lines of HTTP/1.1 as fields, but for what the server writes of its own.
fn lines(text: &str) -> Vec<(String, Vec<u8>)> {
    let own = ["host", "connection", "transfer-encoding", "content-length"];
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.trim_start().as_bytes().to_vec()));
    let mut list: Vec<_> = fields.filter(|(name, _)| !own.contains(&name.as_str())).collect();
    list.sort();
    list
}

/// An answer in HTTP/1.1; names are not in lower case.
fn answer(message: &Message) -> Vec<u8> {
    let Message { fields, body, told, trailers } = message;
    let line = |(name, value): &(String, String)| format!("{}: {value}\r\n", name.to_ascii_uppercase());
    let lines = |fields: &Fields| fields.iter().map(line).collect::<String>();
    let mut out = format!("HTTP/1.1 200 OK\r\n{}", lines(fields)).into_bytes();
    if *told {
        out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
        out.extend_from_slice(body);
        return out;
    }
    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    for part in body.chunks(1000) {
        out.extend(format!("{:x}\r\n", part.len()).bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend(format!("0\r\n{}\r\n", lines(trailers)).bytes());
    out
}

/// What servers have read, by the path.
type Read = Arc<Mutex<Vec<(String, Vec<u8>, String)>>>;

/// Reads a request and answers with the answer that its path names, in pieces of `cut` bytes behind the head.
async fn respond(mut stream: Stream, answers: Arc<Vec<Message>>, read: Read, cut: usize) {
    let request = read_request(&mut stream).await.expect("a request");
    let number: usize = request.0.split(['/', ' ']).nth(2).and_then(|number| number.parse().ok()).expect("a number");
    read.lock().expect("no panic")[number] = request;
    let bytes = answer(&answers[number]);
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    stream.write_all(&bytes[..head]).await.expect("a head");
    for part in bytes[head..].chunks(cut) {
        stream.write_all(part).await.expect("a body");
    }
    stream.shutdown().await.expect("the end");
}

async fn ask(client: h2::client::SendRequest<Bytes>, number: usize, sent: Message) -> (HeaderMap, Vec<u8>, HeaderMap) {
    let mut request = Request::post(format!("https://www.foobar.com/{number}")).body(()).expect("a request");
    *request.headers_mut() = map(&sent.fields);
    if sent.told {
        request.headers_mut().insert("content-length", sent.body.len().into());
    }
    let mut client = client.ready().await.expect("a connection");
    let (response, mut send) = client.send_request(request, false).expect("begun");
    let sending = async {
        send_body(&mut send, sent.body.into(), sent.trailers.is_empty()).await;
        if !sent.trailers.is_empty() {
            send.send_trailers(map(&sent.trailers)).expect("sent");
        }
    };
    let receiving = async {
        let (parts, mut receive) = response.await.expect("an answer").into_parts();
        let mut body = Vec::new();
        while let Some(part) = receive.data().await {
            let part = part.expect("data");
            body.extend_from_slice(&part);
            receive.flow_control().release_capacity(part.len()).expect("released");
        }
        (parts.headers, body, receive.trailers().await.expect("whole").unwrap_or_default())
    };
    tokio::join!(sending, receiving).1
}

async fn run(settings: Settings, messages: Vec<(Message, Message)>, cut: usize) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(settings.window).header_table_size(settings.table);
    let (server, client) = pair(&builder).await;
    let answers = Arc::new(messages.iter().map(|(_, answer)| answer.clone()).collect::<Vec<_>>());
    let read: Read = Arc::new(Mutex::new(vec![Default::default(); messages.len()]));
    let (all, seen) = (answers.clone(), read.clone());
    tokio::spawn(serve(server, move |stream| respond(stream, all.clone(), seen.clone(), cut)));
    let asking: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(number, (sent, _))| tokio::spawn(ask(client.clone(), number, sent.clone())))
        .collect();
    for (number, asked) in asking.into_iter().enumerate() {
        let (headers, body, trailers) = asked.await.expect("an answer");
        let (sent, answered) = &messages[number];
        let mut headers = headers;
        let length = headers.remove("content-length").map(|length| length.to_str().unwrap_or_default().to_owned());
        assert_eq!(length, answered.told.then(|| answered.body.len().to_string()));
        assert_eq!(list(&headers), list(&map(&answered.fields)));
        assert!(body == answered.body, "{} bytes, not {}", body.len(), answered.body.len());
        assert_eq!(list(&trailers), list(&map(&answered.trailers)));
        let (head, read_body, read_trailers) = read.lock().expect("no panic")[number].clone();
        assert_eq!(lines(&head), list(&map(&sent.fields)));
        assert!(read_body == sent.body, "{} bytes, not {}", read_body.len(), sent.body.len());
        assert_eq!(lines(&read_trailers), list(&map(&sent.trailers)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_understand_the_same(
        settings in settings(),
        messages in proptest::collection::vec((message(), message()), 1..12),
        cut in prop_oneof![1usize..60, 1usize..5000, Just(100_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, run(settings, messages, cut)).await.expect("in time");
        });
    }
}
