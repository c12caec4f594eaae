//! How much an edge has room for, whatever the file says: connections, and requests under way. Each connection is an open
//! file, and each request may need another, to a backend or on the disk; without files, nobody could be served. A connection
//! that switched protocols holds its file to a backend, and counts as a request for as long.
//!
//! Of the files that the edge may have open, a quarter is for clients' connections (up to a half, if the file says so),
//! an eighth for those of the design's own servers, an eighth for all else, and what is left for requests under way.
//!
//! Invariant: what is there is never turned away for what comes. New connections are refused first, while requests on
//! the others still find room; those of the design's own servers have room of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::serve::Shared;

/// Files that a process may have open where the system does not say it.
const FILES_ASSUMED: u64 = 1024;
/// Part of the requests under way beyond which no new connections are taken.
const BUSY_EIGHTHS: u64 = 7;

/// The room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    clients: Seats,
    own: Seats,
    /// Requests that each worker may have under way.
    requests_max: AtomicU64,
}

/// Connections of one kind.
#[derive(Debug, Default)]
struct Seats {
    taken: AtomicU64,
    max: AtomicU64,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    Client,
    /// A server of the design: another edge, or a name server that checks.
    Own,
}

/// A connection that has room as long as this lives.
pub(crate) struct Seat(Arc<Shared>, Guest);

impl Room {
    /// Shares `files` out, with so many for clients if the file says so, among `workers`. What is there stays.
    pub fn furnish(&self, files: u64, site_connections: Option<u32>, workers: usize) {
        let clients = site_connections.map_or(files / 4, |wanted| u64::from(wanted).min(files / 2));
        let (own, other) = (files / 8, files / 8);
        self.clients.max.store(clients.max(1), Relaxed);
        self.own.max.store(own.max(1), Relaxed);
        let requests = files.saturating_sub(clients + own + other);
        self.requests_max.store((requests / workers.max(1) as u64).max(1), Relaxed);
    }

    /// Clients' connections at the most.
    pub fn connections_max(&self) -> u64 {
        self.clients.max.load(Relaxed)
    }

    /// Whether a worker with so many requests under way has more than there is room for.
    pub fn is_over(&self, in_flight: u64) -> bool {
        in_flight > self.requests_max.load(Relaxed)
    }

    fn seats(&self, guest: Guest) -> &Seats {
        match guest {
            Guest::Client => &self.clients,
            Guest::Own => &self.own,
        }
    }
}

impl Seat {
    /// Room for one more, at a worker with so many requests under way.
    pub fn take(shared: &Arc<Shared>, guest: Guest, in_flight: u64) -> Option<Self> {
        let room = &shared.room;
        if guest == Guest::Client && in_flight > room.requests_max.load(Relaxed) * BUSY_EIGHTHS / 8 {
            return None;
        }
        let seats = room.seats(guest);
        let max = seats.max.load(Relaxed);
        let taken = seats.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < max).then_some(taken + 1));
        taken.is_ok().then(|| Self(shared.clone(), guest))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.room.seats(self.1).taken.fetch_sub(1, Relaxed);
    }
}

/// Files that this process may have open at one time.
pub(crate) fn files_max() -> u64 {
    std::fs::read_to_string("/proc/self/limits").ok().and_then(|text| files_in(&text)).unwrap_or(FILES_ASSUMED)
}

/// The soft limit in the text of `/proc/self/limits` (proc_pid_limits(5)).
fn files_in(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Room, files_in, files_max};

    #[test]
    fn the_shares_never_exceed_the_files() {
        let room = Room::default();
        for files in [0, 7, 1024, 65_536] {
            for wanted in [None, Some(1), Some(100), Some(1_000_000)] {
                room.furnish(files, wanted, 2);
                let requests = 2 * room.requests_max.load(super::Relaxed);
                let own = room.own.max.load(super::Relaxed);
                let sum = room.connections_max() + own + requests + files / 8;
                assert!(sum <= files.max(4) + 4, "{files} {wanted:?}: {sum}");
            }
        }
        room.furnish(65_536, None, 2);
        assert_eq!((room.connections_max(), room.is_over(16_384), room.is_over(16_385)), (16_384, false, true));
        room.furnish(65_536, Some(1_000_000), 2);
        assert_eq!(room.connections_max(), 32_768);
    }

    #[test]
    fn the_system_says_how_many_files() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             31744                31744                processes \n\
                    Max open files            4096                 1048576              files     \n";
        assert_eq!(files_in(text), Some(4096));
        assert_eq!(
            files_in("Max open files            unlimited            unlimited            files"),
            Some(u64::MAX)
        );
        assert_eq!(files_in("nothing of it"), None);
        assert!(files_max() > 2);
    }
}
