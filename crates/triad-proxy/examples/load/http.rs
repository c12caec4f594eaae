//! As much of HTTP/1.1 as a load generator needs: one request, and where its answer ends.

use std::io::{Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, bail};

/// Longest head of an answer that is taken.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request for `path`. A closing one asks the server to close the connection after its answer.
pub fn request(address: SocketAddr, path: &str, closing: bool) -> Vec<u8> {
    let close = if closing { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{close}\r\n", address.ip()).into_bytes()
}

/// Sends `request` and reads the whole answer, which must be a 200 with a Content-Length. Returns the body's length.
pub fn exchange(io: &mut (impl Read + Write), request: &[u8], buffer: &mut [u8]) -> anyhow::Result<u64> {
    io.write_all(request).context("cannot send")?;
    let mut filled = 0;
    let head = loop {
        let count = io.read(&mut buffer[filled..]).context("cannot read")?;
        if count == 0 {
            bail!("the connection was closed in front of an answer");
        }
        filled += count;
        if let Some(head) = head(&buffer[..filled])? {
            break head;
        }
        if filled > HEAD_BYTES_MAX {
            bail!("an answer's head is longer than {HEAD_BYTES_MAX} bytes");
        }
    };
    let mut left = (head.bytes as u64 + head.body_bytes).checked_sub(filled as u64).context("an answer is too long")?;
    while left > 0 {
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        match io.read(&mut buffer[..most]).context("cannot read")? {
            0 => bail!("the connection was closed within an answer"),
            count => left -= count as u64,
        }
    }
    Ok(head.body_bytes)
}

/// An answer's head.
#[derive(Debug, PartialEq)]
pub struct Head {
    /// Its length.
    pub bytes: usize,
    /// The length of what follows.
    pub body_bytes: u64,
}

/// The head that `bytes` starts with, if it is complete. It must be that of a 200 with a Content-Length.
pub fn head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).context("a head is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        bail!("an answer was not 200: {status}");
    }
    let length =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.context("an answer has no Content-Length")?;
    Ok(Some(Head { bytes: end + 4, body_bytes: length.trim().parse().context("a bad Content-Length")? }))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Read, Write};

    use super::{Head, exchange, head};

    /// Answers in pieces of three bytes.
    struct Server(Cursor<&'static str>);

    impl Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(3);
            self.0.read(&mut buffer[..most])
        }
    }

    impl Write for Server {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(text: &'static str) -> anyhow::Result<u64> {
        exchange(&mut Server(Cursor::new(text)), b"GET / HTTP/1.1\r\n\r\n", &mut [0; 4096])
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n").expect("no error"), None);
        let found = head(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").expect("a head");
        assert_eq!(found, Some(Head { bytes: 38, body_bytes: 3 }));
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world").expect("an answer"), 11);
        assert!(answer("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello").is_err(), "closed within the body");
        assert!(answer("HTTP/1.1 200 OK\r\nContent-").is_err(), "closed within the head");
        assert!(answer("HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
        assert!(answer("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").is_err(), "an error");
    }
}
