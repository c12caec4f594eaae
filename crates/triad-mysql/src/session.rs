//! Where a conversation stands, from the bytes of both sides.

use crate::Account;
use crate::effect::{Effect, effect};
use crate::limits::{LOGIN_BYTES_MAX, STATEMENT_BYTES_MAX};
use crate::login::{CACHE_METADATA, Greeting, Login};
use crate::packet::{FULL, Fields, HEAD_BYTES, Head, command};
use crate::restore::Restore;
use crate::statements::{Kept, PREPARED_BYTES, Prepared};

/// Bytes of a server's packet that are looked at: those of the longest status.
const LOOKED_AT_BYTES: usize = 32;

/// Flags of a server's status.
mod status {
    pub const IN_TRANSACTION: u64 = 1;
    pub const AUTOCOMMIT: u64 = 1 << 1;
    pub const MORE_RESULTS: u64 = 1 << 3;
    pub const CURSOR: u64 = 1 << 6;
}

/// A statement that a restored session must not pass on, as it would be understood in another way than its client means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// A client and its server.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    client: Reader,
    server: Reader,
    login: Option<Login>,
    kept: Kept,
    /// What comes of the command that runs, if it is done.
    pending: Pending,
    /// Statements of which the server has values that were sent before.
    values: usize,
    in_transaction: bool,
    autocommit: bool,
    /// Why it cannot be restored.
    lost: Option<&'static str>,
    /// Whether it was restored since it began.
    restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Login,
    Authentication,
    Rest,
    /// The client is sending a command.
    Command,
    Answer(Answer),
    Opaque,
}

/// What the server is to say next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// One packet.
    Simple,
    /// The first of a result.
    First,
    /// Descriptions of columns: so many, then perhaps a mark.
    Columns(u64),
    Mark,
    Rows,
    Prepared,
    /// Descriptions behind that, with their marks.
    Descriptions(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    Setting(Vec<u8>),
    Schema(Vec<u8>),
    Prepare(Vec<u8>),
    Reset,
}

/// How far a packet of one side is read.
#[derive(Debug, Default)]
struct Reader {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that are there.
    head_length: usize,
    /// Payload yet to come.
    left: usize,
    /// Length of the packet.
    length: usize,
    /// Whether it goes on with a payload before it.
    is_rest: bool,
    /// What is looked at of the payload, up to a bound.
    text: Vec<u8>,
    /// Whether there was more.
    is_cut: bool,
}

impl Reader {
    fn begin(&mut self, head: Head) {
        let is_rest = self.length == FULL;
        if !is_rest {
            self.text.clear();
            self.is_cut = false;
        }
        (self.left, self.length, self.is_rest) = (head.length, head.length, is_rest);
    }

    /// Takes payload off `bytes`; how much.
    fn take(&mut self, bytes: &[u8], text_max: usize) -> usize {
        let taken = &bytes[..bytes.len().min(self.left)];
        self.left -= taken.len();
        let room = text_max.saturating_sub(self.text.len());
        self.text.extend_from_slice(&taken[..taken.len().min(room)]);
        self.is_cut |= taken.len() > room;
        taken.len()
    }

    /// Whether the packet is whole, and no other goes on with it.
    fn is_done(&self) -> bool {
        self.left == 0 && self.length != FULL
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            phase: Phase::Greeting,
            client: Reader::default(),
            server: Reader::default(),
            login: None,
            kept: Kept::default(),
            pending: Pending::default(),
            values: 0,
            in_transaction: false,
            autocommit: true,
            lost: None,
            restored: false,
        }
    }
}

impl Session {
    /// Whether it is not followed any more.
    pub fn is_opaque(&self) -> bool {
        self.phase == Phase::Opaque
    }

    /// Whether nothing is under way: the server waits for a command, holds no transaction open, and has no values of a
    /// statement that is yet to be executed.
    pub fn is_at_rest(&self) -> bool {
        self.phase == Phase::Rest && !self.in_transaction && self.values == 0
    }

    /// How to bring another server to where this one is; else why that cannot be done, as a clause.
    ///
    /// # Errors
    /// If it is not at rest, has left something that cannot be made again, or is another account's.
    pub fn restore(&self, account: Account<'_>) -> Result<Restore, &'static str> {
        let login = self.login.as_ref().ok_or("it has not logged in")?;
        if let Some(lost) = self.lost {
            return Err(lost);
        }
        if !self.is_at_rest() {
            return Err("something is under way");
        }
        if login.user != account.user.as_bytes() {
            return Err("it is another account's");
        }
        Ok(Restore::new(login.clone(), account.password, &self.kept))
    }

    /// Goes on at another server, where `restore` is done.
    pub fn go_on(&mut self, restore: Restore) {
        (self.kept, self.server, self.restored) = (restore.done(), Reader::default(), true);
    }

    /// Reads what the client said, and changes numbers in it to those that the server knows. How much of it is to go on;
    /// the rest is to be given again, with more.
    ///
    /// # Errors
    /// If it is not to go on, and the connection must end.
    pub fn client_said(&mut self, bytes: &mut [u8]) -> Result<usize, Refused> {
        let mut at = 0;
        while at < bytes.len() {
            if self.client.left > 0 {
                let text_max = if self.phase == Phase::Login { LOGIN_BYTES_MAX } else { STATEMENT_BYTES_MAX };
                at += self.client.take(&bytes[at..], text_max);
            } else {
                if self.phase == Phase::Opaque || !self.may_speak(&bytes[at..]) {
                    self.phase = Phase::Opaque;
                    return Ok(bytes.len());
                }
                let Some(head) = Head::parse(&bytes[at..]) else { return Ok(at) };
                if self.phase == Phase::Rest {
                    let payload = &mut bytes[at + HEAD_BYTES..];
                    let Some(wanted) = self.wanted(payload).filter(|wanted| payload.len() >= head.length.min(*wanted))
                    else {
                        return Ok(at);
                    };
                    let length = payload.len().min(head.length).min(wanted);
                    self.renumber(&mut payload[..length])?;
                    self.phase = Phase::Command;
                }
                self.client.begin(head);
                at += HEAD_BYTES;
            }
            if self.client.is_done() {
                self.client_is_done()?;
            }
        }
        Ok(at)
    }

    /// Whether the client may begin a packet now.
    fn may_speak(&self, bytes: &[u8]) -> bool {
        let number = bytes.get(3);
        match self.phase {
            Phase::Login | Phase::Authentication => true,
            Phase::Command => self.client.length == FULL,
            Phase::Rest => number.is_none_or(|number| *number == 0) && bytes.get(..3) != Some(&[0, 0, 0]),
            _ => false,
        }
    }

    /// Bytes of a command's payload that must be seen before it goes on; `None` if even that is not known yet.
    fn wanted(&self, payload: &[u8]) -> Option<usize> {
        let (command, rest) = payload.split_first()?;
        if !names_statement(*command) {
            return Some(1);
        }
        let statement = rest.first_chunk().and_then(|number| self.kept.statements.get(&u32::from_le_bytes(*number)));
        match statement {
            Some(statement) if *command == command::STMT_EXECUTE && statement.lacks_types() => {
                Some(types_at(statement.parameters) + 1)
            }
            _ => Some(5),
        }
    }

    /// Has the server's number stand in a command on a prepared statement.
    fn renumber(&mut self, payload: &mut [u8]) -> Result<(), Refused> {
        let [command, number @ ..] = payload else { return Ok(()) };
        let command = *command;
        let Some(number) = number.first_chunk_mut().filter(|_| names_statement(command)) else { return Ok(()) };
        let known = u32::from_le_bytes(*number);
        let Some(statement) = self.kept.statements.get_mut(&known) else {
            self.lost.get_or_insert("a statement that was not seen");
            return if self.restored { Err(Refused("it uses a statement that is not known")) } else { Ok(()) };
        };
        *number = statement.here.to_le_bytes();
        if command == command::STMT_EXECUTE && statement.lacks_types() {
            let says_types = payload.get(types_at(statement.parameters)) == Some(&1);
            if !says_types && self.restored {
                return Err(Refused("it executes a statement without the types of its parameters"));
            }
            statement.typed = says_types;
        }
        let has_values = command == command::STMT_SEND_LONG_DATA;
        self.values += usize::from(has_values);
        self.values -= usize::from(std::mem::replace(&mut statement.has_values, has_values));
        if command == command::STMT_CLOSE {
            self.kept.statements.remove(&known);
        }
        Ok(())
    }

    /// A packet of the client is whole.
    fn client_is_done(&mut self) -> Result<(), Refused> {
        match self.phase {
            Phase::Login => match (Login::parse(&self.client.text), self.client.is_cut) {
                (Some(login), false) => {
                    self.login = Some(login);
                    self.phase = Phase::Authentication;
                }
                _ => self.phase = Phase::Opaque,
            },
            Phase::Command => self.commanded()?,
            _ => {}
        }
        Ok(())
    }

    /// A command is whole.
    fn commanded(&mut self) -> Result<(), Refused> {
        let text = std::mem::take(&mut self.client.text);
        let [command, argument @ ..] = &text[..] else {
            self.phase = Phase::Opaque;
            return Ok(());
        };
        self.pending = Pending::Nothing;
        self.phase = match *command {
            command::QUERY => {
                let effect = self.read(argument)?;
                if effect == Effect::Setting {
                    self.pending = Pending::Setting(argument.to_vec());
                }
                Phase::Answer(Answer::First)
            }
            command::STMT_EXECUTE => {
                // Flags: more than none opens a cursor.
                if argument.get(4) != Some(&0) {
                    self.lost.get_or_insert("a cursor");
                }
                Phase::Answer(Answer::First)
            }
            command::STMT_PREPARE => {
                if self.read(argument)? == Effect::Setting {
                    self.lost.get_or_insert("a setting that is prepared");
                }
                self.pending = Pending::Prepare(argument.to_vec());
                Phase::Answer(Answer::Prepared)
            }
            command::STMT_SEND_LONG_DATA | command::STMT_CLOSE => Phase::Rest,
            command::STMT_RESET | command::PING => Phase::Answer(Answer::Simple),
            command::INIT_DB => {
                self.pending = Pending::Schema(argument.to_vec());
                Phase::Answer(Answer::Simple)
            }
            command::SET_OPTION => {
                self.lost.get_or_insert("an option");
                Phase::Answer(Answer::Simple)
            }
            command::RESET_CONNECTION => {
                self.pending = Pending::Reset;
                Phase::Answer(Answer::Simple)
            }
            _ => Phase::Opaque,
        };
        if *command == command::QUIT {
            self.phase = Phase::Opaque;
        }
        self.client.text = text;
        Ok(())
    }

    /// What a statement leaves.
    fn read(&mut self, text: &[u8]) -> Result<Effect, Refused> {
        let effect = if self.client.is_cut { Effect::Leaves("a long statement") } else { effect(text) };
        match effect {
            Effect::Asks if self.restored => {
                return Err(Refused("it asks for what was before, at another server"));
            }
            Effect::Asks => _ = self.lost.get_or_insert("it asks for what its statements left"),
            Effect::Leaves(what) => _ = self.lost.get_or_insert(what),
            Effect::Nothing | Effect::Setting => {}
        }
        Ok(effect)
    }

    /// Reads what the server said, and changes numbers in it to those that the client knows. How much of it is to go on;
    /// the rest is to be given again, with more.
    pub fn server_said(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.phase == Phase::Opaque {
                return bytes.len();
            }
            if self.server.left > 0 {
                let text_max = if self.phase == Phase::Greeting { LOGIN_BYTES_MAX } else { LOOKED_AT_BYTES };
                at += self.server.take(&bytes[at..], text_max);
            } else if self.phase == Phase::Answer(Answer::Prepared) && self.server.head_length == 0 {
                let Some(head) = Head::parse(&bytes[at..]) else { return at };
                let payload = &mut bytes[at + HEAD_BYTES..];
                let wanted = head.length.min(PREPARED_BYTES);
                if payload.len() < wanted {
                    return at;
                }
                self.prepared(&mut payload[..wanted]);
                self.server.begin(head);
                at += HEAD_BYTES;
            } else {
                let missing = HEAD_BYTES - self.server.head_length;
                let taken = missing.min(bytes.len() - at);
                self.server.head[self.server.head_length..][..taken].copy_from_slice(&bytes[at..][..taken]);
                self.server.head_length += taken;
                at += taken;
                if self.server.head_length < HEAD_BYTES {
                    break;
                }
                self.server.head_length = 0;
                let Some(head) = Head::parse(&self.server.head) else { break };
                if self.phase == Phase::Greeting && head.number != 0 {
                    self.phase = Phase::Opaque;
                }
                self.server.begin(head);
            }
            if self.server.is_done() {
                self.server_is_done();
            }
        }
        at
    }

    /// A statement is prepared: the client gets to know its number.
    fn prepared(&mut self, payload: &mut [u8]) {
        let Pending::Prepare(text) = std::mem::take(&mut self.pending) else { return };
        let Some(Prepared { here, columns, parameters }) = Prepared::parse(payload) else { return };
        if !self.restored && self.kept.statements.contains_key(&here) {
            // No server gives a number twice.
            self.phase = Phase::Opaque;
            return;
        }
        match self.kept.prepare(text, here, columns, parameters) {
            Some(number) => payload[1..5].copy_from_slice(&number.to_le_bytes()),
            // Its server's number may be another one's.
            None if self.restored => self.phase = Phase::Opaque,
            None => _ = self.lost.get_or_insert("more prepared statements than are kept"),
        }
    }

    /// A packet of the server is whole.
    fn server_is_done(&mut self) {
        let text = std::mem::take(&mut self.server.text);
        self.phase = self.after(&text);
        self.server.text = text;
    }

    fn after(&mut self, text: &[u8]) -> Phase {
        let first = text.first().copied();
        let length = self.server.length;
        let is_rest = self.server.is_rest;
        match self.phase {
            Phase::Greeting if Greeting::parse(text).is_some() => Phase::Login,
            Phase::Greeting => Phase::Opaque,
            Phase::Authentication => match first {
                Some(0) => self.end(&text[1..], true),
                Some(0xff) => Phase::Opaque,
                _ => Phase::Authentication,
            },
            Phase::Answer(answer) => match (answer, first) {
                (Answer::Columns(1), _) if self.has_marks() => Phase::Answer(Answer::Mark),
                (Answer::Columns(0..=1), _) | (Answer::Mark, _) => Phase::Answer(Answer::Rows),
                (Answer::Columns(left), _) => Phase::Answer(Answer::Columns(left - 1)),
                (Answer::Descriptions(0..=1), _) => Phase::Rest,
                (Answer::Descriptions(left), _) => Phase::Answer(Answer::Descriptions(left - 1)),
                (Answer::Rows, Some(0xff)) if !is_rest => self.failed(text),
                (Answer::Rows, Some(0xfe)) if !is_rest && self.ends_rows(length) => {
                    self.end(&text[1..], !self.has_marks())
                }
                (Answer::Rows, _) => Phase::Answer(Answer::Rows),
                (_, Some(0xff)) => self.failed(text),
                (Answer::Prepared, Some(0)) => self.descriptions(text),
                (Answer::Simple, Some(0xfe)) => self.end(&text[1..], !self.has_marks()),
                (Answer::Simple | Answer::First, Some(0)) => self.end(&text[1..], true),
                (Answer::First, Some(1..=0xfa | 0xfc | 0xfd)) => self.columns(text),
                _ => Phase::Opaque,
            },
            Phase::Login | Phase::Rest | Phase::Command | Phase::Opaque => Phase::Opaque,
        }
    }

    fn has_marks(&self) -> bool {
        self.login.as_ref().is_none_or(Login::has_marks)
    }

    fn ends_rows(&self, length: usize) -> bool {
        if self.has_marks() { length < 9 } else { length < FULL }
    }

    /// The first packet of rows: how many columns, and whether they are described.
    fn columns(&self, text: &[u8]) -> Phase {
        let mut fields = Fields(text);
        let Some(columns) = fields.length_encoded() else { return Phase::Opaque };
        let may_be_left_out = self.login.as_ref().is_some_and(|login| login.own & CACHE_METADATA != 0);
        if may_be_left_out && fields.number(1) == Some(0) {
            return Phase::Answer(if self.has_marks() { Answer::Mark } else { Answer::Rows });
        }
        Phase::Answer(Answer::Columns(columns))
    }

    /// A statement was prepared: descriptions of its parameters and columns follow.
    fn descriptions(&self, text: &[u8]) -> Phase {
        let (Some(login), Some(prepared)) = (&self.login, Prepared::parse(text)) else { return Phase::Opaque };
        match login.descriptions(prepared.columns, prepared.parameters) {
            0 => Phase::Rest,
            packets => Phase::Answer(Answer::Descriptions(packets)),
        }
    }

    /// The status behind a result; `is_ok`: with counts before it, else with warnings.
    fn end(&mut self, text: &[u8], is_ok: bool) -> Phase {
        let mut fields = Fields(text);
        let flags = if is_ok {
            fields.length_encoded().and_then(|_| fields.length_encoded()).and_then(|_| fields.number(2))
        } else {
            fields.number(2).and_then(|_| fields.number(2))
        };
        let Some(flags) = flags else { return Phase::Opaque };
        self.in_transaction = flags & status::IN_TRANSACTION != 0;
        self.autocommit = flags & status::AUTOCOMMIT != 0;
        if flags & status::CURSOR != 0 {
            self.lost.get_or_insert("a cursor");
        }
        if flags & status::MORE_RESULTS != 0 {
            return Phase::Answer(Answer::First);
        }
        match std::mem::take(&mut self.pending) {
            Pending::Nothing | Pending::Prepare(_) => {}
            Pending::Setting(text) => {
                if !self.kept.set(text) {
                    self.lost.get_or_insert("more settings than are kept");
                }
            }
            Pending::Schema(schema) => {
                if let Some(login) = &mut self.login {
                    login.schema = schema;
                }
            }
            Pending::Reset => {
                (self.kept, self.values, self.lost, self.restored) = (Kept::default(), 0, None, false);
                self.check_login();
            }
        }
        if self.phase == Phase::Authentication {
            self.check_login();
        }
        Phase::Rest
    }

    fn check_login(&mut self) {
        if self.login.as_ref().is_some_and(Login::reads_otherwise) {
            self.lost = Some("another way to read texts");
        }
    }

    /// An error, or how far a long statement is.
    fn failed(&mut self, text: &[u8]) -> Phase {
        if text.get(1..3) == Some(&[0xff, 0xff]) {
            return self.phase;
        }
        self.pending = Pending::Nothing;
        // An error tells no status: without autocommit, a transaction may have begun.
        self.in_transaction |= !self.autocommit;
        Phase::Rest
    }
}

/// Whether `command` is about a prepared statement, whose number comes next.
fn names_statement(command: u8) -> bool {
    use command::{STMT_CLOSE, STMT_EXECUTE, STMT_RESET, STMT_SEND_LONG_DATA};
    matches!(command, STMT_EXECUTE | STMT_SEND_LONG_DATA | STMT_CLOSE | STMT_RESET)
}

/// Where an execution says whether it names the types of its `parameters`: behind the command, a number, flags, a count,
/// and a bit for each parameter.
fn types_at(parameters: u16) -> usize {
    10 + usize::from(parameters).div_ceil(8)
}
