use serde::{Deserialize, Serialize};

use crate::{DatabaseRoute, Design, ServerName};

/// An operator's word that another server is the database's primary than the file says, where servers cannot agree on that
/// by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// Grows with each.
    pub number: u64,
    /// The primary.
    pub primary: ServerName,
    /// Whom the file named when it was said.
    pub instead_of: ServerName,
}

impl Promotion {
    /// Whether it is about `design`: it is not once the file names another one than it did.
    pub fn is_about(&self, design: &Design) -> bool {
        let Some(database) = &design.database else { return false };
        database.primary == self.instead_of && database.members().any(|name| *name == self.primary)
    }

    /// Where connections to the database lead by it.
    pub fn route(&self) -> DatabaseRoute {
        DatabaseRoute { epoch: self.number, primary: Some(self.primary.clone()), readable: Vec::new() }
    }
}
