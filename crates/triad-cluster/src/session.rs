//! Keys of beats. Each agent draws a secret when it starts; from that follows one key for each server it sends to, which
//! that server alone can ask for, over mutual TLS. So nobody but the sender can make beats that the receiver believes,
//! and keys end with the agent that drew them.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use triad_model::{Secret, ServerName};

/// Bytes of a key: as many as HMAC-SHA256 puts out.
pub const KEY_BYTES: usize = 32;

/// What keeps these keys apart from any other use of the same secret.
const LABEL: &[u8] = b"triad heartbeats 1 to ";

/// What a receiver must know to believe a sender's beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which run of the sender's agent.
    pub boot: u64,
    /// Beats up to this one are past: whoever recorded them cannot use them against a receiver that starts anew.
    pub sequence: u64,
    /// The key, in hexadecimal.
    pub key: Secret,
}

/// A key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of heartbeats is {} hexadecimal digits", 2 * KEY_BYTES)]
pub struct InvalidKey;

/// The key of beats to `receiver`, from the sender's `root`.
pub(crate) fn bytes(root: &Key, receiver: &ServerName) -> [u8; KEY_BYTES] {
    let tag = sign(root, &[LABEL, receiver.as_str().as_bytes()].concat());
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(tag.as_ref());
    key
}

pub(crate) fn key(bytes: &[u8; KEY_BYTES]) -> Key {
    Key::new(HMAC_SHA256, bytes)
}

pub(crate) fn to_hex(bytes: &[u8; KEY_BYTES]) -> Secret {
    Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub(crate) fn from_hex(secret: &Secret) -> Result<Key, InvalidKey> {
    let text = secret.expose_secret().as_bytes();
    let mut bytes = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES {
        return Err(InvalidKey);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(InvalidKey);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Ok(key(&bytes))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::sign;
    use triad_model::{Secret, ServerName};

    use super::{InvalidKey, bytes, from_hex, key, to_hex};

    #[test]
    fn a_key_goes_through_its_text_and_is_another_for_each_receiver() {
        let root = key(&[7; 32]);
        let [srv1, srv2] = ["srv1", "srv2"].map(|name| bytes(&root, &ServerName::new(name).expect("a name")));
        assert_ne!(srv1, srv2);
        let read = from_hex(&to_hex(&srv1)).expect("its own text");
        assert_eq!(sign(&read, b"x").as_ref(), sign(&key(&srv1), b"x").as_ref());
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(from_hex(&Secret::new(wrong)).err(), Some(InvalidKey), "{wrong}");
        }
    }
}
