//! What holds for any packet.

use hickory_proto::op::{Message, MessageType};
use proptest::prelude::*;
use triad_dns::{Answer, Authority, Transport};

use crate::support::zone;

fn check(packet: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    for design in ["secured", "wide"] {
        let authority = Authority::new(&zone(design), &[]).expect("a zone of domain names");
        let Answer::Reply { bytes, .. } = authority.answer(packet, transport) else {
            prop_assert!(packet.len() < 12 || packet[2] & 0x80 != 0, "only what is no query is dropped");
            continue;
        };
        let limit = match (Message::from_vec(packet).ok().and_then(|query| query.edns), transport) {
            (_, Transport::Tcp) => usize::from(u16::MAX),
            (None, Transport::Udp) => 512,
            (Some(edns), Transport::Udp) => usize::from(edns.max_payload()).clamp(512, 1232),
        };
        prop_assert!(bytes.len() <= limit, "{} bytes, {limit} allowed", bytes.len());
        prop_assert_eq!(&bytes[..2], &packet[..2], "the id");
        let answer = Message::from_vec(&bytes).expect("an answer parses");
        prop_assert_eq!(answer.message_type, MessageType::Response);
    }
    Ok(())
}

fn any_transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Udp), Just(Transport::Tcp)]
}

/// A query for a name in or near the zone, of any type, with or without EDNS.
fn any_query() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        &b"\x03wWw\x06foobar\x03com\x00"[..],
        b"\x06foobar\x03com\x00",
        b"\x02eu\x06foobar\x03com\x00",
        b"\x03com\x00",
        b"\x00",
    ];
    let types = prop_oneof![
        Just(1u16),
        Just(2),
        Just(5),
        Just(6),
        Just(28),
        Just(41),
        Just(250),
        Just(251),
        Just(252),
        Just(255),
        any::<u16>()
    ];
    let question = (any::<u16>(), prop::sample::select(names.to_vec()), types, any::<Option<(u16, u32)>>());
    question.prop_map(|(id, name, qtype, opt)| {
        let mut packet = id.to_be_bytes().to_vec();
        packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())]);
        packet.extend(name);
        packet.extend(qtype.to_be_bytes());
        packet.extend([0, 1]);
        if let Some((payload_bytes, ttl)) = opt {
            packet.extend([0, 0, 41]);
            packet.extend(payload_bytes.to_be_bytes());
            packet.extend(ttl.to_be_bytes());
            packet.extend([0, 0]);
        }
        packet
    })
}

proptest! {
    #[test]
    fn any_bytes_are_safe(packet in prop::collection::vec(any::<u8>(), 0..600), transport in any_transport()) {
        check(&packet, transport)?;
    }

    #[test]
    fn any_well_formed_query_is_answered(packet in any_query(), transport in any_transport()) {
        check(&packet, transport)?;
    }

    #[test]
    fn a_damaged_query_is_safe(
        mut packet in any_query(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        transport in any_transport(),
    ) {
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        check(&packet, transport)?;
    }
}
