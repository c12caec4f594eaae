//! Names that strangers may see: they tell nothing, and nobody else can make one up.
//!
//! All who have the same private key give a name the same pseudonym, and do so again after a restart; the key for it is
//! derived as that of the session tickets is (docs/decisions/0016), and apart from it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use crate::settings::key;
use crate::{KeyPair, TlsError};

/// Bytes of a pseudonym, of the 32 that HMAC-SHA256 gives: one guess in 2^96 is right.
pub const PSEUDONYM_BYTES: usize = 12;

/// What keeps this key apart from any other use of the same secret.
const LABEL: &[u8] = b"triad pseudonyms 1";
const KEY_LABEL: &[u8] = b"key";

/// Gives pseudonyms.
pub struct Pseudonyms(hmac::Key);

/// What stands for a name. It compares in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Pseudonym(pub [u8; PSEUDONYM_BYTES]);

impl Pseudonyms {
    /// Those of all who have the private key of `pair`.
    pub fn new(pair: &KeyPair) -> Result<Self, TlsError> {
        let secret = key(&pair.key_pem)?;
        let root = Salt::new(HKDF_SHA256, LABEL).extract(secret.secret_der());
        let key = root.expand(&[KEY_LABEL], HMAC_SHA256);
        let key = key.map_err(|_| rustls::Error::General("no key for pseudonyms".to_owned()))?;
        Ok(Self(key.into()))
    }

    /// What stands for `name`.
    pub fn of(&self, name: &str) -> Pseudonym {
        let tag = hmac::sign(&self.0, name.as_bytes());
        let mut bytes = [0; PSEUDONYM_BYTES];
        bytes.copy_from_slice(&tag.as_ref()[..PSEUDONYM_BYTES]);
        Pseudonym(bytes)
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pseudonyms").finish_non_exhaustive()
    }
}

impl PartialEq for Pseudonym {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Pseudonyms;
    use crate::{Authority, KeyPair};

    fn pair() -> KeyPair {
        Authority::generate("foobar.com").unwrap().site(&["www.foobar.com".to_owned()]).unwrap()
    }

    #[test]
    fn the_same_key_gives_the_same_and_another_key_or_name_another() {
        let pair = pair();
        let [one, again, other] = [&pair, &pair.clone(), &self::pair()].map(|it| Pseudonyms::new(it).unwrap());
        assert_eq!(one.of("srv2"), again.of("srv2"));
        assert_ne!(one.of("srv2"), one.of("srv3"));
        assert_ne!(one.of("srv2"), other.of("srv2"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_none_is_printed() {
        let bad = KeyPair { key_pem: triad_model::Secret::new("no key"), ..pair() };
        assert!(Pseudonyms::new(&bad).is_err());
        assert_eq!(format!("{:?}", Pseudonyms::new(&pair()).unwrap()), "Pseudonyms { .. }");
    }
}
