//! The ways to the database, as the design has them. Who of its servers is asked is `lead`'s to know.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use triad_model::{DATABASE, Design, Role, Secret, ServerName};

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayTarget {
    /// Another server.
    Tcp(SocketAddr),
    /// This server.
    Unix(PathBuf),
}

/// How the database's servers are reached, on servers of applications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseWays {
    /// Each that the design has.
    pub servers: BTreeMap<ServerName, RelayTarget>,
    /// Somebody is going to say who the primary is: connections are held until then. For designs with automatic
    /// failover, whose file may name a primary that is one no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Whose connections are carried to another database, instead of being cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<DatabaseAccount>,
}

/// The account of the design's application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseAccount {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl DatabaseWays {
    /// The ways from `server`, whose own database listens on `socket`, for an application with `password`.
    pub(crate) fn of(design: &Design, server: &ServerName, socket: Option<PathBuf>, password: Option<Secret>) -> Self {
        let Some(database) = design.database.as_ref().filter(|_| design.carries(server, Role::App)) else {
            return Self::default();
        };
        let way = |name: &ServerName| match name == server {
            true => socket.clone().map(RelayTarget::Unix),
            false => {
                let address = design.server(name)?.private?;
                Some(RelayTarget::Tcp(SocketAddr::new(address, DATABASE)))
            }
        };
        let servers = database.members().filter_map(|name| Some((name.clone(), way(name)?))).collect();
        let account = password.map(|password| DatabaseAccount { user: database.user.clone(), password });
        Self { servers, held: design.fails_over(), account: account.filter(|_| design.fails_over()) }
    }

    /// The way to the primary that the file names.
    pub(crate) fn to_primary(&self, design: &Design) -> Option<RelayTarget> {
        self.servers.get(&design.database.as_ref()?.primary).cloned()
    }

    /// Whose way `target` is.
    pub(crate) fn whose(&self, target: &RelayTarget) -> Option<&ServerName> {
        self.servers.iter().find(|(_, way)| *way == target).map(|(name, _)| name)
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
