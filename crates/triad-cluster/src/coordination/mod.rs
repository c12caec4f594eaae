//! What servers must agree on: values under keys, changed by compare-and-swap, kept in one file ([`FileHome`], one
//! server) or by three voters ([`Etcd`]). Whoever uses it sees [`Coordination`] and nothing else.
//!
//! ```no_run
//! # async fn example(coordination: triad_cluster::Coordination) -> Result<(), triad_cluster::CoordinationError> {
//! use triad_cluster::{PRIMARY_KEY, Swap};
//!
//! let mut seen = coordination.watch(PRIMARY_KEY); // once; clone the receiver
//! let read = coordination.get(PRIMARY_KEY).await?;
//! match coordination.swap(PRIMARY_KEY, read.map(|read| read.revision), "new").await? {
//!     Swap::Done { revision } => println!("ours stands, under {revision}"),
//!     Swap::Lost(now) => println!("nothing was changed; what stands is {now:?}"),
//! }
//! seen.changed().await.ok();
//! # Ok(())
//! # }
//! ```
//!
//! * **Revisions** grow with every change and are never used twice. A key that was never written has none; keys are
//!   never deleted, so a swap that expects nothing can win only once.
//! * **An error of [`Coordination::swap`] means: not known.** It may have been done, and it may still be done, up to
//!   about ten seconds later (etcd's own deadline). `Lost` is certain: this swap changed nothing and never will.
//! * **Every call ends** within [`CALL_TIMEOUT`].
//! * **[`Coordination::watch`]** shows changes after milliseconds, and reads every [`CONFIRM_EVERY`] besides, so what it
//!   shows cannot stay old unnoticed: `confirmed` is when the last read that succeeded was begun, and a majority has
//!   answered that read. It goes stale when this server is cut off from the majority.

mod etcd;
mod file;
mod watching;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use etcd::{Beginning, ETCD, ETCD_ELECTION_MS, ETCD_HEARTBEAT_MS, Etcd, Seat, Voter};
pub use file::FileHome;

/// The key of the record that says which database is the primary.
pub const PRIMARY_KEY: &str = "triad/database/primary";
/// The key of which design the servers go by.
pub const DESIGN_KEY: &str = "triad/design";
/// All that is agreed upon.
pub const KEYS: [&str; 2] = [PRIMARY_KEY, DESIGN_KEY];
/// How long [`Coordination::get`] and [`Coordination::swap`] take at most. A healthy etcd answers in 3 ms (99 of 100), an
/// election takes 0.3 to 0.6 s.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long each voter is given at first, before the next one is asked. Short, because a voter passes a swap on to the leader
/// that it knows: if that has just died the swap is lost, and nothing tells.
pub const FIRST_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(100);
/// How long each is given after that.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(350);
/// Time between two reads that confirm what a watch shows.
pub const CONFIRM_EVERY: Duration = Duration::from_millis(250);
/// The same of [`Coordination::watch_at_leisure`].
pub const CONFIRM_AT_LEISURE_EVERY: Duration = Duration::from_secs(10);
/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A value, and the revision under which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: String,
    /// What a swap of it has to expect.
    pub revision: u64,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value stands.
    Done {
        /// Under which revision.
        revision: u64,
    },
    /// Another one stood there; nothing was changed, nor will it be. What stands now.
    Lost(Option<Versioned>),
}

/// What a watch has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest value; `None` while there is none, or none was read yet.
    pub value: Option<Versioned>,
    /// This value, or a newer one, is what stood at this moment, by the word of a majority; `None` before the first read.
    pub confirmed: Option<Instant>,
}

/// A voter, as the voters themselves list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// The server; empty before its first start, where it was added later.
    pub name: String,
    /// Where other voters reach it.
    pub peer_urls: Vec<String>,
    /// Where it is asked; empty before its first start.
    pub client_urls: Vec<String>,
}

/// Why something is not known.
#[derive(Debug, thiserror::Error)]
pub enum CoordinationError {
    /// Nobody answered in time, or nobody could: there is no majority, or the disk is too slow.
    #[error("there was no answer: {0}")]
    Unanswered(String),
    /// A swap was sent; whether it was done is not known.
    #[error("what became of the swap is not known: {0}")]
    Unknown(String),
    /// An answer that is none.
    #[error("{place} says what cannot be understood: {reason}")]
    Malformed {
        /// Voter or file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be used.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// A verb.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// More than [`VALUE_BYTES_MAX`].
    #[error("a value has {VALUE_BYTES_MAX} bytes at most, not {0}")]
    TooLong(usize),
}

/// Where what is agreed upon is kept. A clone is another handle to the same.
#[derive(Clone)]
pub enum Coordination {
    /// In a file of this server.
    File(FileHome),
    /// By three voters.
    Etcd(Etcd),
}

impl Coordination {
    /// What stands under `key`, by the word of a majority: no older than the beginning of this call.
    pub async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordinationError> {
        match self {
            Self::File(file) => file.get(key).await,
            Self::Etcd(etcd) => etcd.get(key).await,
        }
    }

    /// Makes `value` stand under `key` if what stands there has the revision `expected` (`None`: nothing stands there).
    pub async fn swap(&self, key: &str, expected: Option<u64>, value: &str) -> Result<Swap, CoordinationError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(CoordinationError::TooLong(value.len()));
        }
        match self {
            Self::File(file) => file.swap(key, expected, value).await,
            Self::Etcd(etcd) => etcd.swap(key, expected, value).await,
        }
    }

    /// Shows what stands under `key`, for as long as somebody holds the receiver. Must be called on a tokio runtime.
    pub fn watch(&self, key: &str) -> watch::Receiver<Seen> {
        watching::start(self.clone(), key.to_owned(), CONFIRM_EVERY)
    }

    /// The same for what nobody decides by: each read costs the voters a round, and news are heard without.
    pub fn watch_at_leisure(&self, key: &str) -> watch::Receiver<Seen> {
        watching::start(self.clone(), key.to_owned(), CONFIRM_AT_LEISURE_EVERY)
    }

    /// Who votes; nobody, where it is a file.
    pub async fn members(&self) -> Result<Vec<Member>, CoordinationError> {
        match self {
            Self::File(_) => Ok(Vec::new()),
            Self::Etcd(etcd) => etcd.members().await,
        }
    }

    /// What stands under each of [`KEYS`] that was ever written. Each is what a majority says, as [`Coordination::get`]
    /// reads it; one may have changed since another was read.
    pub async fn snapshot(&self) -> Result<BTreeMap<String, String>, CoordinationError> {
        let mut values = BTreeMap::new();
        for key in KEYS {
            values.extend(self.get(key).await?.map(|read| (key.to_owned(), read.value)));
        }
        Ok(values)
    }

    /// Shows news of `key` as they are heard, or says that a read may have some. Never ends.
    async fn follow(&self, key: &str, seen: &watch::Sender<Seen>, news: &tokio::sync::Notify) {
        match self {
            Self::File(file) => file.follow(news).await,
            Self::Etcd(etcd) => etcd.follow(key, seen, news).await,
        }
    }
}
