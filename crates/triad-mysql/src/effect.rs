//! What a statement leaves behind in its session, as its text tells. Default deny: what is not known leaves something.
//!
//! Texts are read as a server with MariaDB's own `sql_mode` reads them; settings that change how texts are read leave
//! something that cannot be restored.

/// What it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing beside data, and the transaction that the server tells of.
    Nothing,
    /// A setting, which the same text makes again.
    Setting,
    /// Nothing, but it asks for what the statement before left.
    Asks,
    /// Something that cannot be made again, named here.
    Leaves(&'static str),
}

/// First words of statements that leave nothing by themselves.
const HARMLESS: [&str; 28] = [
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "CHECK",
    "COMMIT",
    "CREATE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DROP",
    "EXPLAIN",
    "GRANT",
    "INSERT",
    "OPTIMIZE",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SHOW",
    "START",
    "TRUNCATE",
    "UPDATE",
    "VALUES",
    "WITH",
];
/// Words that ask for what was before.
const ASKING: [&str; 9] = [
    "CONNECTION_ID",
    "FOUND_ROWS",
    "IDENTITY",
    "INSERT_ID",
    "LASTVAL",
    "LAST_INSERT_ID",
    "ROW_COUNT",
    "SQL_CALC_FOUND_ROWS",
    "WARNING_COUNT",
];
/// Words of functions on locks by name.
const LOCKS: [&str; 3] = ["GET_LOCK", "RELEASE_ALL_LOCKS", "RELEASE_LOCK"];
/// Words in a `SET` that make it more than a setting of this session.
const NO_SETTING: [&str; 13] = [
    "DEFAULT",
    "GLOBAL",
    "GTID_SEQ_NO",
    "IDENTITY",
    "INSERT_ID",
    "LAST_INSERT_ID",
    "PASSWORD",
    "RAND_SEED1",
    "RAND_SEED2",
    "ROLE",
    "SELECT",
    "SERVER_ID",
    "STATEMENT",
];
/// What changes how texts are read: modes that mean other quotes, and character sets in which a quote may be half a
/// character.
const READ_OTHERWISE: [&str; 15] = [
    "ANSI",
    "BACKSLASH",
    "BIG5",
    "CP932",
    "DB2",
    "EUCKR",
    "GB18030",
    "GB2312",
    "GBK",
    "MAXDB",
    "MSSQL",
    "MYSQL",
    "ORACLE",
    "POSTGRES",
    "SJIS",
];

/// What `text` leaves.
pub fn effect(text: &[u8]) -> Effect {
    let mut words = Words { rest: text, user_variable: false, executable: false };
    let Some(first) = words.next() else { return Effect::Leaves("a statement without a word") };
    let is_set = first.eq_ignore_ascii_case("SET");
    if !is_set && !is_one_of(first, &HARMLESS) {
        return Effect::Leaves("a statement that may leave anything");
    }
    let found = look(first, is_set, &mut words);
    match (found, is_set) {
        (_, _) if words.executable => Effect::Leaves("an executable comment"),
        (_, _) if words.user_variable => Effect::Leaves("a user variable"),
        (Effect::Nothing, true) if reads_otherwise(text) => Effect::Leaves("another way to read texts"),
        (Effect::Nothing, true) => Effect::Setting,
        (found, _) => found,
    }
}

/// What the words behind the `first` tell, up to what settles it.
fn look(first: &str, is_set: bool, words: &mut Words<'_>) -> Effect {
    let (mut found, mut place, mut is_over, mut last) = (Effect::Nothing, 0, false, "");
    for word in words.by_ref() {
        if is_over {
            return Effect::Leaves("several statements at once");
        }
        place += 1;
        let is = |wanted: &str| word.eq_ignore_ascii_case(wanted);
        match word {
            ";" => is_over = true,
            _ if is_one_of(word, &LOCKS) => return Effect::Leaves("a lock by name"),
            _ if is_set && (is_one_of(word, &NO_SETTING) || place == 1 && is("TRANSACTION")) => {
                return Effect::Leaves("more than a setting of its session");
            }
            _ if is("TEMPORARY") && !first.eq_ignore_ascii_case("DROP") => return Effect::Leaves("a temporary table"),
            _ if place == 1 && is("NOT") && first.eq_ignore_ascii_case("BEGIN") => return Effect::Leaves("a block"),
            _ if place <= 2 && first.eq_ignore_ascii_case("SHOW") && (is("WARNINGS") || is("ERRORS")) => {
                found = Effect::Asks;
            }
            _ if is_one_of(word, &ASKING) || is("VALUE") && last.eq_ignore_ascii_case("PREVIOUS") => {
                found = Effect::Asks
            }
            _ => {}
        }
        last = word;
    }
    found
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn reads_otherwise(text: &[u8]) -> bool {
    let contains = |part: &str| text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    READ_OTHERWISE.iter().any(|part| contains(part))
}

/// The words of a statement and its semicolons, outside of quotes and comments.
struct Words<'a> {
    rest: &'a [u8],
    /// Whether an `@` was passed that is not one of a system variable.
    user_variable: bool,
    /// Whether a comment was passed that is run.
    executable: bool,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let skipped = match *self.rest {
                [] => return None,
                [b';', ..] => {
                    self.rest = &self.rest[1..];
                    return Some(";");
                }
                [quote @ (b'\'' | b'"' | b'`'), ..] => quoted(self.rest, quote),
                [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => {
                    self.executable = true;
                    return None;
                }
                [b'/', b'*', ..] => find(self.rest, 2, b"*/").map_or(self.rest.len(), |end| end + 2),
                [b'#', ..] => find(self.rest, 0, b"\n").unwrap_or(self.rest.len()),
                [b'-', b'-', next, ..] if next.is_ascii_whitespace() || next.is_ascii_control() => {
                    find(self.rest, 0, b"\n").unwrap_or(self.rest.len())
                }
                [b'@', b'@', ..] => 2,
                [b'@', ..] => {
                    self.user_variable = true;
                    return None;
                }
                [first, ..] if in_word(first) => {
                    let end = self.rest.iter().position(|byte| !in_word(*byte)).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    // A word that is no text is none that is known here.
                    return Some(std::str::from_utf8(word).unwrap_or("?"));
                }
                _ => 1,
            };
            self.rest = self.rest.get(skipped..).unwrap_or_default();
        }
    }
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

fn find(text: &[u8], from: usize, part: &[u8]) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.windows(part.len()).position(|window| window == part).map(|at| from + at)
}

/// Bytes that the quoted text at the beginning of `text` takes. A quote that is doubled begins another one at once, which
/// comes to the same.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Effect, effect};

    fn of(text: &str) -> Effect {
        effect(text.as_bytes())
    }

    #[test]
    fn what_applications_say_leaves_nothing() {
        for text in [
            "INSERT INTO entries (name, text) VALUES ('a@b.c', 'it''s \\' GET_LOCK(1) ; SET @x = 1')",
            "/* from here */ select `@a`, \"SET\" -- LAST_INSERT_ID()\n from t # ; x\n;",
            "(SELECT 1) UNION (SELECT 2)",
            "start transaction",
            "BEGIN",
            "COMMIT AND CHAIN",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "SELECT @@max_allowed_packet, @@wait_timeout",
            "CREATE TABLE errors (warnings INT, previous INT)",
            "DROP TEMPORARY TABLE IF EXISTS t",
            "SELECT errors FROM t",
        ] {
            assert_eq!(of(text), Effect::Nothing, "{text}");
        }
    }

    #[test]
    fn settings_are_made_again() {
        for text in [
            "SET NAMES utf8mb4",
            "set time_zone = '+00:00'",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET @@session.sql_mode = 'STRICT_TRANS_TABLES'",
            "SET autocommit=0, foreign_key_checks = 0",
        ] {
            assert_eq!(of(text), Effect::Setting, "{text}");
        }
    }

    #[test]
    fn who_asks_for_what_was_is_known() {
        for text in [
            "SELECT LAST_INSERT_ID()",
            "SHOW WARNINGS",
            "SHOW COUNT(*) WARNINGS LIMIT 1",
            "select row_count()",
            "SELECT PREVIOUS VALUE FOR s",
            "SELECT @@identity",
            "SELECT SQL_CALC_FOUND_ROWS 1",
        ] {
            assert_eq!(of(text), Effect::Asks, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_made_again_is_named() {
        for (text, what) in [
            ("SELECT @a", "a user variable"),
            ("SELECT 1 INTO @a", "a user variable"),
            ("SELECT @a := 1", "a user variable"),
            ("SET @a = 1", "a user variable"),
            ("SELECT get_lock('a', 1)", "a lock by name"),
            ("CREATE OR REPLACE TEMPORARY TABLE t (a INT)", "a temporary table"),
            ("SET TRANSACTION READ ONLY", "more than a setting of its session"),
            ("SET GLOBAL read_only = 0", "more than a setting of its session"),
            ("SET @@global.read_only = 0", "more than a setting of its session"),
            ("SET insert_id = 7", "more than a setting of its session"),
            ("SET STATEMENT max_statement_time = 1 FOR SELECT 1", "more than a setting of its session"),
            ("SET sql_mode = 'ANSI_QUOTES'", "another way to read texts"),
            ("SET NAMES gbk", "another way to read texts"),
            ("SELECT 1; SELECT 2", "several statements at once"),
            ("BEGIN NOT ATOMIC SELECT 1; END", "a block"),
            ("/*!40101 SET NAMES utf8 */", "a statement without a word"),
            ("SELECT 1 /*M! FOR UPDATE */", "an executable comment"),
            ("", "a statement without a word"),
            ("CALL p()", "a statement that may leave anything"),
            ("LOCK TABLES t READ", "a statement that may leave anything"),
            ("USE other", "a statement that may leave anything"),
            ("HANDLER t OPEN", "a statement that may leave anything"),
            ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "a statement that may leave anything"),
        ] {
            assert_eq!(of(text), Effect::Leaves(what), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(text in prop::collection::vec(any::<u8>(), 0..200)) {
            effect(&text);
        }

        /// Whatever stands in quotes says nothing.
        #[test]
        fn what_is_quoted_is_not_read(inside in "[^'\\\\]{0,40}") {
            prop_assert_eq!(of(&format!("SELECT '{inside}' FROM t")), Effect::Nothing);
        }
    }
}
