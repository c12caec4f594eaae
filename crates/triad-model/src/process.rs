use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A child process as a service wants it; the agent's supervisor runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSpec {
    /// `mariadbd`, `etcd`, `app-1`: unique on a server; also the name of its log, `NAME.log`.
    pub name: String,
    /// The program: a path, or a name to find in `PATH`.
    pub program: PathBuf,
    /// Its arguments. They stand in the process list: never a secret.
    pub args: Vec<String>,
    /// Its whole environment beside `PATH`, `HOME`, `LANG` and `TZ`.
    pub environment: Vec<(String, String)>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Who it runs as.
    pub user: ServiceUser,
    /// Time it has to end after SIGTERM, in milliseconds; then comes SIGKILL.
    pub stop_timeout_ms: u64,
}

/// The accounts services run under. None of them can log in or owns another's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceUser {
    /// What faces users over HTTP.
    Edge,
    /// What answers resolvers.
    Dns,
    /// The team's code.
    App,
    /// MariaDB.
    Database,
    /// etcd.
    Etcd,
}

impl ServiceUser {
    /// All of them.
    pub const ALL: [ServiceUser; 5] = [Self::Edge, Self::Dns, Self::App, Self::Database, Self::Etcd];

    /// The account's name where it exists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "triad-edge",
            Self::Dns => "triad-dns",
            Self::App => "triad-app",
            Self::Database => "triad-database",
            Self::Etcd => "triad-etcd",
        }
    }

    /// The user and group id to run under where no account of that name exists: unused by Debian's ranges for
    /// people (from 1000), containers (from 100000) and systemd's dynamic users (61184 to 65519).
    pub fn fallback_id(self) -> u32 {
        match self {
            Self::Edge => 59_901,
            Self::Dns => 59_902,
            Self::App => 59_903,
            Self::Database => 59_904,
            Self::Etcd => 59_905,
        }
    }
}
