//! What keeps a server from doing its work: more to compute and to write than it can, or locked tables.

use std::path::Path;

use crate::writers::TABLE;

/// Bytes that each server's writer writes before it asks for them to be on disk.
const FLUSH_MB: u32 = 16;
/// Locks that nobody releases end after this, in seconds.
const HELD_S_MAX: u32 = 600;

/// What begins and ends it on a server, as shell scripts: a loop for each processor, and one that writes to the disk that
/// the database and etcd are on.
pub(super) fn scripts(state: &Path) -> (String, String) {
    let file = state.join("burden");
    let (file, pid) = (file.display(), state.join("burden.pid"));
    let pid = pid.display();
    let begin = format!(
        "setsid sh -c '
             for processor in $(seq $(nproc)); do while :; do :; done & done
             while :; do dd if=/dev/zero of=\"{file}\" bs=1M count={FLUSH_MB} conv=fsync; done
         ' >/dev/null 2>&1 </dev/null &
         echo $! > '{pid}'"
    );
    // Its server may have died with it.
    let end = format!("kill -KILL -- -$(cat '{pid}'); rm -f '{file}' '{pid}'; true");
    (begin, end)
}

/// What begins and ends it on the server with the sockets in `run`: the drill's tables in `schema` are locked, and
/// replication waits for them. The lock ends with its client, or the database.
pub(super) fn applier_scripts(run: &Path, schema: &str) -> (String, String) {
    let (socket, pid) = (run.join("database/mariadbd.sock"), run.join("applier.pid"));
    let (socket, pid) = (socket.display(), pid.display());
    let lock = format!(
        "LOCK TABLES {schema}.entries READ, {schema}.drill_bank READ, {schema}.{TABLE} READ; DO SLEEP({HELD_S_MAX})"
    );
    let begin = format!(
        "setsid mariadb --no-defaults --socket='{socket}' --execute '{lock}' >/dev/null 2>&1 </dev/null &
         echo $! > '{pid}'"
    );
    (begin, format!("kill -KILL $(cat '{pid}'); rm -f '{pid}'; true"))
}
