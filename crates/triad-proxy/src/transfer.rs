//! Bodies on their way: the request's to the backend, the answer's to the client. Both are pumps that are polled side by
//! side; each holds at most one buffer of what its reader has not taken yet, and reads no more before that is taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;
use triad_http::forwarding;
use triad_http1::{BodyReader, Framing, Refusal, trailer_lines, write_chunk, write_last_chunk};

use crate::client::Client;
use crate::exchange::Request;
use crate::header_rules::HeaderRules;
use crate::min_rate::Pace;
use crate::splice::Pipe;
use crate::stream::{Buffer, Stream};

/// Bytes of chunks that are gathered before they are written.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request, its head included, that are kept while they are sent: as long as that is all of it, a backend that
/// did nothing with it costs nothing, because another one can have it.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a body that are copied behind its head, to go with it in one write.
const BESIDE_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Rest of an answer's body from which on it is worth a pipe.
const SPLICED_BYTES_MIN: u64 = 64 * 1024;

/// Why a request's body does not get through.
pub(crate) enum UploadError {
    /// The backend takes no more; it may have answered already.
    Backend(io::Error),
    /// The client broke off, or its framing is broken.
    Client(Refusal),
}

/// A request on its way to a backend.
pub(crate) struct Upload<'a> {
    reader: BodyReader,
    framing: Framing,
    /// The head, or chunks, or both.
    pending: Vec<u8>,
    /// Where the body begins in it.
    body_at: usize,
    written: usize,
    /// Bytes at the start of the client's input that are a copy in `pending`, and belong to the body.
    beside_head: usize,
    /// The body's end is in `pending`, or written.
    ended: bool,
    /// The backend takes no more.
    stopped: bool,
    /// Some of the body is neither in the client's input nor in `pending`.
    spent: bool,
    /// The client waits for 100 before it sends the body.
    awaits_continue: bool,
    /// Which fields pass, behind the body as before it.
    pub rules: Option<&'a HeaderRules>,
    /// Bytes the backend took.
    pub moved: u64,
    /// Whether the next move is the client's.
    waits_for_client: bool,
    /// Whether it sends the body as it likes.
    is_call: bool,
    /// How it sends the body, once it was waited for.
    pace: Option<Pace>,
}

impl Upload<'_> {
    /// A request; `memory` is used again.
    pub fn new(request: &Request, memory: Vec<u8>) -> Self {
        Self {
            reader: BodyReader::new(request.framing),
            framing: request.framing,
            body_at: memory.len(),
            pending: memory,
            written: 0,
            beside_head: 0,
            ended: request.framing == Framing::None,
            stopped: false,
            spent: false,
            awaits_continue: request.expects_continue,
            rules: None,
            moved: 0,
            waits_for_client: false,
            is_call: request.is_call,
            pace: None,
        }
    }

    /// At the start again, behind what its connection begins with, for another backend: possible while none of the body
    /// is spent. `lines` are more fields of the head.
    pub fn begin(&mut self, preface: &[u8], head: &[u8], lines: &[u8], input: &Buffer) {
        debug_assert!(!self.spent);
        // What is copied there still stands in the input, too.
        self.pending.truncate(self.pending.len() - self.beside_head);
        let has_body = self.body_at < self.pending.len();
        let body = if has_body { self.pending.split_off(self.body_at) } else { Vec::new() };
        self.pending.clear();
        let (head, end) = head.split_at(head.len().saturating_sub(b"\r\n".len()));
        [preface, head, lines, end].into_iter().for_each(|part| self.pending.extend_from_slice(part));
        self.body_at = self.pending.len();
        self.pending.extend_from_slice(&body);
        self.pace = None;
        (self.written, self.moved, self.beside_head) = (0, 0, 0);
        self.stopped = false;
        if let Framing::Length(_) = self.framing {
            let there = input.bytes();
            let left = self.reader.remaining().unwrap_or_default();
            self.beside_head = (left.min(BESIDE_HEAD_BYTES_MAX as u64) as usize).min(there.len());
            self.pending.extend_from_slice(&there[..self.beside_head]);
        }
    }

    /// A backend that answered has all of it, whatever became of it at others since.
    pub fn settle(&mut self) {
        debug_assert!(self.ended);
        self.pending.clear();
        (self.written, self.body_at, self.beside_head, self.moved) = (0, 0, 0, 0);
        self.stopped = false;
    }

    /// Whether the backend has all of it.
    pub fn is_done(&self) -> bool {
        self.ended && self.written == self.pending.len() && !self.stopped
    }

    /// Whether some of the body is gone, so that no other backend can have it.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Whether `backend`, which gets it, is to be polled: it may hold back the end.
    pub fn is_under_way(&self, backend: &Stream) -> bool {
        !self.stopped && (!self.is_done() || backend.holds_back())
    }

    /// Whether no more will be sent.
    pub fn is_over(&self) -> bool {
        self.stopped || self.is_done()
    }

    /// Whether the next move is the client's.
    pub fn is_waiting(&self) -> bool {
        self.waits_for_client && !self.is_over()
    }

    /// Whether the client sends its body too slowly.
    pub fn poll_too_slow(&mut self, context: &mut Context<'_>, client: &mut Client) -> bool {
        let Some(rate) = client.min_rate.filter(|_| !self.is_over() && !self.is_call) else { return false };
        let waits = self.waits_for_client;
        let pace = self.pace.get_or_insert_with(|| Pace::new(rate, Instant::now(), self.moved));
        pace.poll_too_slow(&mut client.clock, context, waits, self.moved)
    }

    /// Gives up: the backend has answered without reading on.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The client gets no 100 any more.
    pub fn forget_continue(&mut self) {
        self.awaits_continue = false;
    }

    /// What of the request's body has not been read, and the memory.
    pub fn into_parts(self) -> (BodyReader, Vec<u8>) {
        (self.reader, self.pending)
    }

    /// Moves on; ready when the backend has all of it.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        backend: &mut Stream,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            self.waits_for_client = false;
            ready!(self.poll_pending(context, client, backend)).map_err(UploadError::Backend)?;
            if self.ended {
                return backend.poll_push(context).map_err(UploadError::Backend);
            }
            if client.input.is_empty() {
                if let Poll::Ready(Err(error)) = backend.poll_push(context) {
                    return Poll::Ready(Err(UploadError::Backend(error)));
                }
                ready!(self.poll_client(context, client)).map_err(UploadError::Client)?;
                continue;
            }
            match self.framing {
                Framing::Chunked => self.gather(&mut client.input).map_err(UploadError::Client)?,
                _ if self.has_room(&client.input) => self.keep(&mut client.input),
                _ => ready!(self.poll_direct(context, client, backend)).map_err(UploadError::Backend)?,
            }
        }
    }

    fn poll_pending(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        backend: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let written = ready!(poll_write(backend, context, &self.pending[self.written..]))?;
            self.written += written;
            self.moved += written as u64;
            if self.beside_head > 0 {
                // Only now that the backend has some of it the body is spent.
                self.take(&mut client.input, self.beside_head);
                self.beside_head = 0;
            }
        }
        if !self.ended && (self.spent || self.pending.len() > KEPT_BYTES_MAX) {
            self.spent |= self.body_at < self.pending.len();
            self.pending.clear();
            (self.written, self.body_at) = (0, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes of `input` that are of a body with a length.
    fn there<'b>(&self, input: &'b Buffer) -> &'b [u8] {
        let there = input.bytes();
        &there[..self.reader.remaining().map_or(there.len(), |left| left.min(there.len() as u64) as usize)]
    }

    /// Whether what is there of a body with a length can be kept as well.
    fn has_room(&self, input: &Buffer) -> bool {
        !self.spent && self.pending.len() + self.there(input).len() <= KEPT_BYTES_MAX
    }

    fn keep(&mut self, input: &mut Buffer) {
        let there = self.there(input);
        let length = there.len();
        self.pending.extend_from_slice(there);
        self.take(input, length);
    }

    fn poll_direct(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        backend: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let there = self.there(&client.input);
        let written = ready!(poll_write(backend, context, there))?;
        self.moved += written as u64;
        self.spent = true;
        self.take(&mut client.input, written);
        Poll::Ready(Ok(()))
    }

    fn poll_client(&mut self, context: &mut Context<'_>, client: &mut Client) -> Poll<Result<(), Refusal>> {
        if std::mem::take(&mut self.awaits_continue) {
            client.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.waits_for_client = true;
        match ready!(client.input.poll_fill(&mut client.stream, context)) {
            Ok(0) | Err(_) => Poll::Ready(self.reader.end_of_input()),
            Ok(_) => Poll::Ready(Ok(())),
        }
    }

    /// Decodes what is there, and writes it anew: what the backend reads is our framing, not the client's.
    fn gather(&mut self, input: &mut Buffer) -> Result<(), Refusal> {
        while !input.is_empty() && !self.reader.is_done() && self.pending.len() < GATHERED_BYTES_MAX {
            let piece = self.reader.next(input.bytes())?;
            write_chunk(&mut self.pending, &input.bytes()[piece.payload]);
            input.consume(piece.consumed);
        }
        if self.reader.is_done() {
            let lines = trailer_lines(self.reader.trailers());
            let rules = self.rules;
            let passing = lines.filter(|(name, _)| forwarding::passes_as_trailer(name) && passes(rules, name));
            write_last_chunk(&mut self.pending, passing.map(|(_, line)| line));
            self.ended = true;
        }
        Ok(())
    }

    /// Of a body with a length, `length` bytes have gone on.
    fn take(&mut self, input: &mut Buffer, length: usize) {
        let piece = self.reader.next(&input.bytes()[..length]);
        debug_assert!(piece.is_ok_and(|piece| piece.consumed == length));
        input.consume(length);
        self.ended = self.reader.is_done();
    }
}

/// How an answer's body is told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As it comes: by its length, or by the end of the connection.
    Raw,
    /// In chunks of ours.
    Chunks {
        /// Whether the client reads trailers.
        trailers: bool,
    },
}

/// Why an answer does not get through.
pub(crate) enum DownloadError {
    /// The backend broke off, or its framing is broken.
    Backend,
    /// The client takes no more.
    Client,
    /// The client is too slow.
    Slow,
}

/// An answer on its way to the client, whose head is in the client's output.
pub(crate) struct Download<'a> {
    reader: BodyReader,
    mode: Mode,
    /// The body's end is in the client's output, or sent.
    ended: bool,
    /// What holds bytes of the body that are not copied.
    pipe: Option<Pipe>,
    /// Which fields pass, behind the body as before it.
    pub rules: Option<&'a HeaderRules>,
    /// Bytes of payload that went on.
    pub bytes: u64,
    /// Grows with everything that is read, or written but for the client's output.
    pub moves: u64,
}

impl Download<'_> {
    /// An answer whose body arrives with `framing` and leaves in `mode`.
    pub fn new(framing: Framing, mode: Mode) -> Self {
        let reader = BodyReader::new(framing);
        let ended = reader.is_done();
        Self { reader, mode, ended, pipe: None, rules: None, bytes: 0, moves: 0 }
    }

    /// Puts what is there of a small body behind the head.
    pub fn beside_head(&mut self, answer: &mut Buffer, output: &mut Vec<u8>) -> Result<(), DownloadError> {
        if self.mode != Mode::Raw {
            return self.gather(answer, output);
        }
        let length = answer.bytes().len().min(BESIDE_HEAD_BYTES_MAX);
        let piece = self.reader.next(&answer.bytes()[..length]).map_err(|_| DownloadError::Backend)?;
        output.extend_from_slice(&answer.bytes()[piece.payload.clone()]);
        self.note(answer, piece.consumed, piece.payload.len());
        Ok(())
    }

    /// Moves on; ready when the client has all of it.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        backend: &mut Stream,
        answer: &mut Buffer,
    ) -> Poll<Result<(), DownloadError>> {
        loop {
            ready!(client.poll_output(context)).map_err(|_| DownloadError::Client)?;
            if self.ended {
                return client.stream.poll_push(context).map_err(|_| DownloadError::Client);
            }
            if answer.is_empty() {
                if let (Stream::Plain(from), Stream::Plain(to)) = (&*backend, &client.stream)
                    && self.has_pipe()
                {
                    client.taken += ready!(self.poll_splice(context, from, to))?;
                    continue;
                }
                if let Poll::Ready(Err(_)) = client.stream.poll_push(context) {
                    return Poll::Ready(Err(DownloadError::Client));
                }
                let read = ready!(answer.poll_fill(backend, context));
                self.moves += 1;
                if matches!(read, Ok(0) | Err(_)) {
                    self.end_of_answer(read.is_ok(), &mut client.output)?;
                }
                continue;
            }
            match self.mode {
                Mode::Chunks { .. } => self.gather(answer, &mut client.output)?,
                Mode::Raw => ready!(self.poll_direct(context, client, answer))?,
            }
        }
    }

    /// Whether a pipe holds what the client has not taken.
    pub fn holds_back(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Whether what comes next need not be copied: a pipe is at hand, and so much is left that it is worth it.
    fn has_pipe(&mut self) -> bool {
        let is_large = || self.reader.remaining().is_some_and(|left| left >= SPLICED_BYTES_MIN);
        if self.pipe.is_none() && self.mode == Mode::Raw && is_large() {
            self.pipe = Pipe::lend();
        }
        self.pipe.is_some()
    }

    /// Moves on without copying: how many bytes the client's stream took.
    fn poll_splice(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<u64, DownloadError>> {
        let (Some(pipe), Some(left)) = (&mut self.pipe, self.reader.remaining()) else { return Poll::Ready(Ok(0)) };
        if pipe.is_empty() {
            match pipe.poll_fill(context, from, left) {
                Poll::Ready(Ok(1..)) => self.moves += 1,
                Poll::Ready(_) => return Poll::Ready(Err(DownloadError::Backend)),
                Poll::Pending => {
                    self.pipe = None;
                    return Poll::Pending;
                }
            }
        }
        let Ok(moved @ 1..) = ready!(pipe.poll_drain(context, to)) else {
            return Poll::Ready(Err(DownloadError::Client));
        };
        let moved = moved as u64;
        self.reader.skip(moved);
        self.ended = self.reader.is_done();
        self.moves += 1;
        self.bytes += moved;
        Poll::Ready(Ok(moved))
    }

    fn poll_direct(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        answer: &mut Buffer,
    ) -> Poll<Result<(), DownloadError>> {
        let there = answer.bytes();
        match self.reader.remaining() {
            // In chunks, for a client that knows none.
            None if self.reader.is_chunked() => {
                let piece = self.reader.next(there).map_err(|_| DownloadError::Backend)?;
                client.output.extend_from_slice(&there[piece.payload.clone()]);
                self.note(answer, piece.consumed, piece.payload.len());
            }
            left => {
                let length = left.map_or(there.len(), |left| left.min(there.len() as u64) as usize);
                let written = poll_write(&mut client.stream, context, &there[..length]);
                let written = ready!(written).map_err(|_| DownloadError::Client)?;
                client.taken += written as u64;
                self.reader.next(&there[..written]).map_err(|_| DownloadError::Backend)?;
                self.note(answer, written, written);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn gather(&mut self, answer: &mut Buffer, output: &mut Vec<u8>) -> Result<(), DownloadError> {
        while !answer.is_empty() && !self.reader.is_done() && output.len() < GATHERED_BYTES_MAX {
            let piece = self.reader.next(answer.bytes()).map_err(|_| DownloadError::Backend)?;
            write_chunk(output, &answer.bytes()[piece.payload.clone()]);
            self.note(answer, piece.consumed, piece.payload.len());
        }
        if self.reader.is_done() {
            self.write_end(output);
        }
        Ok(())
    }

    fn write_end(&mut self, output: &mut Vec<u8>) {
        let Mode::Chunks { trailers } = self.mode else { return };
        let rules = self.rules;
        let lines = trailer_lines(self.reader.trailers()).filter(|(name, _)| trailers && passes(rules, name));
        write_last_chunk(output, lines.map(|(_, line)| line));
        self.ended = true;
    }

    fn end_of_answer(&mut self, orderly: bool, output: &mut Vec<u8>) -> Result<(), DownloadError> {
        if !orderly || self.reader.end_of_input().is_err() {
            return Err(DownloadError::Backend);
        }
        self.write_end(output);
        self.ended = true;
        Ok(())
    }

    fn note(&mut self, answer: &mut Buffer, consumed: usize, payload: usize) {
        answer.consume(consumed);
        self.moves += 1;
        self.bytes += payload as u64;
        if self.mode == Mode::Raw {
            self.ended = self.reader.is_done();
        }
    }
}

fn passes(rules: Option<&HeaderRules>, name: &[u8]) -> bool {
    rules.is_none_or(|rules| rules.passes(name))
}

/// A write that takes something.
fn poll_write(stream: &mut Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(context, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}
