//! Who decides, where servers must agree.

use crate::{Database, Design, Role, Server, ServerName};

/// How many servers vote: any two are a majority, so one may die. More would cost each decision more.
pub const VOTERS: usize = 3;

impl Design {
    /// The servers that vote on which database is the primary: those of the databases, then others, as the file lists
    /// them. None unless there is a replica to promote and [`VOTERS`] servers with private addresses: with two, neither
    /// can tell a dead one from one that is out of reach.
    pub fn voters(&self) -> Vec<&ServerName> {
        if self.database.as_ref().is_none_or(|database| database.replicas.is_empty()) {
            return Vec::new();
        }
        let eligible = |server: &&Server| server.private.is_some();
        let databases = self.database.iter().flat_map(Database::members).filter_map(|name| self.server(name));
        let others = self.servers.iter().filter(|server| !self.carries(&server.name, Role::Database));
        let voters: Vec<_> = databases.chain(others).filter(eligible).map(|server| &server.name).take(VOTERS).collect();
        if voters.len() == VOTERS { voters } else { Vec::new() }
    }

    /// Whether a replica takes over by itself when the primary dies.
    pub fn fails_over(&self) -> bool {
        !self.voters().is_empty()
    }
}
