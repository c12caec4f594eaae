//! Logging in: what a server greets with, what its client answered, and the same answer to another server.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::packet::Fields;

/// Capabilities, of the lower 32 bits.
pub mod capability {
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    pub const COMPRESS: u32 = 1 << 5;
    pub const PROTOCOL_41: u32 = 1 << 9;
    pub const SSL: u32 = 1 << 11;
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    pub const CONNECT_ATTRS: u32 = 1 << 20;
    pub const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    /// Unset by servers that know MariaDB's own capabilities: it was "long password" and always set.
    pub const MYSQL: u32 = 1;
}
/// MariaDB's own: results of a statement that was executed before may come without a description.
pub const CACHE_METADATA: u32 = 1 << 4;

/// The plugin that a password is shown with.
pub const NATIVE: &[u8] = b"mysql_native_password";
/// Bytes of its challenge.
const CHALLENGE_BYTES: usize = 20;
/// Unused bytes of a login, before MariaDB's own capabilities.
const RESERVED_BYTES: usize = 19;
/// Collations of character sets in which the second byte of a character may be a quote or a backslash: big5, sjis, gbk,
/// gb2312, cp932, euckr. A login names a collation in one byte; later ones have higher numbers.
const READ_OTHERWISE: [u16; 12] = [1, 13, 19, 24, 28, 84, 85, 86, 87, 88, 95, 96];

/// A server's first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub capabilities: u32,
    /// MariaDB's own.
    pub own: u32,
    pub challenge: [u8; CHALLENGE_BYTES],
}

impl Greeting {
    /// Reads version 10, which all servers since MySQL 3.21 speak.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        (fields.number(1)? == 10).then_some(())?;
        fields.until_zero()?;
        fields.number(4)?;
        let first = fields.bytes(8)?;
        fields.number(1)?;
        let low = fields.number(2)?;
        fields.bytes(3)?;
        let capabilities = u32::try_from(low | fields.number(2)? << 16).ok()?;
        fields.bytes(7)?;
        let own = u32::try_from(fields.number(4)?).ok()?;
        let second = fields.bytes(CHALLENGE_BYTES - first.len())?;
        let challenge = [first, second].concat().try_into().ok()?;
        let own = if capabilities & capability::MYSQL == 0 { own } else { 0 };
        Some(Self { capabilities, own, challenge })
    }
}

/// What a client answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub capabilities: u32,
    /// MariaDB's own.
    pub own: u32,
    packet_bytes_max: u64,
    collation: u64,
    pub user: Vec<u8>,
    /// The schema that is used; empty if none is.
    pub schema: Vec<u8>,
}

impl Login {
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let capabilities = u32::try_from(fields.number(4)?).ok()?;
        let unknown = capability::SSL | capability::COMPRESS;
        (capabilities & unknown == 0 && capabilities & capability::PROTOCOL_41 != 0).then_some(())?;
        let packet_bytes_max = fields.number(4)?;
        let collation = fields.number(1)?;
        fields.bytes(RESERVED_BYTES)?;
        let own = u32::try_from(fields.number(4)?).ok()?;
        let user = fields.until_zero()?.to_vec();
        if capabilities & capability::PLUGIN_AUTH_LENENC != 0 {
            let length = fields.length_encoded()?;
            fields.bytes(usize::try_from(length).ok()?)?;
        } else if capabilities & capability::SECURE_CONNECTION != 0 {
            let length = fields.number(1)?;
            fields.bytes(length as usize)?;
        } else {
            fields.until_zero()?;
        }
        let has_schema = capabilities & capability::CONNECT_WITH_DB != 0;
        let schema = if has_schema { fields.until_zero()?.to_vec() } else { Vec::new() };
        let own = if capabilities & capability::MYSQL == 0 { own } else { 0 };
        Some(Self { capabilities, own, packet_bytes_max, collation, user, schema })
    }

    /// Whether descriptions and rows end with a mark of their own (EOF) rather than with the status of the whole.
    pub fn has_marks(&self) -> bool {
        self.capabilities & capability::DEPRECATE_EOF == 0
    }

    /// Packets of descriptions behind the answer to a statement that is prepared.
    pub fn descriptions(&self, columns: u16, parameters: u16) -> u64 {
        let packets = |count: u16| if count > 0 { u64::from(count) + u64::from(self.has_marks()) } else { 0 };
        packets(columns) + packets(parameters)
    }

    /// Whether texts may mean something else than they say in ASCII.
    pub fn reads_otherwise(&self) -> bool {
        READ_OTHERWISE.iter().any(|collation| u64::from(*collation) == self.collation)
    }

    /// The same to a server that greeted with `greeting`; `None` if that cannot do what this client relies on.
    pub fn again(&self, greeting: &Greeting, password: &str) -> Option<Vec<u8>> {
        let left_out = capability::CONNECT_ATTRS | capability::PLUGIN_AUTH_LENENC | capability::CONNECT_WITH_DB;
        let added = capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
        let schema = if self.schema.is_empty() { 0 } else { capability::CONNECT_WITH_DB };
        let capabilities = self.capabilities & !left_out | added | schema;
        let can = capabilities & !greeting.capabilities == 0 && self.own & !greeting.own == 0;
        can.then_some(())?;
        let mut payload = Vec::new();
        payload.extend_from_slice(&capabilities.to_le_bytes());
        payload.extend_from_slice(&(self.packet_bytes_max as u32).to_le_bytes());
        payload.push(self.collation as u8);
        payload.extend_from_slice(&[0; RESERVED_BYTES]);
        payload.extend_from_slice(&self.own.to_le_bytes());
        payload.extend_from_slice(&self.user);
        payload.push(0);
        let proof = prove(password, &greeting.challenge);
        payload.push(proof.len() as u8);
        payload.extend_from_slice(&proof);
        if !self.schema.is_empty() {
            payload.extend_from_slice(&self.schema);
            payload.push(0);
        }
        payload.extend_from_slice(NATIVE);
        payload.push(0);
        Some(payload)
    }
}

/// What [`NATIVE`] shows in place of a password: `SHA1(password) XOR SHA1(challenge, SHA1(SHA1(password)))`.
pub fn prove(password: &str, challenge: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let once = sha1(password.as_bytes());
    let twice = sha1(once.as_ref());
    let mask = sha1(&[challenge, twice.as_ref()].concat());
    once.as_ref().iter().zip(mask.as_ref()).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::{Greeting, Login, NATIVE, capability, prove};

    /// As MariaDB 10.11 greets.
    pub fn greeting() -> Vec<u8> {
        let (capabilities, own) = (0x81bf_f7fe_u32, 0x1d_u32);
        let mut payload = b"\x0a5.5.5-10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0".to_vec();
        payload.extend_from_slice(&capabilities.to_le_bytes()[..2]);
        payload.extend_from_slice(b"\x2d\x02\0");
        payload.extend_from_slice(&capabilities.to_le_bytes()[2..]);
        payload.extend_from_slice(&[21, 0, 0, 0, 0, 0, 0]);
        payload.extend_from_slice(&own.to_le_bytes());
        payload.extend_from_slice(b"ijklmnopqrst\0");
        payload.extend_from_slice(NATIVE);
        payload.push(0);
        payload
    }

    #[test]
    fn a_login_is_said_again() {
        let greeting = Greeting::parse(&greeting()).expect("a greeting");
        assert_eq!(
            (greeting.capabilities, greeting.own, &greeting.challenge),
            (0x81bf_f7fe, 0x1d, b"abcdefghijklmnopqrst")
        );
        let known = capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::DEPRECATE_EOF;
        let login = Login {
            capabilities: known | capability::CONNECT_WITH_DB | capability::PLUGIN_AUTH,
            own: 0x14,
            packet_bytes_max: 1 << 24,
            collation: 45,
            user: b"app".to_vec(),
            schema: b"site".to_vec(),
        };
        let again = login.again(&greeting, "hunter2").expect("it can");
        assert_eq!(Login::parse(&again), Some(login.clone()));
        assert!(login.again(&Greeting { own: 0, ..greeting }, "hunter2").is_none());
        assert!(Login::parse(&again[..again.len() - NATIVE.len() - 3]).is_none(), "cut off");
        let encrypted = [&(known | capability::SSL).to_le_bytes(), &again[4..]].concat();
        assert_eq!(Login::parse(&encrypted), None);
    }

    #[test]
    fn a_password_is_shown_as_the_server_wants_it() {
        let shown = |password| {
            prove(password, b"abcdefghijklmnopqrst").iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        // Python: hashlib, by the formula above.
        assert_eq!((shown("hunter2").as_str(), shown("").as_str()), ("fb30830c3ec1c2161c75ef8c45977d684a38d8d4", ""));
    }
}
