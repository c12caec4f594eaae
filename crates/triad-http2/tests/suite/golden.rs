//! One file a case. Above the dashes what the client sends: pseudo fields and fields, `> ` data, `>> ` trailers; then,
//! after `< `, the lines of the answer that is written to the stream. Below them what the stream gave to read, and what
//! the client got.

use std::fmt::Write;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use triad_golden::{Case, LINE, cases};

use super::bed::{pair, read_request, serve};

/// More than any case takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn cases_read_and_arrive_as_their_files_say() {
    for case in cases("tests/golden/server", LINE) {
        let printed = tokio::time::timeout(PATIENCE, run(&case)).await;
        case.compare(&printed.unwrap_or_else(|_| format!("{}: not in time", case.path.display())));
    }
}

/// What the client sends.
#[derive(Default)]
struct Sent {
    pseudo: Vec<(String, String)>,
    fields: HeaderMap,
    data: Vec<String>,
    trailers: HeaderMap,
}

async fn run(case: &Case) -> String {
    let sent = parse(&case.input);
    let answer: String = case.input.lines().filter_map(|line| line.strip_prefix("< ")).map(unescape).collect();
    let (server, client) = pair(&h2::client::Builder::new()).await;
    let (tell, told) = oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    tokio::spawn(serve(server, move |mut stream| {
        let (answer, tell) = (answer.clone(), tell.lock().expect("one case").take());
        async move {
            let read = read_request(&mut stream).await;
            let _ = tell.expect("one stream").send(match read {
                Ok((head, body, trailers)) => {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    format!("{head}{}{trailers}", shown(&body))
                }
                Err(why) => format!("refused: {why}\n"),
            });
        }
    }));
    let got = exchange(client, sent).await;
    let read = told.await.unwrap_or_else(|_| "nothing\n".to_owned());
    format!("read\n{}got\n{}", indented(&read), indented(&got))
}

fn parse(input: &str) -> Sent {
    let mut sent = Sent::default();
    let field = |line: &str| -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = line.split_once(": ")?;
        Some((name.parse().expect("a name"), HeaderValue::from_bytes(value.as_bytes()).expect("a value")))
    };
    for line in input.lines().filter(|line| !line.starts_with('<')) {
        if let Some(trailer) = line.strip_prefix(">> ") {
            sent.trailers.extend(field(trailer).map(|(name, value)| (Some(name), value)));
        } else if let Some(data) = line.strip_prefix("> ") {
            sent.data.push(data.to_owned());
        } else if let Some(pseudo) = line.strip_prefix(':') {
            let (name, value) = pseudo.split_once(": ").expect("a pseudo field");
            sent.pseudo.push((name.to_owned(), value.to_owned()));
        } else if let Some((name, value)) = field(line) {
            sent.fields.append(name, value);
        }
    }
    sent
}

fn request(sent: &Sent) -> Request<()> {
    let pseudo = |name: &str| sent.pseudo.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str());
    let mut uri = Uri::builder();
    uri = pseudo("scheme").map(|scheme| std::mem::take(&mut uri).scheme(scheme)).unwrap_or(uri);
    uri = pseudo("authority").map(|authority| std::mem::take(&mut uri).authority(authority)).unwrap_or(uri);
    uri = pseudo("path").map(|path| std::mem::take(&mut uri).path_and_query(path)).unwrap_or(uri);
    let mut request = Request::new(());
    *request.uri_mut() = uri.build().expect("a target");
    *request.method_mut() = Method::from_bytes(pseudo("method").expect("a method").as_bytes()).expect("a method");
    *request.headers_mut() = sent.fields.clone();
    if let Some(protocol) = pseudo("protocol") {
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    request
}

async fn exchange(client: h2::client::SendRequest<Bytes>, sent: Sent) -> String {
    let mut client = client.ready().await.expect("a connection");
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let opens = sent.pseudo.iter().any(|(name, _)| name == "protocol");
    let is_whole = sent.data.is_empty() && sent.trailers.is_empty() && !opens;
    let (response, mut send) = match client.send_request(request(&sent), is_whole) {
        Ok(begun) => begun,
        Err(error) => return format!("unsent: {error}\n"),
    };
    for (at, data) in sent.data.iter().enumerate() {
        let ends = at + 1 == sent.data.len() && sent.trailers.is_empty() && !opens;
        if send.send_data(Bytes::from(data.clone()), ends).is_err() {
            break;
        }
    }
    if !sent.trailers.is_empty() {
        let _ = send.send_trailers(sent.trailers);
    }
    received(response).await
}

async fn received(mut response: h2::client::ResponseFuture) -> String {
    let mut got = String::new();
    while let Some(Ok(interim)) = poll_fn(|context| response.poll_informational(context)).await {
        let _ = writeln!(got, ":status: {}", interim.status().as_u16());
        print_fields(&mut got, interim.headers());
    }
    let (parts, mut body) = match response.await {
        Ok(response) => response.into_parts(),
        Err(error) => return got + &format!("{}\n", said(&error)),
    };
    let _ = writeln!(got, ":status: {}", parts.status.as_u16());
    print_fields(&mut got, &parts.headers);
    let mut data = Vec::new();
    while let Some(part) = body.data().await {
        match part {
            Ok(part) => data.extend_from_slice(&part),
            Err(error) => return got + &shown(&data) + &format!("{}\n", said(&error)),
        }
    }
    got += &shown(&data);
    match body.trailers().await {
        Ok(Some(trailers)) => print_fields(&mut got, &trailers),
        Ok(None) => {}
        Err(error) => got += &format!("{}\n", said(&error)),
    }
    got + "the end\n"
}

/// How the server broke it off.
pub fn said(error: &h2::Error) -> String {
    let kind = if error.is_reset() { "reset" } else { "error" };
    format!("{kind}: {}", error.reason().map_or_else(|| error.to_string(), |reason| format!("{reason:?}")))
}

pub fn print_fields(out: &mut String, fields: &HeaderMap) {
    fields.iter().for_each(|(name, value)| _ = writeln!(out, "{name}: {}", value.to_str().unwrap_or("?")));
}

pub fn shown(data: &[u8]) -> String {
    if data.is_empty() { String::new() } else { format!("{:?}\n", String::from_utf8_lossy(data)) }
}

/// A line with its end; `\` before the end joins it to the next.
pub fn unescape(line: &str) -> String {
    line.strip_suffix('\\').map_or_else(|| format!("{line}\r\n"), str::to_owned)
}

pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}
