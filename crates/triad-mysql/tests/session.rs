//! Conversations in bytes, as MariaDB 10.11 and its clients have them, cut into reads in any way.

use proptest::prelude::*;
use triad_mysql::{Account, Head, Said, Session};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}
use Side::{Client, Server};

type Conversation = Vec<(Side, Vec<u8>)>;

const ACCOUNT: Account<'_> = Account { user: "app", password: "hunter2" };
/// Capabilities: those of protocol 4.1 with a proof of 20 bytes, and with a status in place of marks (EOF).
const KNOWN: u32 = 1 << 9 | 1 << 15;
const DEPRECATE_EOF: u32 = 1 << 24;
/// Flags of a status.
const AUTOCOMMIT: u16 = 2;
const IN_TRANSACTION: u16 = 1;
const MORE_RESULTS: u16 = 8;

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
    [&length[..3], &[number], payload].concat()
}

fn greeting() -> Vec<u8> {
    let mut payload = b"\x0a5.5.5-10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0".to_vec();
    payload.extend_from_slice(
        b"\xfe\xf7\x2d\x02\0\xbf\x81\x15\0\0\0\0\0\0\x1d\0\0\0ijklmnopqrst\0mysql_native_password\0",
    );
    payload
}

fn login(capabilities: u32) -> Vec<u8> {
    let mut payload = (KNOWN | capabilities).to_le_bytes().to_vec();
    payload.extend_from_slice(b"\0\0\0\x01\x2d");
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"app\0\x14aaaaaaaaaaaaaaaaaaaa");
    payload
}

fn ok(status: u16) -> Vec<u8> {
    [&[0, 0, 0][..], &status.to_le_bytes(), &[0, 0]].concat()
}

fn mark(status: u16) -> Vec<u8> {
    [&[0xfe, 0, 0][..], &status.to_le_bytes()].concat()
}

/// What follows the greeting and the login.
struct Script {
    conversation: Conversation,
    has_marks: bool,
}

impl Script {
    fn begin(has_marks: bool) -> Self {
        let capabilities = if has_marks { 0 } else { DEPRECATE_EOF };
        let conversation = vec![
            (Server, packet(0, &greeting())),
            (Client, packet(1, &login(capabilities))),
            (Server, packet(2, &ok(2))),
        ];
        Self { conversation, has_marks }
    }

    fn say(mut self, command: u8, argument: &[u8]) -> Self {
        self.conversation.push((Client, packet(0, &[&[command], argument].concat())));
        self
    }

    /// The server's packets, numbered.
    fn hear(mut self, payloads: &[Vec<u8>]) -> Self {
        let bytes: Vec<u8> = (1..).zip(payloads).flat_map(|(number, payload)| packet(number, payload)).collect();
        self.conversation.push((Server, bytes));
        self
    }

    fn query(self, text: &str, answer: &[Vec<u8>]) -> Self {
        self.say(3, text.as_bytes()).hear(answer)
    }

    /// `count` rows of two columns, and how they end.
    fn rows(&self, count: usize, status: u16) -> Vec<Vec<u8>> {
        let mut packets = vec![vec![2], b"\x03defcolumn".to_vec(), b"\x03defcolumn".to_vec()];
        packets.extend(self.has_marks.then(|| mark(status)));
        packets.extend(std::iter::repeat_n(b"\x03abc\xfb".to_vec(), count));
        let end = if self.has_marks { mark(status) } else { [&[0xfe][..], &ok(status)[1..]].concat() };
        packets.push(end);
        packets
    }

    /// The answer to a statement that was prepared.
    fn prepared(&self, number: u32, columns: u8, parameters: u8) -> Vec<Vec<u8>> {
        let mut packets = vec![[&[0][..], &number.to_le_bytes(), &[columns, 0, parameters, 0, 0, 0, 0]].concat()];
        for count in [parameters, columns] {
            packets.extend(std::iter::repeat_n(b"\x03defcolumn".to_vec(), count.into()));
            packets.extend((count > 0 && self.has_marks).then(|| mark(2)));
        }
        packets
    }
}

/// Every kind of statement, that leaves what can be made again.
fn long(has_marks: bool) -> Script {
    let script = Script::begin(has_marks);
    let [many, none, more] = [script.rows(5, AUTOCOMMIT), script.rows(0, AUTOCOMMIT), script.rows(1, MORE_RESULTS)];
    let prepared = script.prepared(7, 1, 2);
    let progress = b"\xff\xff\xff\x01\x01\x02abc".to_vec();
    let execution = b"\x07\0\0\0\0\x01\0\0\0\0\x01\x03\0\x03\0abcd";
    script
        .query("SET NAMES utf8mb4", &[ok(AUTOCOMMIT)])
        .query("SELECT a, b FROM t", &many)
        .query("SELECT a, b FROM nothing", &none)
        .query("SELECT * FROM nowhere", &[b"\xff\x7a\x04#42S02no".to_vec()])
        .query("ALTER TABLE t FORCE", &[progress, ok(AUTOCOMMIT)])
        .say(0x16, b"SELECT ? + ?")
        .hear(&prepared)
        .say(0x17, execution)
        .hear(&many)
        .query("BEGIN", &[ok(AUTOCOMMIT | IN_TRANSACTION)])
        .query("INSERT INTO t VALUES (1)", &[ok(AUTOCOMMIT | IN_TRANSACTION)])
        .query("COMMIT", &[ok(AUTOCOMMIT)])
        .query("SELECT 1, 2", &[more, vec![ok(AUTOCOMMIT)]].concat())
        .say(0x02, b"other")
        .hear(&[ok(AUTOCOMMIT)])
        .say(0x0e, b"")
        .hear(&[ok(AUTOCOMMIT)])
}

/// Has a session read it all, as it comes in reads that end at each of `cuts`, in turn; what went on.
fn follow(conversation: &Conversation, cuts: &[usize]) -> (Session, Conversation) {
    let (mut session, mut passed) = (Session::default(), Conversation::new());
    let mut cuts = cuts.iter().copied().cycle();
    for (from, bytes) in conversation {
        let (mut waiting, mut rest, mut out) = (Vec::new(), &bytes[..], Vec::new());
        while !rest.is_empty() {
            let (read, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
            waiting.extend_from_slice(read);
            rest = after;
            let length = match from {
                Client => session.client_said(&mut waiting).expect("nothing is refused"),
                Server => session.server_said(&mut waiting),
            };
            out.extend(waiting.drain(..length));
        }
        out.extend(waiting);
        passed.push((*from, out));
    }
    (session, passed)
}

/// What is said to another server, which agrees to everything, to bring it there.
fn restored(session: &Session) -> Result<Vec<String>, &'static str> {
    let mut restore = session.restore(ACCOUNT)?;
    let mut said = Vec::new();
    let mut heard = greeting();
    loop {
        match restore.heard(0, &heard) {
            Said::Say(words) => {
                let head = Head::parse(&words).expect("a packet");
                assert_eq!(head.length, words.len() - 4);
                heard = match words[4] {
                    0x16 => b"\0\x01\0\0\0\x01\0\x02\0\0\0\0".to_vec(),
                    _ => ok(AUTOCOMMIT),
                };
                said.push(String::from_utf8_lossy(&words[4..]).escape_default().to_string());
            }
            Said::Hear => heard = b"\x03defcolumn".to_vec(),
            Said::Done => return Ok(said),
            Said::Failed(why) => panic!("{why}"),
        }
    }
}

#[test]
fn a_session_at_rest_is_made_again() {
    for has_marks in [true, false] {
        let script = long(has_marks);
        let (session, passed) = follow(&script.conversation, &[usize::MAX]);
        assert!(session.is_at_rest() && passed == script.conversation);
        let said = restored(&session).expect("it can be");
        assert!(
            said[0].contains("app\\u{0}\\u{14}") && said[0].contains("other\\u{0}mysql_native_password"),
            "{said:?}"
        );
        assert_eq!(said[1..], ["\\u{3}SET NAMES utf8mb4", "\\u{16}SELECT ? + ?"]);
    }
}

#[test]
fn what_is_under_way_is_not_at_rest() {
    let script = Script::begin(true);
    let rows = script.rows(3, AUTOCOMMIT);
    let rest = |script: &Script| follow(&script.conversation, &[usize::MAX]).0.is_at_rest();
    assert!(rest(&script));
    let script = script.say(3, b"SELECT 1");
    assert!(!rest(&script), "no answer yet");
    let script = script.hear(&rows[..rows.len() - 1]);
    assert!(!rest(&script), "rows may follow");
    let autocommit_off = Script::begin(true).query("SET autocommit = 0", &[ok(0)]);
    assert!(rest(&autocommit_off));
    let failed = autocommit_off.query("SELECT a FROM t FOR UPDATE", &[b"\xff\xb5\x04#40001no".to_vec()]);
    assert!(!rest(&failed), "a transaction may have begun, and an error does not say");
    let values = Script::begin(true);
    let prepared = values.prepared(1, 0, 1);
    let values = values.say(0x16, b"INSERT INTO t VALUES (?)").hear(&prepared).say(0x18, b"\x01\0\0\0\0\0abc");
    assert!(!rest(&values), "it is yet to be executed");
    assert!(rest(&values.say(0x17, b"\x01\0\0\0\0\x01\0\0\0\0\x01\xfc\0").hear(&[ok(AUTOCOMMIT)])));
}

#[test]
fn what_is_not_understood_is_copied() {
    let twice = Script::begin(true);
    let prepared = twice.prepared(1, 0, 0);
    let twice = twice.say(0x16, b"SELECT 1").hear(&prepared).say(0x16, b"SELECT 2").hear(&prepared);
    let cases: [(&str, Script); 7] = [
        ("a number that is given twice", twice),
        ("an unknown command", Script::begin(true).say(0x12, b"binary log")),
        ("another user", Script::begin(true).say(0x11, b"app")),
        ("a local file", Script::begin(true).query("SELECT 1", &[b"\xfbname".to_vec()])),
        ("a statement before the answer", Script::begin(true).say(3, b"SELECT 1").say(3, b"SELECT 2")),
        ("a server that speaks first", Script::begin(true).hear(&[ok(2)])),
        ("the end", Script::begin(true).say(1, b"")),
    ];
    for (what, script) in cases {
        let (session, passed) = follow(&script.conversation, &[usize::MAX]);
        assert!(session.is_opaque() && session.restore(ACCOUNT).is_err(), "{what}");
        assert_eq!(passed, script.conversation, "{what}");
    }
    let encrypted = vec![(Server, packet(0, &greeting())), (Client, packet(1, &login(1 << 11)[..32]))];
    assert!(follow(&encrypted, &[usize::MAX]).0.is_opaque());
    let other = vec![(Client, b"GET / HTTP/1.1\r\n\r\n".to_vec())];
    assert!(follow(&other, &[usize::MAX]).0.is_opaque());
}

proptest! {
    /// However bytes are cut into reads, the same goes on, and the same is known.
    #[test]
    fn cuts_change_nothing(has_marks: bool, cuts in prop::collection::vec(1usize..40, 1..20)) {
        let script = long(has_marks);
        let (session, passed) = follow(&script.conversation, &cuts);
        prop_assert_eq!(passed, script.conversation);
        prop_assert!(session.is_at_rest());
        prop_assert_eq!(restored(&session).expect("it can be").len(), 3);
    }

    /// Whatever is said, it goes on as it is as long as nothing was restored, and nothing panics.
    #[test]
    fn any_bytes_go_on(
        said in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..60)), 0..20),
        has_marks: bool, begun: bool, cuts in prop::collection::vec(1usize..40, 1..9),
    ) {
        let mut conversation = if begun { Script::begin(has_marks).conversation } else { Vec::new() };
        conversation.extend(said.into_iter().map(|(is_client, bytes)| (if is_client { Client } else { Server }, bytes)));
        let (_, passed) = follow(&conversation, &cuts);
        prop_assert_eq!(passed, conversation);
    }

    /// The same with packets that are whole, so that more of them mean something.
    #[test]
    fn any_packets_go_on(
        said in prop::collection::vec((any::<bool>(), 0u8..2, prop::collection::vec(0u8..0x20, 0..30)), 0..30),
        has_marks: bool, cuts in prop::collection::vec(1usize..40, 1..9),
    ) {
        let mut conversation = Script::begin(has_marks).conversation;
        conversation.extend(said.into_iter().map(|(is_client, number, payload)| {
            (if is_client { Client } else { Server }, packet(number, &payload))
        }));
        let (_, passed) = follow(&conversation, &cuts);
        prop_assert_eq!(passed, conversation);
    }
}
