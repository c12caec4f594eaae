//! How long today's product takes to notice and to mend, as upper bounds on a server that is not overloaded. A drill
//! compares them with what it measures. What the product itself acts by stands in `triad_model`.

/// A child that dies after a long life is started at once; the kernel holds new connections until it listens again.
pub const EDGE_RESTART_MS: u64 = 1000;
/// The same for the name server.
pub const DNS_RESTART_MS: u64 = 1000;
/// MariaDB's start with crash recovery of a small log.
pub const DATABASE_RESTART_MS: u64 = 3000;
/// An application's own start; the checks that bring it back come on top.
pub const INSTANCE_START_MS: u64 = 1000;
/// What starts a dead agent again (systemd, or the lab's init) and the agent's way to its children's start.
pub const AGENT_RESTART_MS: u64 = 1000;
/// A resolver asks the next name server when one says nothing: glibc's with `timeout:1`, the shortest it can have.
/// Resolvers of providers wait less, and remember who was silent.
pub const RESOLVER_RETRY_MS: u64 = 1000;

/// A backend whose checks pass and whose requests fail is left out after five of them in a row, for a site that is
/// asked several times a second: how soon they fail is the application's own limit for its database, 5 s in the
/// guestbook.
pub const FAILING_MS: u64 = 6000;
