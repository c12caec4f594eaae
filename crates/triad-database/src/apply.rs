use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use triad_model::{DatabaseRole, ProcessSpec, ServiceUser};

use crate::files::{directory, flush_file_system, is_empty, remove_tree_if_there, rename, write_atomically};
use crate::plan::my_cnf;
use crate::tool::{INSTALL, SERVER, run_as};
use crate::{DatabaseError, DatabasePlan, RunAs};

/// Longest Unix socket path, in bytes: `sun_path` less its final zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;
/// mariadb-install-db takes about a second; on a very slow disk some.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);
/// A clean shutdown writes dirty pages back; what SIGKILL cuts short, crash recovery does at the next start.
const STOP_TIMEOUT_MS: u64 = 30_000;

/// Makes everything mariadbd needs before it starts; harmless when it is there, and while mariadbd runs.
///
/// A primary without data gets its first; a replica without data is left to [`crate::seed`]. Only the folders of the
/// plan's layout are written to: Debian's own `/etc/mysql` and `/var/lib/mysql` are neither read nor touched.
pub async fn prepare(plan: &DatabasePlan) -> Result<(), DatabaseError> {
    prepare_folders(plan)?;
    if plan.role() == DatabaseRole::Primary && is_empty(&plan.data_directory())? {
        install(plan).await?;
    }
    Ok(())
}

/// The same but for data.
pub fn prepare_folders(plan: &DatabasePlan) -> Result<(), DatabaseError> {
    SERVER.program()?;
    check_socket_path(&plan.socket())?;
    make_directories(plan)?;
    write_atomically(&plan.config_file(), &my_cnf(plan), 0o644)
}

/// Whether there is no data.
pub fn is_without_data(plan: &DatabasePlan) -> Result<bool, DatabaseError> {
    is_empty(&plan.data_directory())
}

/// Puts the data aside, for somebody to look at, in place of what was put aside before. mariadbd must not run.
pub fn put_aside(plan: &DatabasePlan) -> Result<PathBuf, DatabaseError> {
    let aside = plan.layout.data.join("mysql.aside");
    remove_tree_if_there(&aside)?;
    rename(&plan.data_directory(), &aside)?;
    Ok(aside)
}

/// What becomes of transactions that mariadbd finds prepared and logged when it starts after a crash: they may have been
/// acknowledged, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// They are committed: it is the primary still.
    Commit,
    /// They are taken back, and its binary log is cut before them: another one is the primary (MDEV-21117, MDEV-33465).
    TakeBack,
}

/// What mariadbd is told of it, beside the arguments of [`process`].
pub fn recovery_args(recovery: Recovery) -> Vec<String> {
    let role = match recovery {
        Recovery::Commit => "MASTER",
        Recovery::TakeBack => "SLAVE",
    };
    vec![format!("--init-rpl-role={role}")]
}

/// mariadbd as the agent's supervisor runs it. Its log is what it prints.
pub fn process(plan: &DatabasePlan) -> ProcessSpec {
    ProcessSpec {
        name: SERVER.name.into(),
        program: "/usr/sbin/mariadbd".into(),
        args: vec![format!("--defaults-file={}", plan.config_file().display())],
        environment: Vec::new(),
        directory: plan.layout.data.clone(),
        user: ServiceUser::Database,
        stop_timeout_ms: STOP_TIMEOUT_MS,
    }
}

fn check_socket_path(path: &Path) -> Result<(), DatabaseError> {
    if path.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(DatabaseError::SocketPathTooLong { path: path.to_owned(), max: SOCKET_PATH_MAX })
}

fn make_directories(plan: &DatabasePlan) -> Result<(), DatabaseError> {
    directory(&plan.layout.data, 0o700, plan.run_as)?;
    directory(&plan.temporary_directory(), 0o700, plan.run_as)?;
    directory(&plan.layout.run, 0o750, RunAs { gid: plan.relay_gid, ..plan.run_as })?;
    for path in [&plan.layout.config, &plan.layout.log] {
        fs::create_dir_all(path).map_err(DatabaseError::file("create", path))?;
    }
    Ok(())
}

/// Builds the first data directory beside its place and renames it there, so that an interrupted one is never used.
async fn install(plan: &DatabasePlan) -> Result<(), DatabaseError> {
    let side = fresh_side_directory(plan)?;
    let mut command = INSTALL.command(plan)?;
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", side.display()))
        .arg(format!("--tmpdir={}", plan.temporary_directory().display()))
        .args(["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=socket"])
        // It refuses where neither the host's name nor localhost resolves, though accounts here need neither.
        .arg("--force")
        // Without --user it changes no owner of Debian's files, and this keeps it from adding an account of that name.
        .arg("--auth-root-socket-user=root");
    run_as(&mut command, plan.run_as);
    let mut child = INSTALL.start(plan, &mut command)?;
    INSTALL.finish(plan, &mut child, INSTALL_LIMIT).await?;
    adopt_side_directory(plan)
}

/// An empty directory to build data in; what an interrupted attempt left in it is gone.
pub(crate) fn fresh_side_directory(plan: &DatabasePlan) -> Result<PathBuf, DatabaseError> {
    let side = plan.side_directory();
    remove_tree_if_there(&side)?;
    directory(&side, 0o700, plan.run_as)?;
    Ok(side)
}

/// Puts the finished side directory in the place of the data directory, which must be empty or missing.
pub(crate) fn adopt_side_directory(plan: &DatabasePlan) -> Result<(), DatabaseError> {
    let side = plan.side_directory();
    flush_file_system(&side)?;
    rename(&side, &plan.data_directory())
}
