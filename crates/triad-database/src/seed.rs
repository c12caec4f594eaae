use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;
use triad_model::DatabaseRole;

use crate::apply::{adopt_side_directory, fresh_side_directory};
use crate::files::{absent_is_none, is_empty, remove_if_there, write_atomically};
use crate::tool::{BACKUP, UNPACK, run_as};
use crate::{DatabaseError, DatabasePlan};

/// Silence after which a copy has failed.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Time a tool has to end once its stream has.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Time to replay what was written during the copy; as long as it is, a lost server must not wait for ever.
const PREPARE_LIMIT: Duration = Duration::from_secs(3600);
/// What is read from the stream at once, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;
/// The last file a complete stream holds.
const LAST_FILE: &str = "xtrabackup_info";
/// Where the copy says which transaction it ends with: binary log, offset and GTID, separated by tabs.
const BINLOG_INFO: &str = "xtrabackup_binlog_info";

/// Whether this server must be seeded before its mariadbd may start: a replica without data.
pub fn needs_seed(plan: &DatabasePlan) -> Result<bool, DatabaseError> {
    Ok(plan.role() == DatabaseRole::Replica && is_empty(&plan.data_directory())?)
}

/// A copy of the running primary, as it streams. Dropping it kills the tool.
#[derive(Debug)]
pub struct Backup {
    child: Child,
    stdout: ChildStdout,
    plan: DatabasePlan,
}

impl Backup {
    /// The stream, in xbstream format. Its end alone does not mean success: ask [`Backup::finish`].
    pub fn stdout(&mut self) -> &mut ChildStdout {
        &mut self.stdout
    }

    /// After the end of the stream: whether the copy is good. Whoever sent it on must break the transfer if not.
    pub async fn finish(mut self) -> Result<(), DatabaseError> {
        BACKUP.finish(&self.plan, &mut self.child, END_LIMIT).await
    }
}

/// On the primary: copies the running server without stopping writes.
///
/// mariadb-backup runs as the caller, who must be root, because it logs in as root by the socket and reads the files.
/// Must be called within a tokio runtime.
pub fn backup_stream(plan: &DatabasePlan) -> Result<Backup, DatabaseError> {
    let mut command = BACKUP.command(plan)?;
    command
        .args(["--no-defaults", "--backup", "--stream=xbstream", "--user=root"])
        .arg(format!("--socket={}", plan.socket().display()))
        .arg(format!("--datadir={}", plan.data_directory().display()))
        .arg(format!("--tmpdir={}", plan.temporary_directory().display()))
        .stdout(Stdio::piped());
    let mut child = BACKUP.start(plan, &mut command)?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe just above");
    Ok(Backup { child, stdout, plan: plan.clone() })
}

/// On an empty replica, before its mariadbd starts: turns a primary's stream into the data directory.
///
/// `progress` is told the bytes received so far. The data directory appears complete or not at all; after an error
/// the whole is to be tried again. Beside the data lies the position the copy ends with, from which
/// [`crate::Reconciler`] starts to replicate.
pub async fn seed(
    plan: &DatabasePlan,
    reader: impl AsyncRead + Unpin,
    progress: impl FnMut(u64),
) -> Result<(), DatabaseError> {
    let data = plan.data_directory();
    if !is_empty(&data)? {
        return Err(DatabaseError::NotEmpty { path: data });
    }
    let side = fresh_side_directory(plan)?;
    let bytes = unpack(plan, &side, reader, progress).await?;
    if !side.join(LAST_FILE).is_file() {
        return Err(DatabaseError::SeedIncomplete { bytes });
    }
    make_consistent(plan, &side).await?;
    remember_position(&side)?;
    adopt_side_directory(plan)
}

async fn unpack(
    plan: &DatabasePlan,
    side: &Path,
    mut reader: impl AsyncRead + Unpin,
    mut progress: impl FnMut(u64),
) -> Result<u64, DatabaseError> {
    let mut command = UNPACK.command(plan)?;
    command.arg("--extract").arg(format!("--directory={}", side.display())).stdin(Stdio::piped());
    run_as(&mut command, plan.run_as);
    let mut child = UNPACK.start(plan, &mut command)?;
    let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe just above");
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let count = read(&mut reader, &mut chunk).await.map_err(|source| DatabaseError::SeedRead { bytes, source })?;
        // A tool that no longer reads has said why in its log: its exit status is the better error.
        if count == 0 || stdin.write_all(&chunk[..count]).await.is_err() {
            break;
        }
        bytes += count as u64;
        progress(bytes);
    }
    drop(stdin);
    UNPACK.finish(plan, &mut child, END_LIMIT).await?;
    Ok(bytes)
}

async fn read(reader: &mut (impl AsyncRead + Unpin), chunk: &mut [u8]) -> io::Result<usize> {
    timeout(STALL_LIMIT, reader.read(chunk)).await?
}

async fn make_consistent(plan: &DatabasePlan, side: &Path) -> Result<(), DatabaseError> {
    let mut command = BACKUP.command(plan)?;
    command
        .args(["--no-defaults", "--prepare"])
        .arg(format!("--target-dir={}", side.display()))
        .arg(format!("--tmpdir={}", plan.temporary_directory().display()));
    run_as(&mut command, plan.run_as);
    let mut child = BACKUP.start(plan, &mut command)?;
    BACKUP.finish(plan, &mut child, PREPARE_LIMIT).await
}

fn remember_position(side: &Path) -> Result<(), DatabaseError> {
    let path = side.join(BINLOG_INFO);
    let text = fs::read_to_string(&path).map_err(DatabaseError::file("read", &path))?;
    write_atomically(&position_file(side), gtid(&text), 0o644)
}

/// The GTID position in [`BINLOG_INFO`]; empty if the primary had written nothing yet.
fn gtid(binlog_info: &str) -> &str {
    binlog_info.trim_end_matches('\n').split('\t').nth(2).unwrap_or_default()
}

/// The position that seeding left in `plan`'s data, if replication did not begin since.
pub fn seed_position(plan: &DatabasePlan) -> Result<Option<String>, DatabaseError> {
    let path = position_file(&plan.data_directory());
    absent_is_none(fs::read_to_string(&path)).map_err(DatabaseError::file("read", &path))
}

/// Replication began from there: it is not needed any more.
pub fn forget_seed_position(plan: &DatabasePlan) -> Result<(), DatabaseError> {
    remove_if_there(&position_file(&plan.data_directory()))
}

/// Where a seeded data directory keeps its position until replication is configured.
pub(crate) fn position_file(data_directory: &Path) -> PathBuf {
    data_directory.join("triad-seed-position")
}

#[cfg(test)]
mod tests {
    use super::gtid;

    #[test]
    fn the_position_is_the_third_field() {
        assert_eq!(gtid("binlog.000001\t325\t0-1-42\n"), "0-1-42");
        assert_eq!(gtid("binlog.000001\t325\t0-1-42,1-2-3\n"), "0-1-42,1-2-3");
        assert_eq!(gtid("binlog.000001\t325\t\n"), "");
    }
}
