//! Times that one part acts by and another predicts with: `triad check` says from them what a failure costs, and a
//! drill holds it to that. They stand here once, so that a prediction cannot fall behind what it predicts.

/// How long a commit waits for a replica's acknowledgement before MariaDB turns semi-sync off until the replica has
/// caught up (`rpl_semi_sync_master_timeout`; decision 0004), in milliseconds.
///
/// Only for designs that do not fail over (`Design::fails_over`): nothing promotes a replica there, so a transaction that
/// only the primary has cannot be lost to a promotion, and a dead replica should cost one short wait, not the site's
/// writes. Where a replica takes over by itself, the in-sync set that is agreed on takes this one's place: a finite time-out
/// would lose acknowledged writes.
pub const SEMI_SYNC_TIMEOUT_MS: u64 = 1000;

/// The longest that writes wait, where a design fails over, after the process of the primary, or of its only replica,
/// died, in milliseconds: its server's agent says so at once, so nobody has to wait for silence.
pub const FAILOVER_TOLD_MS: u64 = 250;

/// The same after a server with a database fell silent, or lost its private link or its disk, in milliseconds: heartbeats
/// notice that ([`HEARTBEAT_TIMEOUT_MS`]), and the voters may have to agree on a leader of their own first, if theirs was
/// there.
pub const FAILOVER_SILENT_MS: u64 = 1200;

/// Time between two checks of an application instance by the edge on its server, and what each may take, in
/// milliseconds: often, because a check on loopback is cheap.
pub const INSTANCE_CHECK_MS: u32 = 500;

/// Time between two looks of a name server's agent at each front server, and what each may take, in milliseconds.
pub const FRONT_CHECK_MS: u64 = 500;

/// Failed looks in a row after which a front server is left out of DNS answers, and good ones that bring it back.
pub const FRONT_CHECK_COUNT: u32 = 2;

/// The longest a front server that went silent stays in DNS answers: as many looks as it takes, each after its
/// interval and each timing out, in milliseconds.
pub const DNS_LEAVES_OUT_MS: u64 = FRONT_CHECK_COUNT as u64 * (FRONT_CHECK_MS + FRONT_CHECK_MS);

/// Time between two beats that a server sends to every other one, in milliseconds.
pub const HEARTBEAT_MS: u64 = 100;

/// Time without a beat after which a server is silent, in milliseconds.
pub const HEARTBEAT_TIMEOUT_MS: u64 = 500;

/// The longest that requests wait for a server that fell silent before a balancer sends them elsewhere, in milliseconds:
/// the time-out, the beat with which others say that they do not hear it either, a quick check, and three beats' time for
/// whoever must notice, say and do it.
pub const HEARTBEAT_NOTICED_MS: u64 = HEARTBEAT_TIMEOUT_MS + 6 * HEARTBEAT_MS;
