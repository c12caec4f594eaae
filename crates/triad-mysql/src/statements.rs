//! What a session keeps beside its data: settings, and prepared statements under the numbers that its client knows.

use std::collections::BTreeMap;

use crate::limits::{PREPARED_BYTES_MAX, PREPARED_MAX, SETTINGS_MAX};

/// Bytes of the answer to a statement that is prepared, up to its numbers.
pub const PREPARED_BYTES: usize = 9;

/// The answer to a statement that is prepared.
pub struct Prepared {
    /// Its number at the server.
    pub here: u32,
    pub columns: u16,
    pub parameters: u16,
}

impl Prepared {
    /// Reads its first [`PREPARED_BYTES`]; `None` if it is an error.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [0, a, b, c, d, columns_low, columns_high, parameters_low, parameters_high, ..] = *payload else {
            return None;
        };
        Some(Self {
            here: u32::from_le_bytes([a, b, c, d]),
            columns: u16::from_le_bytes([columns_low, columns_high]),
            parameters: u16::from_le_bytes([parameters_low, parameters_high]),
        })
    }
}

/// A prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub text: Vec<u8>,
    pub columns: u16,
    pub parameters: u16,
    /// Its number at the server.
    pub here: u32,
    /// Whether the server knows the types of its parameters.
    pub typed: bool,
    /// Whether the server has values that were sent before its next execution.
    pub has_values: bool,
}

impl Statement {
    /// Whether it is to be executed with types that the server does not know yet.
    pub fn lacks_types(&self) -> bool {
        !self.typed && self.parameters > 0
    }
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// In the order in which they were made; the same text once.
    pub settings: Vec<Vec<u8>>,
    pub statements: BTreeMap<u32, Statement>,
}

impl Kept {
    /// Keeps `text`, a setting; whether there is room.
    pub fn set(&mut self, text: Vec<u8>) -> bool {
        self.settings.retain(|known| *known != text);
        let room = self.settings.len() < SETTINGS_MAX;
        if room {
            self.settings.push(text);
        }
        room
    }

    /// Keeps a statement that is `here` at its server. Its client's number for it; `None` if there is no room. A server does
    /// not give a number twice, but one that a session was restored at knows nothing of the numbers of the one before.
    pub fn prepare(&mut self, text: Vec<u8>, here: u32, columns: u16, parameters: u16) -> Option<u32> {
        let bytes: usize = self.statements.values().map(|statement| statement.text.len()).sum();
        if self.statements.len() >= PREPARED_MAX || bytes + text.len() > PREPARED_BYTES_MAX {
            return None;
        }
        // Only a session that was restored has numbers of two servers.
        let next = self.statements.last_key_value().map_or(Some(here), |(last, _)| last.checked_add(1))?;
        let number = if self.statements.contains_key(&here) { next } else { here };
        self.statements.insert(number, Statement { text, columns, parameters, here, typed: false, has_values: false });
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;
    use crate::limits::{PREPARED_MAX, SETTINGS_MAX};

    #[test]
    fn the_last_setting_counts_and_there_is_a_bound() {
        let mut kept = Kept::default();
        assert!(kept.set(b"SET a = 1".into()) && kept.set(b"SET a = 2".into()) && kept.set(b"SET a = 1".into()));
        assert_eq!(kept.settings, [b"SET a = 2", b"SET a = 1"]);
        assert_eq!((0..99).filter(|number| kept.set(format!("SET b = {number}").into())).count(), SETTINGS_MAX - 2);
    }

    #[test]
    fn a_number_stands_for_one_statement() {
        let mut kept = Kept::default();
        let prepare = |kept: &mut Kept, here| kept.prepare(b"SELECT ?".into(), here, 1, 1);
        assert_eq!((prepare(&mut kept, 1), prepare(&mut kept, 7)), (Some(1), Some(7)));
        // Another server counts from 1 again.
        assert_eq!((prepare(&mut kept, 1), prepare(&mut kept, 2)), (Some(8), Some(2)));
        assert_eq!(kept.statements[&8].here, 1);
        let more = (100..).map_while(|here| prepare(&mut kept, here)).count();
        assert_eq!(more, PREPARED_MAX - 4);
    }
}
