//! All servers of a design on one machine: a network namespace for each and one for a client, with the agent that
//! runs on a real server in each.
//!
//! # The process tree
//! ```text
//! unshare ─ holder           process 1 of the lab's PID namespace; owns the bridges `public` and `private`
//!            ├─ unshare ─ init of srv1     process 1 of the server's PID namespace: plays systemd's part
//!            │             └─ triad agent  and everything it starts
//!            ├─ unshare ─ init of srv2 …
//!            └─ unshare ─ init of client
//!                          └─ entrance     127.0.0.1:PORT of the host, passed on to the site
//! ```
//!
//! # Invariants
//! * Killing the holder makes the kernel take every process, namespace, interface and packet filter of the lab with
//!   it, because all of them belong to its PID namespace. Nothing else has to work for a lab to go away.
//! * The one thing that stays is the lab's directory; [`Lab::down`] and the next [`Lab::up`] remove it.
//! * Until [`Lab::up`] has succeeded the holder lives only as long as the process that started it: it watches a
//!   socket between them. So a killed or interrupted `up` leaves nothing running.
//! * Processes are found by connecting to their Unix socket and asking the kernel who listens, never by a recorded
//!   number, so a stranger that got a dead process's number is never signalled or entered.
//! * A lab needs no rights on the host: an ordinary user's runs in a user namespace, in which that user is root.
//!
//! # Hidden commands
//! The binary must give three commands to this crate before it starts a runtime or a thread: [`HOLDER_COMMAND`] to
//! [`holder_main`], [`SERVER_COMMAND`] to [`server_main`] and [`ENTRANCE_COMMAND`] to [`entrance_main`].

#![forbid(unsafe_code)]

mod copy;
mod directory;
mod disk;
mod down;
mod enter;
mod entrance;
mod files;
mod holder;
mod identity;
mod lab;
mod network;
mod preflight;
mod protocol;
mod record;
mod reserve;
mod server;
mod status;
mod up;

pub use down::DownSummary;
pub use entrance::entrance_main;
pub use holder::holder_main;
pub use lab::{InvalidLabName, Lab, LabEntry, LabName, client};
pub use protocol::{HolderStatus, LinkState, MemberStatus, ServiceStatus};
pub use reserve::Reservation;
pub use server::server_main;
pub use status::{LabStatus, ServerStatus};
pub use up::{Progress, Step, StepTime, UpOptions, UpSummary};

/// `triad lab-holder --dir DIR`: see [`holder_main`].
pub const HOLDER_COMMAND: &str = "lab-holder";
/// `triad lab-server --dir DIR --name NAME`: see [`server_main`].
pub const SERVER_COMMAND: &str = "lab-server";
/// `triad lab-entrance --dir DIR`: see [`entrance_main`].
pub const ENTRANCE_COMMAND: &str = "lab-entrance";
