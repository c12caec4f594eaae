//! A beat as it goes over the network, in one datagram, numbers in network order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, [`VERSION`] |
//! | 8 | sender, a [`ServerId`] |
//! | 8 | boot: which run of the sender's agent |
//! | 8 | sequence: from 1, one more each time |
//! | 8 | when it was sent, in microseconds since the sender's start |
//! | 1 | how many servers the sender hears, then 8 for each |
//! | 2 | how long the payload is, then the payload: what the sender's agent has to say to the others |
//! | 32 | HMAC-SHA256 (RFC 2104) of all before |

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, Key};
use triad_model::ServerName;

/// The layout above.
pub const VERSION: u8 = 1;
/// Servers that a beat can name as heard; a design has no more others.
pub const HEARD_MAX: usize = 64;
/// Bytes that a payload may have: the longest beat still fits into one packet of Ethernet.
pub const PAYLOAD_BYTES_MAX: usize = 800;
/// Bytes of the longest beat: one datagram that no network has to take apart.
pub const BEAT_BYTES_MAX: usize = FIXED_BYTES + HEARD_MAX * ID_BYTES + PAYLOAD_BYTES_MAX + TAG_BYTES;

const ID_BYTES: usize = 8;
const TAG_BYTES: usize = 32;
/// What stands in every beat, but for the tag.
const FIXED_BYTES: usize = 1 + ID_BYTES + 3 * 8 + 1 + 2;

/// A server's name in few bytes: the first of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId([u8; ID_BYTES]);

impl ServerId {
    /// That of the server called `name`.
    pub fn of(name: &ServerName) -> Self {
        let hash = digest(&SHA256, name.as_str().as_bytes());
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash.as_ref()[..ID_BYTES]);
        Self(id)
    }
}

/// What a beat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat<'a> {
    /// Who sends it.
    pub sender: ServerId,
    /// Which run of the sender's agent.
    pub boot: u64,
    /// From 1, one more each time.
    pub sequence: u64,
    /// Microseconds since the sender's start.
    pub sent_us: u64,
    /// Whom the sender hears.
    pub heard: Heard<'a>,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: &'a [u8],
}

/// Some servers, as they stand in a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard<'a>(&'a [u8]);

impl Heard<'_> {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> {
        self.0.as_chunks::<ID_BYTES>().0.iter().map(|id| ServerId(*id))
    }
}

/// A list of servers with a bound, for what is heard.
#[derive(Clone, Debug)]
pub struct HeardList {
    bytes: [u8; HEARD_MAX * ID_BYTES],
    length: usize,
}

impl HeardList {
    /// Nobody.
    pub fn new() -> Self {
        Self { bytes: [0; HEARD_MAX * ID_BYTES], length: 0 }
    }

    /// One more; beyond [`HEARD_MAX`] nothing happens.
    pub fn push(&mut self, ServerId(id): ServerId) {
        if let Some(place) = self.bytes[self.length..].first_chunk_mut() {
            *place = id;
            self.length += ID_BYTES;
        }
    }

    /// Exactly those of `heard`.
    pub fn set(&mut self, heard: Heard<'_>) {
        self.length = 0;
        heard.iter().for_each(|id| self.push(id));
    }

    /// As a beat says it.
    pub fn as_heard(&self) -> Heard<'_> {
        Heard(&self.bytes[..self.length])
    }
}

impl Default for HeardList {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes that are no beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of another version.
    #[error("version {0}")]
    Version(u8),
    /// Shorter than it says.
    #[error("too short")]
    Short,
    /// Longer than it says, or than it may be.
    #[error("too long")]
    Long,
}

/// A beat whose sender anybody could have written there.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    claimed: Beat<'a>,
    signed: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Unverified<'a> {
    /// Takes `datagram` apart.
    pub fn read(datagram: &'a [u8]) -> Result<Self, Malformed> {
        if datagram.len() > BEAT_BYTES_MAX {
            return Err(Malformed::Long);
        }
        let mut rest = datagram;
        let version = u8::from_be_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let sender = ServerId(take(&mut rest)?);
        let [boot, sequence, sent_us] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u64::from_be_bytes);
        let heard = usize::from(u8::from_be_bytes(take(&mut rest)?));
        if heard > HEARD_MAX {
            return Err(Malformed::Long);
        }
        let heard = Heard(take_slice(&mut rest, heard * ID_BYTES)?);
        let payload = usize::from(u16::from_be_bytes(take(&mut rest)?));
        if payload > PAYLOAD_BYTES_MAX {
            return Err(Malformed::Long);
        }
        let payload = take_slice(&mut rest, payload)?;
        let signed = &datagram[..datagram.len() - rest.len()];
        let tag = rest.first_chunk().ok_or(Malformed::Short)?;
        if rest.len() > TAG_BYTES {
            return Err(Malformed::Long);
        }
        Ok(Self { claimed: Beat { sender, boot, sequence, sent_us, heard, payload }, signed, tag })
    }

    /// Who is said to have sent it.
    pub fn sender(&self) -> ServerId {
        self.claimed.sender
    }

    /// In which run of its agent.
    pub fn boot(&self) -> u64 {
        self.claimed.boot
    }

    /// What it says, if whoever made it has `key`.
    pub fn verify(self, key: &Key) -> Option<Beat<'a>> {
        hmac::verify(key, self.signed, self.tag).ok().map(|()| self.claimed)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, behind) = rest.split_first_chunk().ok_or(Malformed::Short)?;
    *rest = behind;
    Ok(*taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, behind) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
    *rest = behind;
    Ok(taken)
}

/// A datagram that is being written.
pub struct Datagram {
    bytes: [u8; BEAT_BYTES_MAX],
    length: usize,
}

impl Datagram {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { bytes: [0; BEAT_BYTES_MAX], length: 0 }
    }

    /// `beat`, signed with `key`, in place of what was here. Of a payload that is too long nothing is said.
    pub fn write(&mut self, beat: &Beat<'_>, key: &Key) -> &[u8] {
        self.length = 0;
        let payload = if beat.payload.len() > PAYLOAD_BYTES_MAX { &[] } else { beat.payload };
        self.put(&[VERSION]);
        self.put(&beat.sender.0);
        [beat.boot, beat.sequence, beat.sent_us].iter().for_each(|number| self.put(&number.to_be_bytes()));
        self.put(&[(beat.heard.0.len() / ID_BYTES) as u8]);
        self.put(beat.heard.0);
        self.put(&(payload.len() as u16).to_be_bytes());
        self.put(payload);
        let tag = hmac::sign(key, &self.bytes[..self.length]);
        self.put(tag.as_ref());
        &self.bytes[..self.length]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

impl Default for Datagram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key};
    use proptest::prelude::*;
    use triad_model::ServerName;

    use super::{BEAT_BYTES_MAX, Beat, Datagram, HEARD_MAX, Heard, HeardList, Malformed, PAYLOAD_BYTES_MAX};
    use super::{ServerId, Unverified};

    fn key(byte: u8) -> Key {
        Key::new(HMAC_SHA256, &[byte; 32])
    }

    fn id(name: &str) -> ServerId {
        ServerId::of(&ServerName::new(name).expect("a name"))
    }

    fn heard(count: usize) -> HeardList {
        let mut list = HeardList::new();
        (0..count).for_each(|number| list.push(id(&format!("s{number}"))));
        list
    }

    fn beat<'a>(heard: Heard<'a>, payload: &'a [u8]) -> Beat<'a> {
        Beat { sender: id("srv1"), boot: 0x0102_0304_0506_0708, sequence: 258, sent_us: 25_800_000, heard, payload }
    }

    #[test]
    fn a_beat_in_bytes() {
        let mut list = HeardList::new();
        ["srv2", "srv3"].into_iter().for_each(|name| list.push(id(name)));
        let mut datagram = Datagram::new();
        let bytes = datagram.write(&beat(list.as_heard(), b"\xaa"), &key(7));
        let widths = [1, 8, 8, 8, 8, 1, 8, 8, 2, 1, 32];
        let names =
            ["version", "sender", "boot", "sequence", "sent", "heard", "srv2", "srv3", "length", "payload", "tag"];
        let mut rest = bytes;
        let mut text = String::new();
        for (width, name) in widths.into_iter().zip(names) {
            let (part, behind) = rest.split_at(width);
            rest = behind;
            text += &format!("{name:<9}{}\n", part.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        assert!(rest.is_empty());
        triad_golden::compare("tests/golden/beat.txt", &text);
    }

    #[test]
    fn the_largest_beat_fits_and_nothing_larger_is_read() {
        let list = heard(HEARD_MAX + 1);
        assert_eq!(list.as_heard().iter().count(), HEARD_MAX);
        let mut datagram = Datagram::new();
        let largest = [1; PAYLOAD_BYTES_MAX];
        let written = datagram.write(&beat(list.as_heard(), &largest), &key(1)).to_vec();
        assert_eq!(written.len(), BEAT_BYTES_MAX);
        assert!(Unverified::read(&written).is_ok());
        assert_eq!(Unverified::read(&[&written[..], &[0]].concat()).err(), Some(Malformed::Long));
        let cut = datagram.write(&beat(list.as_heard(), &[1; PAYLOAD_BYTES_MAX + 1]), &key(1));
        assert_eq!(Unverified::read(cut).expect("a beat").verify(&key(1)).expect("signed").payload, b"");
    }

    #[test]
    fn what_is_cut_or_longer_or_of_another_version_is_refused() {
        let mut datagram = Datagram::new();
        let bytes = datagram.write(&beat(heard(2).as_heard(), b"xyz"), &key(1)).to_vec();
        for length in 0..bytes.len() {
            assert_eq!(Unverified::read(&bytes[..length]).err(), Some(Malformed::Short), "{length} bytes");
        }
        assert_eq!(Unverified::read(&[&bytes[..], &[0]].concat()).err(), Some(Malformed::Long));
        let other = [&[2], &bytes[1..]].concat();
        assert_eq!(Unverified::read(&other).err(), Some(Malformed::Version(2)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (boot, sequence, sent_us) in any::<(u64, u64, u64)>(),
            count in 0..=HEARD_MAX,
            payload in prop::collection::vec(any::<u8>(), 0..=PAYLOAD_BYTES_MAX),
        ) {
            let list = heard(count);
            let beat = Beat { boot, sequence, sent_us, ..beat(list.as_heard(), &payload) };
            let mut datagram = Datagram::new();
            let bytes = datagram.write(&beat, &key(3));
            prop_assert_eq!(Unverified::read(bytes).expect("a beat").verify(&key(3)), Some(beat));
            prop_assert!(Unverified::read(bytes).expect("a beat").verify(&key(4)).is_none(), "another key");
        }

        #[test]
        fn one_changed_bit_makes_it_nobodys(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut datagram = Datagram::new();
            let mut bytes = datagram.write(&beat(heard(3).as_heard(), b"payload"), &key(3)).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let verified = Unverified::read(&bytes).ok().and_then(|unverified| unverified.verify(&key(3)));
            prop_assert_eq!(verified, None);
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..BEAT_BYTES_MAX + 9)) {
            let _ = Unverified::read(&bytes).map(|beat| beat.verify(&key(1)));
        }
    }
}
