//! Which database is the primary. Pure: a server's view in, what that server does next out, with a sentence.
//!
//! Every agent of a database's server asks [`decide`] again and again, with what it knows then. What they agree on is
//! one [`Record`], changed by compare-and-swap only. Commits are semi-synchronous: one that is acknowledged has reached
//! the primary's binary log and at least one replica that may acknowledge (`AFTER_SYNC`), or the record says that there
//! is no such replica.
//!
//! Safety rules. The simulation in `tests/` breaks each of them on purpose and sees a write lost, or two primaries; only
//! the seventh costs no more than a failover for nothing.
//!
//! 1. *Who may acknowledge is in the record.* A replica acknowledges only while the record names it in the in-sync set.
//!    The one exception is the way back of a primary that is alone: nobody else may take over then.
//! 2. *The set shrinks at the replica first.* The primary bars a replica, then what that one may have acknowledged reaches
//!    another that stays, then the record loses it, and only when the record names nobody else does the primary stop
//!    waiting. It grows the other way round.
//! 3. *Stop, then measure.* A replica takes over only when each member of the in-sync set but the old primary has
//!    stopped receiving for this very version of the record, and said then how far it got: no acknowledgement can come
//!    after that.
//! 4. *Who stopped starts again only under another version*, which it makes itself if nobody else does. So a claim that
//!    rests on its having stopped fails.
//! 5. *The most advanced one takes over*, by what was received. Before it claims, it has applied all of that: a relay log
//!    is lost when its server restarts (MDEV-4698). Who has less leaves the set.
//! 6. *Who restarted does not count* until it has caught up with a living primary, for the same reason.
//! 7. *Two observers*: nobody is replaced because one server does not hear it.
//! 8. *The record is read before a database starts.* Superseded, it starts as a replica, which takes back what was never
//!    acknowledged (MDEV-21117, MDEV-33465); still named, as the primary, which keeps it.
//! 9. *A write that was sent may arrive late.* A primary that relies on being alone, or on not being so, relies on a
//!    version that it made after whatever it sent before.
//! 10. *Who hands over has closed before.* Its successor has all that was ever written; it takes writes again only under
//!     a version that it made since, for what it handed over may still arrive.

#![forbid(unsafe_code)]

mod decide;
mod primary;
mod replica;
mod view;
mod yielding;

pub use decide::{Decided, Decision, Degrading, Promotion, Restoring, Yielding, decide};
pub use view::{Database, Invitation, Member, Position, Record, Said, View};
pub use yielding::obstacle_to;
