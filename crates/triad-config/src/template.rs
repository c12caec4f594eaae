//! The four designs `triad init` writes: the examples themselves.

use std::fmt;
use std::str::FromStr;

/// A design `triad init` can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesignKind {
    /// One server carries everything.
    Simple,
    /// A balancer, two application servers, a primary and a replica.
    Distributed,
    /// Three servers with firewalls, HTTPS and monitoring.
    Secured,
    /// Each component on servers of its own.
    Scaled,
}

impl DesignKind {
    /// All of them, from the smallest.
    pub const ALL: [Self; 4] = [Self::Simple, Self::Distributed, Self::Secured, Self::Scaled];

    /// As the command line and the folder under `examples/` call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Distributed => "distributed",
            Self::Secured => "secured",
            Self::Scaled => "scaled",
        }
    }
}

impl fmt::Display for DesignKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no design.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such design: write simple, distributed, secured or scaled")]
pub struct UnknownDesign;

impl FromStr for DesignKind {
    type Err = UnknownDesign;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownDesign)
    }
}

/// The commented file of a design.
pub fn template(kind: DesignKind) -> &'static str {
    match kind {
        DesignKind::Simple => include_str!("../../../examples/simple/triad.toml"),
        DesignKind::Distributed => include_str!("../../../examples/distributed/triad.toml"),
        DesignKind::Secured => include_str!("../../../examples/secured/triad.toml"),
        DesignKind::Scaled => include_str!("../../../examples/scaled/triad.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::{DesignKind, UnknownDesign};

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in DesignKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("Simple".parse::<DesignKind>(), Err(UnknownDesign));
    }
}
