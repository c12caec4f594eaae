//! Lines in the `combined` format of Apache httpd and nginx, which goaccess, fail2ban and the like read:
//!
//! ```text
//! 203.0.113.9 - - [28/Nov/2026:20:52:51 +0000] "GET /a HTTP/1.1" 200 512 "https://example.org/" "curl/8.9.1"
//! ```
//!
//! Escaped as nginx does (`ngx_http_log_escape`): `"`, `\` and what is no visible ASCII become `\xHH`. As in lines of
//! JSON, the query is left out, the time is UTC, and a value ends after so many bytes.

use std::time::SystemTime;

use triad_http1::write_number;

use crate::log::{Answered, Asked, VALUE_CHARS_MAX};

/// What stands for what is not there.
const NOTHING: &[u8] = b"-";

impl Asked<'_> {
    /// The line up to what the answer decides, and what follows that.
    pub fn write_combined(&self, front: &mut Vec<u8>, back: &mut Vec<u8>) {
        front.extend_from_slice(self.client.as_bytes());
        front.extend_from_slice(b" - - [");
        write_time(front, self.at);
        front.extend_from_slice(b"] \"");
        match self.method {
            b"" => front.extend_from_slice(NOTHING),
            method => {
                write_escaped(front, method);
                front.push(b' ');
                write_escaped(front, self.path);
                front.push(b' ');
                front.extend_from_slice(self.protocol.as_bytes());
            }
        }
        front.extend_from_slice(b"\" ");
        for value in [self.referer, self.user_agent] {
            back.extend_from_slice(b" \"");
            write_escaped(back, value.filter(|value| !value.is_empty()).unwrap_or(NOTHING));
            back.push(b'"');
        }
        back.push(b'\n');
    }
}

impl Answered<'_> {
    /// What stands between the two parts, and the end.
    pub fn write_combined(&self, line: &mut Vec<u8>, back: &[u8]) {
        write_number(line, self.status.into(), 3);
        line.push(b' ');
        write_number(line, self.bytes, 1);
        line.extend_from_slice(back);
    }
}

/// `28/Nov/2026:20:52:51 +0000`. The text of a second is made once.
fn write_time(line: &mut Vec<u8>, at: SystemTime) {
    thread_local! {
        static SECOND: std::cell::RefCell<(u64, String)> = const { std::cell::RefCell::new((u64::MAX, String::new())) };
    }
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since {
            let whole = jiff::Timestamp::from_second(since as i64).unwrap_or_default();
            *text = whole.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
            *second = since;
        }
        line.extend_from_slice(text.as_bytes());
    });
}

fn write_escaped(line: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in &value[..value.len().min(VALUE_CHARS_MAX)] {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let [high, low] = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
                line.extend_from_slice(&[b'\\', b'x', high, low]);
            }
            _ => line.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use triad_http::RequestId;

    use crate::log::{Answered, Asked};

    fn line(method: &[u8], path: &[u8], user_agent: Option<&[u8]>) -> String {
        let asked = Asked {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_899_171),
            id: &RequestId::new(),
            trace_id: None,
            client: "2001:db8::7",
            host: b"www.foobar.com",
            method,
            path,
            protocol: "HTTP/2.0",
            user_agent,
            referer: None,
        };
        let answered = Answered {
            status: 200,
            bytes: 512,
            duration: Duration::ZERO,
            queued: Duration::ZERO,
            first_byte: None,
            pool: None,
            backend: None,
            attempts: 1,
            fault: None,
        };
        let (mut line, mut back) = (Vec::new(), Vec::new());
        asked.write_combined(&mut line, &mut back);
        answered.write_combined(&mut line, &back);
        String::from_utf8(line).expect("text")
    }

    #[test]
    fn a_line_is_as_nginx_writes_it() {
        assert_eq!(
            line(b"GET", b"/a", Some(b"curl/8 \"quoted\" \\ \xc3\xa4\t\x7f")),
            "2001:db8::7 - - [28/Nov/2026:20:52:51 +0000] \"GET /a HTTP/2.0\" 200 512 \"-\" \
             \"curl/8 \\x22quoted\\x22 \\x5C \\xC3\\xA4\\x09\\x7F\"\n"
        );
        let nothing = "2001:db8::7 - - [28/Nov/2026:20:52:51 +0000] \"-\" 200 512 \"-\" \"-\"\n";
        assert_eq!(line(b"", b"", Some(b"")), nothing, "what was no request");
    }

    /// The line's parts, as readers take them: by blanks, brackets and quotes; `None` if they do not fit.
    fn read(line: &str) -> Option<[&str; 7]> {
        let (client, rest) = line.strip_suffix('\n')?.split_once(" - - [")?;
        let (time, rest) = rest.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let (status, rest) = rest.split_once(' ')?;
        let (bytes, rest) = rest.split_once(" \"")?;
        let (referer, rest) = rest.split_once("\" \"")?;
        let user_agent = rest.strip_suffix('"').filter(|it| !it.contains('"'))?;
        Some([client, time, request, status, bytes, referer, user_agent])
    }

    proptest! {
        /// Whatever a client sends, a reader finds the same seven parts.
        #[test]
        fn what_a_client_sends_cannot_break_a_line(path in "/[!-~]{0,40}", user_agent in prop::collection::vec(any::<u8>(), 0..40)) {
            let line = line(b"GET", path.as_bytes(), Some(&user_agent));
            let [client, _, request, status, bytes, referer, agent] = read(&line).expect("the parts");
            prop_assert_eq!((client, status, bytes, referer), ("2001:db8::7", "200", "512", "-"));
            prop_assert_eq!(request.split(' ').count(), 3);
            prop_assert!(line.is_ascii() && line.lines().count() == 1 && !agent.is_empty());
        }
    }
}
