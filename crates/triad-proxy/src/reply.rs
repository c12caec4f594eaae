//! A backend's answer on its way back: its head made fit for the client, its body streamed.

use std::future::poll_fn;
use std::task::Poll;

use http::StatusCode;
use tokio::time::Instant;
use triad_http::{Fault, Whose, forwarding};
use triad_http1::{Framing, HeadWriter, Name, Version};
use triad_http2::Fate;

use crate::client::Ending;
use crate::clock::Stall;
use crate::exchange::{Exchange, REPEATED, Reply, Slots, UNANSWERED, UNTOUCHED};
use crate::respond::{write_connection, write_date};
use crate::sticky::STICKY;
use crate::stream::{Buffer, Stream};
use crate::transfer::{Download, DownloadError, Mode, UploadError};

/// What became of the client's connection.
pub(crate) enum Relayed {
    /// It can take the next request.
    Kept,
    /// It ends.
    Closed(Ending),
    /// Nothing of the answer was sent: it was broken from the start.
    Refused(Fault),
    /// It speaks another protocol now, with this backend, of which some bytes are here already; it has its slots while
    /// that lasts.
    Switched(Stream, Buffer, Slots),
}

/// How an answer goes on.
struct Shape {
    framing: Framing,
    mode: Mode,
    /// The client is told the end of the answer by the end of the connection.
    by_close: bool,
    keep: bool,
}

/// Sends a backend's answer on, while the request's body may still be on its way.
pub(crate) async fn relay(exchange: &mut Exchange<'_>, mut reply: Reply) -> Relayed {
    let before = exchange.client.output.len();
    let shape = write_head(exchange, &reply);
    let status = exchange.answer_head.status;
    exchange.record.sent(Some(reply.backend.name.clone()), reply.attempts, exchange.waited);
    let began = exchange.record.begun();
    exchange.note_time(&mut reply, began);
    exchange.record.answered(status);
    exchange.upload.forget_continue();
    reply.bytes.consume(reply.head_length);
    if status == 101 {
        return match exchange.client.send_output().await {
            Ok(()) => Relayed::Switched(reply.stream, reply.bytes, reply.slots),
            Err(_) => gone(exchange),
        };
    }
    exchange.client.begin_answer();
    let mut download = Download::new(shape.framing, shape.mode);
    download.rules = exchange.answer_rules;
    if download.beside_head(&mut reply.bytes, &mut exchange.client.output).is_err() {
        exchange.client.output.truncate(before);
        return Relayed::Refused(Fault::new(502, Whose::Upstream, format!("backend {}", reply.backend.name)));
    }
    let sent = stream(exchange, &mut reply, &mut download).await;
    exchange.record.bytes = download.bytes;
    match sent {
        Ok(()) => finish(exchange, reply, &shape),
        Err(DownloadError::Client) => gone(exchange),
        Err(DownloadError::Slow) => {
            exchange.record.client_slow();
            Relayed::Closed(Ending::Cut)
        }
        Err(DownloadError::Backend) => {
            exchange.record.failed(Fault::new(502, Whose::Upstream, "the answer broke off"));
            Relayed::Closed(match reply.stream.fate() {
                _ if shape.by_close => Ending::Cut,
                Fate::Cancelled => Ending::Cancelled,
                _ => Ending::Read,
            })
        }
    }
}

fn gone(exchange: &mut Exchange<'_>) -> Relayed {
    exchange.record.client_gone();
    Relayed::Closed(Ending::Read)
}

/// The answer is through. The backend's connection is free for the next request if both ends agree where this one ended.
fn finish(exchange: &mut Exchange<'_>, reply: Reply, shape: &Shape) -> Relayed {
    let uploaded = exchange.upload.is_done();
    let whole = shape.framing != Framing::UntilClose && reply.bytes.is_empty();
    if uploaded && whole && exchange.answer_head.keep_alive {
        reply.backend.check_in(exchange.worker.number, reply.stream);
    }
    match uploaded {
        true if shape.keep => Relayed::Kept,
        true => Relayed::Closed(Ending::Read),
        false => Relayed::Closed(Ending::Unread),
    }
}

/// Writes the answer's head, as the client shall see it, to the client's output.
fn write_head(exchange: &mut Exchange<'_>, reply: &Reply) -> Shape {
    let (head, request) = (&*exchange.answer_head, &exchange.request);
    let bytes = &reply.bytes.bytes()[..reply.head_length];
    let framing = head.framing(request.method);
    let is_current = request.version == Version::Http11;
    let unknown_length = matches!(framing, Framing::Chunked | Framing::UntilClose);
    let by_close = unknown_length && !is_current;
    let keep = request.keep_alive && !by_close && !exchange.worker.is_stopping();
    let reason = match head.reason.of_bytes(bytes) {
        b"" => StatusCode::from_u16(head.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default()
            .as_bytes(),
        reason => reason,
    };
    let told = exchange.told(reply);
    let mut writer = HeadWriter::response(&mut exchange.client.output, head.status, reason);
    let rules = exchange.answer_rules;
    let sticky = exchange.sticky;
    let is_in_the_way = |(_, name, value): (Name, &[u8], &[u8])| sticky.is_some_and(|it| it.is_set_by(name, value));
    let hides_cookies = sticky.is_some() && head.fields.iter(bytes).any(is_in_the_way);
    let mut has_date = false;
    writer.pass(&head.fields, bytes, |kind, name| {
        has_date |= kind == Name::Date;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let is_ours = [forwarding::X_REQUEST_ID, UNTOUCHED, UNANSWERED, REPEATED, STICKY].into_iter().any(is);
        let is_stuck = hides_cookies && is("set-cookie");
        !is_ours && !is_stuck && rules.is_none_or(|rules| rules.passes(name))
    });
    if hides_cookies {
        let is_cookie = |(_, name, _): &(Name, &[u8], &[u8])| name.eq_ignore_ascii_case(b"set-cookie");
        let others = head.fields.iter(bytes).filter(|field| is_cookie(field) && !is_in_the_way(*field));
        others.for_each(|(_, _, value)| writer.field("set-cookie", &[value]));
    }
    if let Some(sticking) = &exchange.sticking {
        let told = head.fields.find(bytes, STICKY).filter(|_| reply.backend.plan.target.is_edge());
        let gone = reply.backends().map(|backend| &backend.name);
        sticking.write(&mut writer, gone, told.map(|told| told.of_bytes(bytes)));
    }
    if let Some(rules) = rules {
        rules.write(&mut writer);
    }
    writer.field(forwarding::X_REQUEST_ID, &[exchange.record.id.as_str().as_bytes()]);
    if let Some((name, value)) = told {
        writer.field(name, &[value.as_bytes()]);
    }
    if !has_date {
        write_date(&mut writer);
    }
    match (framing, head.content_length) {
        (Framing::Chunked | Framing::UntilClose, _) if is_current => writer.framing(Framing::Chunked),
        (Framing::Length(_) | Framing::None, Some(length)) if head.status >= 200 && head.status != 204 => {
            writer.content_length(length);
        }
        _ => {}
    }
    match head.upgrade(bytes).filter(|_| head.status == 101) {
        Some(protocol) => {
            writer.field("connection", &[b"upgrade"]);
            writer.field("upgrade", &[protocol]);
        }
        None => write_connection(&mut writer, request.version, keep),
    }
    writer.finish();
    let mode = if unknown_length && is_current { Mode::Chunks { trailers: request.trailers } } else { Mode::Raw };
    Shape { framing, mode, by_close, keep }
}

/// Both bodies, side by side, until the answer is through.
async fn stream(
    exchange: &mut Exchange<'_>,
    reply: &mut Reply,
    download: &mut Download<'_>,
) -> Result<(), DownloadError> {
    let Reply { stream: backend, bytes: answer, .. } = reply;
    let (mut stall, patience) = (None, exchange.request.patience(false));
    poll_fn(|context| {
        let (client, upload) = (&mut *exchange.client, &mut exchange.upload);
        if upload.is_under_way(backend)
            && let Poll::Ready(Err(error)) = upload.poll(context, client, backend)
        {
            match error {
                UploadError::Client(_) => return Poll::Ready(Err(DownloadError::Client)),
                UploadError::Backend(_) => upload.stop(),
            }
        }
        if let Poll::Ready(sent) = download.poll(context, client, backend, answer) {
            return Poll::Ready(sent);
        }
        // An answer may have nothing to say for long, and the backend should not go on for nobody.
        if upload.is_done() && client.poll_gone(context) {
            return Poll::Ready(Err(DownloadError::Client));
        }
        let is_behind = client.is_behind() || !answer.is_empty() || download.holds_back();
        let moves = client.moved() + upload.moved + download.moves;
        let stall = stall.get_or_insert_with(|| Stall::new(Instant::now(), patience));
        let is_stuck = stall.poll_stuck(&mut client.clock, context, moves);
        let is_slow = client.poll_too_slow(context, is_behind) || upload.poll_too_slow(context, client);
        match is_stuck || is_slow {
            true if is_slow || is_behind || upload.is_waiting() => Poll::Ready(Err(DownloadError::Slow)),
            true => Poll::Ready(Err(DownloadError::Backend)),
            false => Poll::Pending,
        }
    })
    .await
}
