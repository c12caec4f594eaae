use std::io;
use std::path::{Path, PathBuf};

/// Why the database is not as planned.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A program of MariaDB is not installed.
    #[error("{} is not there: apt-get install {package}", program.display())]
    NotInstalled {
        /// Where it should be.
        program: PathBuf,
        /// Debian's package that has it.
        package: &'static str,
    },
    /// The Unix socket's path does not fit the kernel's `sun_path` (unix(7)).
    #[error("the socket path {} has {} bytes, the kernel takes {max}: use a shorter run directory", path.display(),
        path.as_os_str().len())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// The longest possible.
        max: usize,
    },
    /// A file or directory could not be worked with.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// The verb: `create`, `read`.
        what: &'static str,
        /// What it was about.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// One of MariaDB's tools failed.
    #[error("{tool} {outcome}; its messages are in {}", log.display())]
    Tool {
        /// The program.
        tool: &'static str,
        /// How it ended, as a verb phrase.
        outcome: String,
        /// Its output.
        log: PathBuf,
    },
    /// Seeding would overwrite data.
    #[error("{} holds data: a replica is only seeded when it is empty; move the directory away first", path.display())]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// The seed stream broke.
    #[error("reading the copy of the primary failed after {bytes} bytes: {source}; it starts again from the beginning")]
    SeedRead {
        /// Bytes received before.
        bytes: u64,
        /// The reader's error; `TimedOut` when it was silent for too long.
        source: io::Error,
    },
    /// The seed stream ended before the backup did.
    #[error("the copy of the primary is incomplete ({bytes} bytes); it starts again from the beginning")]
    SeedIncomplete {
        /// Bytes received.
        bytes: u64,
    },
    /// The running server refused a statement, or hung up.
    #[error("mariadbd refused to {what}: {source}")]
    Sql {
        /// What was asked, never the statement: it may hold a password.
        what: String,
        /// The server's or the connection's error.
        source: Box<mysql_async::Error>,
    },
    /// The running server did not answer in time.
    #[error("mariadbd took longer than {limit_ms} ms to {what}")]
    Slow {
        /// What was asked.
        what: String,
        /// The deadline, in milliseconds.
        limit_ms: u64,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes for a password: {0}")]
    Random(getrandom::Error),
}

impl DatabaseError {
    /// For `map_err`: what could not be done to which path.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }
}
