//! Where a head ends. Looks at each byte once however it arrives, and holds the bounds before anything is parsed.

use memchr::memchr;

use crate::Refusal;
use crate::limits::{EMPTY_LINES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX};

/// How far a head was looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    /// Where its first line starts, behind an empty line.
    start: usize,
    /// Where the line that is not whole yet starts.
    line: usize,
    /// Up to where no line end can be any more.
    seen: usize,
    lines: usize,
    empty_lines: usize,
}

/// A whole head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub start: usize,
    /// Behind the empty line.
    pub end: usize,
}

impl Scan {
    /// Looks on in `bytes`, which start with what was given before. `None` until the head is whole.
    pub fn advance(&mut self, bytes: &[u8], line_bytes_max: usize) -> Result<Option<Extent>, Refusal> {
        let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        while let Some(offset) = memchr(b'\n', &bytes[self.seen..]) {
            let line_feed = self.seen + offset;
            self.bound_first_line(line_feed + 1, line_bytes_max)?;
            if line_feed == self.line || bytes[line_feed - 1] != b'\r' {
                return Err(Refusal::bad("a line that does not end in CR LF"));
            }
            let is_empty = line_feed - 1 == self.line;
            (self.line, self.seen) = (line_feed + 1, line_feed + 1);
            match (is_empty, self.lines) {
                (true, 0) => self.skip_empty_line()?,
                (true, _) => return Ok(Some(Extent { start: self.start, end: self.line })),
                (false, _) => self.count_line()?,
            }
        }
        self.seen = bytes.len();
        self.bound_first_line(bytes.len(), line_bytes_max)?;
        if bytes.len() == HEAD_BYTES_MAX { Err(too_large()) } else { Ok(None) }
    }

    /// Whether nothing was looked at yet.
    pub fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Where the first line starts.
    pub fn start(&self) -> usize {
        self.start
    }

    fn bound_first_line(&self, end: usize, line_bytes_max: usize) -> Result<(), Refusal> {
        let too_long = self.lines == 0 && end - self.start > line_bytes_max;
        if too_long { Err(Refusal::new(414, "the request line is too long")) } else { Ok(()) }
    }

    fn skip_empty_line(&mut self) -> Result<(), Refusal> {
        self.empty_lines += 1;
        if self.empty_lines > EMPTY_LINES_MAX {
            return Err(Refusal::bad("empty lines before the message"));
        }
        self.start = self.line;
        Ok(())
    }

    fn count_line(&mut self) -> Result<(), Refusal> {
        self.lines += 1;
        if self.lines > HEADERS_MAX + 1 { Err(Refusal::new(431, "too many header fields")) } else { Ok(()) }
    }
}

/// Bounds of a request's first line; an answer's is bound by its head alone.
pub(crate) const REQUEST_LINE: usize = REQUEST_LINE_BYTES_MAX;
pub(crate) const STATUS_LINE: usize = usize::MAX;

fn too_large() -> Refusal {
    Refusal::new(431, "the header section is too large")
}
