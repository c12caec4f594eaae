//! Which process is meant: its number and when it started, because numbers are used again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// A listener that lives is connected to at once; a full backlog is not.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between two looks at a process that is ending.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A process as this PID namespace sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub pid: i32,
    /// In clock ticks since the machine started: field 22 of `/proc/PID/stat` (proc(5)).
    started_ticks: u64,
}

impl Identity {
    /// The process that listens on `socket`. The kernel keeps its number with the socket and translates it into the
    /// asker's PID namespace (`SO_PEERCRED`, unix(7)), so no record can be wrong. `None` if nobody listens.
    pub async fn listening_on(socket: &Path) -> Option<Self> {
        let stream = timeout(CONNECT_TIMEOUT, UnixStream::connect(socket)).await.ok()?.ok()?;
        Self::of(stream.peer_cred().ok()?.pid()?)
    }

    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started_ticks: started_ticks(&stat)? })
    }

    /// Whether it has neither ended nor become a zombie.
    pub fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills it, if it is still the one it was.
    pub fn kill(self) {
        if self.lives() {
            // It may have ended by itself in between.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Waits until it has ended; whether it has within `limit`.
    pub async fn ended_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.lives() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL_INTERVAL).await;
        }
        true
    }
}

/// When the process of a `/proc/PID/stat` line started; `None` for a zombie. The command's name may hold anything,
/// so fields are counted from the last parenthesis.
fn started_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 3 was taken; 22 is the 18th after field 4.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{Identity, started_ticks};

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let tail = "S 1 7 7 0 -1 4194304 73 0 0 0 0 0 0 0 20 0 1 0 131046 3133440 382";
        for name in ["cat", "a b", ") R 1 2", "((", ""] {
            assert_eq!(started_ticks(&format!("7 ({name}) {tail}")), Some(131_046), "{name:?}");
        }
        assert_eq!(started_ticks(&format!("7 (cat) {}", tail.replacen('S', "Z", 1))), None);
        assert_eq!(started_ticks("7 (cat) S 1 2"), None);
        assert_eq!(started_ticks(""), None);
    }

    #[tokio::test]
    async fn another_process_with_the_same_number_is_not_killed() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let real = Identity::of(child.id().cast_signed()).expect("it runs");
        let recycled = Identity { started_ticks: real.started_ticks + 1, ..real };
        recycled.kill();
        assert!(recycled.ended_within(Duration::ZERO).await && real.lives());
        real.kill();
        assert_eq!(child.wait().expect("ended").code(), None);
        assert!(!real.lives());
    }

    #[tokio::test]
    async fn nobody_is_found_behind_an_abandoned_socket() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let found = Identity::listening_on(&path).await.expect("we listen");
        assert_eq!(found.pid, std::process::id().cast_signed());
        drop(listener);
        assert_eq!(Identity::listening_on(&path).await, None);
    }
}
