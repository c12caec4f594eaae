//! Query → answer. A case's first line is a query as words:
//! `NAME TYPE udp|tcp [edns=BYTES] [version=N] [do] [rd] [cd] [id=N] [class=C] [opcode=N] [zone=Z] [without=S,S]`,
//! or `raw HEX udp` for bytes that are no query.

use std::fmt::{Display, Write};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use triad_dns::{Answer, Authority, Transport};

use crate::support::{goldens, name, zone};

#[test]
fn a_query_gets_its_answer() {
    goldens("answers", |case| {
        let case = Case::parse(case);
        let without: Vec<_> = case.value("without").map_or_else(Vec::new, |names| names.split(',').map(name).collect());
        let zone = zone(case.value("zone").unwrap_or("secured"));
        let authority = Authority::new(&zone, &without).expect("a zone of domain names");
        match authority.answer(&case.packet(), case.transport()) {
            Answer::Drop => "dropped\n".to_owned(),
            Answer::Reply { bytes, code } => format!("counted as {}\n{}", code.as_str(), print(&bytes)),
        }
    });
}

struct Case<'a> {
    words: Vec<&'a str>,
}

impl<'a> Case<'a> {
    fn parse(line: &'a str) -> Self {
        Self { words: line.split_whitespace().collect() }
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number<N: std::str::FromStr>(&self, key: &str) -> Option<N> {
        self.value(key).map(|value| value.parse().ok().unwrap_or_else(|| panic!("{key} is no number: {value}")))
    }

    fn transport(&self) -> Transport {
        if self.has("tcp") { Transport::Tcp } else { Transport::Udp }
    }

    fn packet(&self) -> Vec<u8> {
        if self.words[0] == "raw" {
            return hex(self.words[1]);
        }
        let opcode = OpCode::from_u8(self.number("opcode").unwrap_or(0));
        let mut query = Message::new(self.number("id").unwrap_or(0), MessageType::Query, opcode);
        query.metadata.recursion_desired = self.has("rd");
        query.metadata.checking_disabled = self.has("cd");
        query.add_query(self.question());
        query.edns = self.edns();
        query.to_vec().expect("a query")
    }

    fn question(&self) -> Query {
        let mut owner = Name::from_ascii(self.words[0]).expect("a name");
        owner.set_fqdn(true);
        let mut question = Query::query(owner, self.record_type());
        if let Some(class) = self.value("class") {
            question.set_query_class(class.parse::<DNSClass>().expect("a class"));
        }
        question
    }

    /// By name, or as `TYPE251` (RFC 3597 §5).
    fn record_type(&self) -> RecordType {
        let word = self.words[1];
        match word.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok()) {
            Some(number) => RecordType::from(number),
            None => word.parse().expect("a type"),
        }
    }

    fn edns(&self) -> Option<Edns> {
        let payload: u16 = self.number("edns")?;
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_version(self.number("version").unwrap_or(0)).set_dnssec_ok(self.has("do"));
        Some(edns)
    }
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The answer in the manner of `dig`.
fn print(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).expect("our own answer parses");
    let mut text = format!("rcode={} id={} {} bytes\n", u16::from(message.response_code), message.id, bytes.len());
    let flags = [
        ("qr", message.message_type == MessageType::Response),
        ("aa", message.authoritative),
        ("tc", message.truncation),
        ("rd", message.recursion_desired),
        ("ra", message.recursion_available),
        ("ad", message.authentic_data),
        ("cd", message.checking_disabled),
    ];
    let set: Vec<_> = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag).collect();
    writeln!(text, "flags {}", set.join(" ")).expect("a string takes text");
    section(&mut text, "question", &message.queries);
    section(&mut text, "answer", &message.answers);
    section(&mut text, "authority", &message.authorities);
    section(&mut text, "additional", &message.additionals);
    if let Some(edns) = &message.edns {
        let secure = if edns.flags().dnssec_ok { " do" } else { "" };
        writeln!(text, "edns version={} udp={}{secure}", edns.version(), edns.max_payload())
            .expect("a string takes text");
    }
    text
}

fn section(text: &mut String, title: &str, entries: &[impl Display]) {
    if !entries.is_empty() {
        writeln!(text, "{title}").expect("a string takes text");
        for entry in entries {
            writeln!(text, "  {entry}").expect("a string takes text");
        }
    }
}
