//! Query → answer, from the records of one zone. Pure: no clock, no socket, no state that a query changes.
//!
//! In the order of RFC 1034 §4.3.2, for a zone without delegations, wildcards or aliases of aliases: refuse what is
//! not ours, find the name, follow its alias once, answer the type asked for or say that there is none.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use hickory_proto::rr::{self, DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use triad_model::ServerName;

use crate::plan::{Data, Record, Zone};

/// Largest answer over UDP to a client without EDNS, in bytes (RFC 1035 §4.2.1).
const PAYLOAD_BYTES_MIN: u16 = 512;
/// Largest answer over UDP to any client, in bytes: what no path fragments (DNS flag day 2020, RFC 9715).
const PAYLOAD_BYTES_MAX: u16 = 1232;

/// How a query came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// At most 512 bytes, or what the client's EDNS allows, up to 1232.
    Udp,
    /// At most 65535 bytes.
    Tcp,
}

/// The response codes we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The name exists; the answer may be empty.
    NoError,
    /// Nothing exists at or below the name.
    NxDomain,
    /// Not our zone, not our class, or a zone transfer.
    Refused,
    /// The query cannot be read, or asks not exactly one question.
    FormErr,
    /// Not a standard query.
    NotImp,
    /// An EDNS version above 0 (RFC 6891 §6.1.3).
    BadVers,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 6] =
        [Self::NoError, Self::NxDomain, Self::Refused, Self::FormErr, Self::NotImp, Self::BadVers];

    /// As `dig` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::NoError => "NOERROR",
            Code::NxDomain => "NXDOMAIN",
            Code::Refused => "REFUSED",
            Code::FormErr => "FORMERR",
            Code::NotImp => "NOTIMP",
            Code::BadVers => "BADVERS",
        }
    }

    fn on_the_wire(self) -> ResponseCode {
        match self {
            Code::NoError => ResponseCode::NoError,
            Code::NxDomain => ResponseCode::NXDomain,
            Code::Refused => ResponseCode::Refused,
            Code::FormErr => ResponseCode::FormErr,
            Code::NotImp => ResponseCode::NotImp,
            Code::BadVers => ResponseCode::BADVERS,
        }
    }
}

/// What to do about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send these bytes.
    Reply {
        /// The message.
        bytes: Vec<u8>,
        /// Its response code.
        code: Code,
    },
    /// Send nothing: it is not a query.
    Drop,
}

/// A zone that cannot be put on the wire.
#[derive(Debug, thiserror::Error)]
#[error("{name:?} is not a domain name: {reason}; give names whose labels have 1 to 63 bytes and 255 in all")]
pub struct InvalidZone {
    name: String,
    reason: ProtoError,
}

/// A zone, ready to answer.
#[derive(Debug)]
pub struct Authority {
    apex: Name,
    soa: rr::Record,
    /// Records by owner, SOA first at the apex. A name that only has names below it is here without records, because
    /// it exists (RFC 8020).
    names: HashMap<Name, Vec<rr::Record>>,
}

impl Authority {
    /// Makes `zone` ready, without the addresses of the servers `left_out`, unless those are all there are.
    ///
    /// # Errors
    /// A name of the zone is not a domain name.
    pub fn new(zone: &Zone, left_out: &[ServerName]) -> Result<Self, InvalidZone> {
        let apex = parse_name(&zone.domain)?;
        let records = zone.records(left_out).iter().map(parse_record).collect::<Result<Vec<_>, _>>()?;
        let soa = records.first().expect("a zone's first record is its SOA").clone();
        let mut names: HashMap<Name, Vec<rr::Record>> = HashMap::new();
        for record in records {
            let mut above = record.name.base_name();
            while apex.zone_of(&above) && above != apex {
                names.entry(above.clone()).or_default();
                above = above.base_name();
            }
            names.entry(record.name.clone()).or_default().push(record);
        }
        Ok(Self { apex, soa, names })
    }

    /// Answers `packet`.
    ///
    /// Which of several records comes first depends on the query's id, which resolvers draw at random (RFC 5452 §4.3),
    /// so clients that take the first spread over the servers. A counter would not do: clients ask for A and AAAA
    /// in turn, so each type would see every second count only.
    pub fn answer(&self, packet: &[u8], transport: Transport) -> Answer {
        let Ok(header) = Header::from_bytes(packet) else { return Answer::Drop };
        if header.message_type == MessageType::Response {
            return Answer::Drop;
        }
        if header.op_code != OpCode::Query {
            return reply(response_to(&header), Code::NotImp, PAYLOAD_BYTES_MIN);
        }
        let Some((query, question)) = decode(packet, &header) else {
            return reply(response_to(&header), Code::FormErr, PAYLOAD_BYTES_MIN);
        };
        let mut response = response_to(&header);
        response.add_query(question.clone());
        response.edns = query.edns.as_ref().map(edns_response);
        let code = refusal(&query, &question).unwrap_or_else(|| self.look_up(&question, &mut response));
        reply(response, code, limit_bytes(&query, transport))
    }

    /// Fills `response` with what the zone says to `question`.
    fn look_up(&self, question: &Query, response: &mut Message) -> Code {
        if !self.apex.zone_of(&question.name) {
            return Code::Refused;
        }
        response.metadata.authoritative = true;
        let Some(records) = self.names.get(&question.name) else {
            response.add_authority(self.soa.clone());
            return Code::NxDomain;
        };
        let wanted = wanted_type(question, records);
        let mut found = of_type(records, wanted);
        if found.is_empty()
            && let [alias] = &of_type(records, RecordType::CNAME)[..]
        {
            found = self.of_alias(alias, wanted);
            response.add_answer(alias.clone());
        }
        if found.is_empty() {
            response.add_authority(self.soa.clone());
        } else {
            let first = usize::from(response.id) % found.len();
            found.rotate_left(first);
        }
        response.additionals = self.addresses_of_name_servers(&found);
        response.answers.append(&mut found);
        echo_case(&question.name, &mut response.answers);
        Code::NoError
    }

    /// The records of type `wanted` that `alias` leads to. No alias of a zone leads to another one.
    fn of_alias(&self, alias: &rr::Record, wanted: RecordType) -> Vec<rr::Record> {
        let RData::CNAME(CNAME(target)) = &alias.data else { return Vec::new() };
        self.names.get(target).map_or_else(Vec::new, |records| of_type(records, wanted))
    }

    fn addresses_of_name_servers(&self, records: &[rr::Record]) -> Vec<rr::Record> {
        let names = records.iter().filter_map(|record| match &record.data {
            RData::NS(NS(name)) => self.names.get(name),
            _ => None,
        });
        names.flatten().cloned().collect()
    }
}

/// The message and its only question; `None` if it cannot be read or does not ask exactly one (RFC 9619).
///
/// The number is checked before the message is read, because the decoder reserves memory for as many questions as a
/// header claims.
fn decode(packet: &[u8], header: &Header) -> Option<(Message, Query)> {
    if header.counts.queries != 1 {
        return None;
    }
    let message = Message::from_vec(packet).ok()?;
    let question = message.queries.first()?.clone();
    Some((message, question))
}

/// The start of an answer: the query's id, opcode and RD; AA, TC, RA, AD and CD clear (RFC 4035 §3.1.6 for CD).
fn response_to(query: &Header) -> Message {
    let mut response = Message::response(query.id, query.op_code);
    response.metadata.recursion_desired = query.recursion_desired;
    response
}

/// Our OPT, with the client's DO bit as it came (RFC 3225 §3).
fn edns_response(query: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_BYTES_MAX).set_dnssec_ok(query.flags().dnssec_ok);
    edns
}

/// Why a query is not looked up at all.
fn refusal(query: &Message, question: &Query) -> Option<Code> {
    if query.version() > 0 {
        Some(Code::BadVers)
    } else if matches!(question.query_type, RecordType::AXFR | RecordType::IXFR) || question.query_class != DNSClass::IN
    {
        Some(Code::Refused)
    } else {
        None
    }
}

/// The type to answer with: for ANY that of the name's first record, so that it gains an attacker nothing
/// (RFC 8482 §4.1).
fn wanted_type(question: &Query, records: &[rr::Record]) -> RecordType {
    match (question.query_type, records.first()) {
        (RecordType::ANY, Some(first)) => first.record_type(),
        (asked, _) => asked,
    }
}

fn of_type(records: &[rr::Record], wanted: RecordType) -> Vec<rr::Record> {
    records.iter().filter(|record| record.record_type() == wanted).cloned().collect()
}

/// Gives the owner the letters of the question, which resolvers compare (0x20) and which then compress.
fn echo_case(asked: &Name, answers: &mut [rr::Record]) {
    for record in answers.iter_mut().filter(|record| record.name == *asked) {
        record.name = asked.clone();
    }
}

fn limit_bytes(query: &Message, transport: Transport) -> u16 {
    match transport {
        Transport::Udp => query.max_payload().clamp(PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX),
        Transport::Tcp => u16::MAX,
    }
}

/// Puts `response` on the wire in at most `limit_bytes`: whole, else without its additional section, which alone is no
/// truncation (RFC 2181 §9), else empty with TC set.
fn reply(mut response: Message, code: Code, limit_bytes: u16) -> Answer {
    response.metadata.response_code = code.on_the_wire();
    let whole = encode(&response, limit_bytes);
    let bytes = whole
        .or_else(|| {
            response.additionals.clear();
            encode(&response, limit_bytes)
        })
        .or_else(|| encode(&response.truncate(), limit_bytes));
    bytes.map_or(Answer::Drop, |bytes| Answer::Reply { bytes, code })
}

fn encode(message: &Message, limit_bytes: u16) -> Option<Vec<u8>> {
    message.to_vec().ok().filter(|bytes| bytes.len() <= usize::from(limit_bytes))
}

fn parse_record(record: &Record) -> Result<rr::Record, InvalidZone> {
    let data = match &record.data {
        Data::Soa { mname, rname, serial, timers_s: [refresh, retry, expire], minimum_s } => {
            RData::SOA(SOA::new(parse_name(mname)?, parse_name(rname)?, *serial, *refresh, *retry, *expire, *minimum_s))
        }
        Data::Ns(name) => RData::NS(NS(parse_name(name)?)),
        Data::Cname(name) => RData::CNAME(CNAME(parse_name(name)?)),
        Data::Address(IpAddr::V4(address)) => RData::A(A(*address)),
        Data::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
    };
    Ok(rr::Record::from_rdata(parse_name(&record.name)?, record.ttl_s, data))
}

fn parse_name(name: &str) -> Result<Name, InvalidZone> {
    Name::from_ascii(format!("{name}.")).map_err(|reason| InvalidZone { name: name.to_owned(), reason })
}
