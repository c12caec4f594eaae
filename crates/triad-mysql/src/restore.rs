//! Putting a server's new connection into the state of another one: log in, make settings again, prepare statements.

use crate::login::{Greeting, Login, NATIVE, prove};
use crate::packet::{Fields, command, packet};
use crate::statements::{Kept, Prepared, Statement};

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Say this, and hear the answer.
    Say(Vec<u8>),
    /// Hear more.
    Hear,
    /// The session goes on here.
    Done,
    /// It cannot, for this reason.
    Failed(&'static str),
}

/// The way there. It holds a password.
#[derive(Clone)]
pub struct Restore {
    login: Login,
    password: String,
    kept: Kept,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Authentication,
    /// The setting at this place.
    Setting(usize),
    /// The statement with this number.
    Prepare(u32),
    /// So many descriptions of it follow.
    Descriptions(u32, u64),
    Done,
}

impl Restore {
    pub(crate) fn new(login: Login, password: &str, kept: &Kept) -> Self {
        Self { login, password: password.to_owned(), kept: kept.clone(), step: Step::Greeting }
    }

    /// What is kept, with the new server's numbers.
    pub(crate) fn done(self) -> Kept {
        debug_assert_eq!(self.step, Step::Done);
        self.kept
    }

    /// The server said `payload` in its packet `number`; it speaks first.
    pub fn heard(&mut self, number: u8, payload: &[u8]) -> Said {
        let first = payload.first().copied();
        match self.step {
            Step::Greeting => {
                let Some(greeting) = Greeting::parse(payload) else { return Said::Failed("no greeting") };
                let Some(login) = self.login.again(&greeting, &self.password) else {
                    return Said::Failed("the server cannot do what the client relies on");
                };
                self.step = Step::Authentication;
                Said::Say(packet(number.wrapping_add(1), &login))
            }
            Step::Authentication => match first {
                Some(0) => self.next_setting(0),
                Some(0xfe) => match challenge(payload) {
                    Some(challenge) => Said::Say(packet(number.wrapping_add(1), &prove(&self.password, challenge))),
                    None => Said::Failed("it logs in in another way"),
                },
                _ => Said::Failed("the login is refused"),
            },
            Step::Setting(place) if first == Some(0) => self.next_setting(place + 1),
            Step::Setting(_) => Said::Failed("a setting is refused"),
            Step::Prepare(name) => self.prepared(name, payload),
            Step::Descriptions(name, 0..=1) => self.next_statement(Some(name)),
            Step::Descriptions(name, left) => {
                self.step = Step::Descriptions(name, left - 1);
                Said::Hear
            }
            Step::Done => Said::Failed("the server speaks unasked"),
        }
    }

    fn next_setting(&mut self, place: usize) -> Said {
        let Some(text) = self.kept.settings.get(place) else { return self.next_statement(None) };
        self.step = Step::Setting(place);
        Said::Say(say(command::QUERY, text))
    }

    /// The statement behind the one with this number.
    fn next_statement(&mut self, before: Option<u32>) -> Said {
        let next = match before {
            None => self.kept.statements.iter().next(),
            Some(before) => self.kept.statements.range(before..).nth(1),
        };
        let Some((name, Statement { text, .. })) = next else {
            self.step = Step::Done;
            return Said::Done;
        };
        let words = say(command::STMT_PREPARE, text);
        self.step = Step::Prepare(*name);
        Said::Say(words)
    }

    fn prepared(&mut self, name: u32, payload: &[u8]) -> Said {
        let Some(Prepared { here, columns, parameters }) = Prepared::parse(payload) else {
            return Said::Failed("a statement is refused");
        };
        let Some(statement) = self.kept.statements.get_mut(&name) else { return Said::Failed("no such statement") };
        if (columns, parameters) != (statement.columns, statement.parameters) {
            return Said::Failed("a statement has become another one");
        }
        (statement.here, statement.typed) = (here, false);
        match self.login.descriptions(columns, parameters) {
            0 => self.next_statement(Some(name)),
            packets => {
                self.step = Step::Descriptions(name, packets);
                Said::Hear
            }
        }
    }
}

fn say(command: u8, text: &[u8]) -> Vec<u8> {
    packet(0, &[&[command], text].concat())
}

/// The challenge of a server that asks for a password anew.
fn challenge(payload: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(payload.get(1..)?);
    (fields.until_zero()? == NATIVE).then(|| fields.0.strip_suffix(&[0]).unwrap_or(fields.0))
}
