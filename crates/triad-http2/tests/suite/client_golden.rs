//! One file a case, of the opening end. Above the dashes, after `> `, the lines of the request that is written to the
//! stream; then what the server answers: pseudo fields and fields, `< ` data, `<< ` trailers, `reset: ` a reason. Below
//! them what the server got, and what the stream gave to read.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::oneshot;
use triad_golden::{Case, LINE, cases};
use triad_http1::ResponseHead;
use triad_http2::{ClientStream, Fate, connect};

use super::golden::{indented, print_fields, said, shown, unescape};

/// More than any case takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn cases_arrive_and_read_as_their_files_say() {
    for case in cases("tests/golden/client", LINE) {
        let printed = tokio::time::timeout(PATIENCE, run(&case)).await;
        case.compare(&printed.unwrap_or_else(|_| format!("{}: not in time", case.path.display())));
    }
}

/// What the server does.
enum Step {
    Head(u16, HeaderMap),
    Data(String),
    Trailers(HeaderMap),
    Reset(Reason),
}

async fn run(case: &Case) -> String {
    let request: String = case.input.lines().filter_map(|line| line.strip_prefix('>')).map(line).collect();
    let steps = steps(&case.input);
    let (near, far) = duplex(64 * 1024);
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let mut server = h2::server::handshake(far).await.expect("a connection");
        let mut asked = Some((tell, steps));
        while let Some(Ok((request, respond))) = server.accept().await {
            let Some((tell, steps)) = asked.take() else { return };
            tokio::spawn(answer(request, respond, steps, tell));
        }
    });
    let (mut client, connection) = connect(near, false).await.expect("a connection");
    tokio::spawn(connection.run(None));
    let mut stream = client.stream().expect("room");
    let read = match stream.write_all(request.as_bytes()).await {
        Ok(()) => {
            // Fails where the server has answered before it has all.
            let _ = stream.flush().await;
            read(&mut stream).await
        }
        Err(error) => {
            format!("unsent: {error}{}\n", if stream.fate() == Fate::Unprocessed { ", unprocessed" } else { "" })
        }
    };
    drop((stream, client));
    let sent = told.await.unwrap_or_else(|_| "nothing\n".to_owned());
    format!("sent\n{}read\n{}", indented(&sent), indented(&read))
}

fn line(line: &str) -> String {
    unescape(line.strip_prefix(' ').unwrap_or(line))
}

fn steps(input: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let field = |line: &str| -> (HeaderName, HeaderValue) {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.parse().expect("a name"), HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    };
    for line in input.lines().filter(|line| !line.starts_with('>')) {
        if let Some(trailer) = line.strip_prefix("<< ") {
            let (name, value) = field(trailer);
            steps.push(Step::Trailers(HeaderMap::from_iter([(name, value)])));
        } else if let Some(data) = line.strip_prefix("< ") {
            steps.push(Step::Data(data.to_owned()));
        } else if let Some(reason) = line.strip_prefix("reset: ") {
            steps.push(Step::Reset(if reason == "CANCEL" { Reason::CANCEL } else { Reason::REFUSED_STREAM }));
        } else if let Some(status) = line.strip_prefix(":status: ") {
            steps.push(Step::Head(status.parse().expect("a status"), HeaderMap::new()));
        } else if let Some(Step::Head(_, fields)) = steps.last_mut() {
            let (name, value) = field(line);
            fields.append(name, value);
        }
    }
    steps
}

/// Reads the request, tells it, and does what it is told.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    steps: Vec<Step>,
    tell: oneshot::Sender<String>,
) {
    let _ = tell.send(told(request).await);
    let mut send = None;
    let count = steps.len();
    for (at, step) in steps.into_iter().enumerate() {
        let is_last = at + 1 == count;
        match step {
            Step::Head(status, fields) => {
                let mut response = Response::new(());
                *response.status_mut() = status.try_into().expect("a status");
                *response.headers_mut() = fields;
                match status {
                    ..200 => respond.send_informational(response).expect("sent"),
                    _ => send = Some(respond.send_response(response, is_last).expect("sent")),
                }
            }
            Step::Data(data) => send.as_mut().expect("a head").send_data(data.into(), is_last).expect("sent"),
            Step::Trailers(fields) => send.as_mut().expect("a head").send_trailers(fields).expect("sent"),
            Step::Reset(reason) => match &mut send {
                Some(send) => {
                    // Not before the client has what came first.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    send.send_reset(reason);
                }
                None => respond.send_reset(reason),
            },
        }
    }
}

async fn told(request: Request<RecvStream>) -> String {
    let (parts, mut body) = request.into_parts();
    let uri = &parts.uri;
    let mut got = format!(":method: {}\n", parts.method);
    let _ = writeln!(got, ":scheme: {}", uri.scheme_str().unwrap_or("none"));
    let _ = writeln!(got, ":authority: {}", uri.authority().map_or("none", |authority| authority.as_str()));
    let _ = writeln!(got, ":path: {}", uri.path_and_query().map_or("none", |path| path.as_str()));
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

async fn read(stream: &mut ClientStream) -> String {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes).await {
        Ok(_) => "the end",
        Err(_) if stream.fate() == Fate::Unprocessed => "broken off: unprocessed",
        Err(_) if stream.fate() == Fate::Cancelled => "broken off: cancelled",
        Err(_) => "broken off",
    };
    if let Err(refusal) = judge(&bytes) {
        return format!("refused: {refusal}\n");
    }
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    format!("{text}{newline}{end}\n")
}

/// What the parser of HTTP/1.1 says of the heads.
fn judge(mut bytes: &[u8]) -> Result<(), triad_http1::Refusal> {
    let mut head = ResponseHead::default();
    while let Some(length) = head.parse(bytes)? {
        bytes = &bytes[length..];
        if !head.is_interim() {
            break;
        }
    }
    Ok(())
}
