//! Answers of our own: files, redirects, pages of faults.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Response};
use http_body::Body as _;
use tokio::time::timeout;
use triad_http::{Body, Fault, Whose, forwarding};
use triad_http1::{Framing, HeadWriter, Method, RequestHead, Version, write_chunk, write_last_chunk};

use crate::client::Client;
use crate::header_rules::HeaderRules;
use crate::record::Record;

/// Time in which a file's next part must have been read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends `response`; returns whether the connection can take the next request, which `keep` allows.
pub(crate) async fn respond(
    client: &mut Client,
    record: &mut Record,
    head: &RequestHead,
    response: Response<Body>,
    rules: Option<&HeaderRules>,
    keep: bool,
) -> bool {
    client.begin_answer();
    let (parts, mut body) = response.into_parts();
    let status = parts.status.as_u16();
    let version = head.version.unwrap_or(Version::Http11);
    let framing = framing(&parts.headers, status, head.method, &body);
    let keep = keep && (framing != Framing::Chunked || version == Version::Http11);
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut writer = HeadWriter::response(&mut client.output, status, reason.as_bytes());
    let passes = |name: &HeaderName| {
        ![CONNECTION, TRANSFER_ENCODING, DATE].contains(name)
            && rules.is_none_or(|rules| rules.passes(name.as_str().as_bytes()))
    };
    for (name, value) in parts.headers.iter().filter(|(name, _)| passes(name)) {
        writer.field(name.as_str(), &[value.as_bytes()]);
    }
    if let Some(rules) = rules {
        rules.write(&mut writer);
    }
    writer.field(forwarding::X_REQUEST_ID, &[record.id.as_str().as_bytes()]);
    write_date(&mut writer);
    match framing {
        Framing::Length(length) if !parts.headers.contains_key(CONTENT_LENGTH) => writer.content_length(length),
        Framing::Chunked if version == Version::Http11 => writer.framing(framing),
        _ => {}
    }
    write_connection(&mut writer, version, keep);
    writer.finish();
    record.answered(status);
    let is_bodiless = head.method == Method::Head || body.is_end_stream();
    let sent = match is_bodiless {
        true => client.send_output().await.map_or_else(|error| unsent(record, &error), |()| true),
        false => send_body(client, record, &mut body, framing == Framing::Chunked && version == Version::Http11).await,
    };
    sent && keep
}

/// How the length of an answer of ours is told; zero is a length, too.
fn framing(headers: &HeaderMap, status: u16, method: Method, body: &Body) -> Framing {
    if status < 200 || matches!(status, 204 | 304) {
        return Framing::None;
    }
    match body.size_hint().exact() {
        // A file's length without the file.
        Some(0) if method == Method::Head && headers.contains_key(CONTENT_LENGTH) => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

async fn send_body(client: &mut Client, record: &mut Record, body: &mut Body, chunked: bool) -> bool {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let frame = match timeout(READ_TIMEOUT, frame).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => {
                record.failed(Fault::new(502, Whose::Upstream, "the answer broke off"));
                return false;
            }
        };
        let Some(data) = frame.data_ref() else { continue };
        match chunked {
            true => write_chunk(&mut client.output, data),
            false => client.output.extend_from_slice(data),
        }
        if let Err(error) = client.send_output().await {
            return unsent(record, &error);
        }
        record.bytes += data.len() as u64;
    }
    if chunked {
        write_last_chunk(&mut client.output, std::iter::empty());
    }
    client.send_output().await.map_or_else(|error| unsent(record, &error), |()| true)
}

fn unsent(record: &mut Record, error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::TimedOut => record.client_slow(),
        _ => record.client_gone(),
    }
    false
}

/// Writes `Connection` where the client would take the other for granted.
pub(crate) fn write_connection(writer: &mut HeadWriter<'_>, version: Version, keep: bool) {
    match (version, keep) {
        (_, false) => writer.field("connection", &[b"close"]),
        (Version::Http10, true) => writer.field("connection", &[b"keep-alive"]),
        (Version::Http11, true) => {}
    }
}

/// Writes `Date`, whose text is made once a second.
pub(crate) fn write_date(writer: &mut HeadWriter<'_>) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    SECOND.with_borrow_mut(|(of, text)| {
        if *of != second {
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *of = second;
        }
        writer.field("date", &[text.as_bytes()]);
    });
}
