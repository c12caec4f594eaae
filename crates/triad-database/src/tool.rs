//! MariaDB's own programs: where they are, how they are run, what is said when they fail.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{DatabaseError, DatabasePlan, RunAs};

/// A program of MariaDB's.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    /// Its name, also of its log.
    pub(crate) name: &'static str,
    directory: &'static str,
    package: &'static str,
}

/// The server.
pub(crate) const SERVER: Tool = Tool { name: "mariadbd", directory: "/usr/sbin", package: "mariadb-server" };
/// Makes the first data directory.
pub(crate) const INSTALL: Tool = Tool { name: "mariadb-install-db", directory: "/usr/bin", package: "mariadb-server" };
/// Copies a running server, and makes a copy consistent.
pub(crate) const BACKUP: Tool = Tool { name: "mariadb-backup", directory: "/usr/bin", package: "mariadb-backup" };
/// Unpacks what [`BACKUP`] streams.
pub(crate) const UNPACK: Tool = Tool { name: "mbstream", directory: "/usr/bin", package: "mariadb-backup" };

impl Tool {
    /// Its path, if it is installed.
    pub(crate) fn program(self) -> Result<PathBuf, DatabaseError> {
        let program = Path::new(self.directory).join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        Err(DatabaseError::NotInstalled { program, package: self.package })
    }

    /// Where its messages go.
    pub(crate) fn log(self, plan: &DatabasePlan) -> PathBuf {
        plan.layout.log.join(format!("{}.log", self.name))
    }

    /// A command that logs, inherits nothing, and dies with its handle.
    pub(crate) fn command(self, plan: &DatabasePlan) -> Result<Command, DatabaseError> {
        let log = self.log(plan);
        let logs = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = logs.map_err(DatabaseError::file("create", &log))?;
        let mut command = Command::new(self.program()?);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&plan.layout.data)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts `command`.
    pub(crate) fn start(self, plan: &DatabasePlan, command: &mut Command) -> Result<Child, DatabaseError> {
        command.spawn().map_err(|error| self.failure(plan, format!("could not be started: {error}")))
    }

    /// Waits for `child` to succeed; kills it when `limit` is over.
    pub(crate) async fn finish(
        self,
        plan: &DatabasePlan,
        child: &mut Child,
        limit: Duration,
    ) -> Result<(), DatabaseError> {
        match timeout(limit, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failure(plan, outcome(status))),
            Ok(Err(error)) => Err(self.failure(plan, format!("could not be waited for: {error}"))),
            Err(_) => {
                // Reaps as well; it can only fail if the process has ended by now.
                let _ = child.kill().await;
                Err(self.failure(plan, format!("was killed after {} s without end", limit.as_secs())))
            }
        }
    }

    fn failure(self, plan: &DatabasePlan, outcome: String) -> DatabaseError {
        DatabaseError::Tool { tool: self.name, outcome, log: self.log(plan) }
    }
}

fn outcome(status: ExitStatus) -> String {
    format!("failed ({status})")
}

/// Lets `command` run as `account`, if that is not who runs already: in a user namespace with one id nobody may
/// change it.
pub(crate) fn run_as(command: &mut Command, account: RunAs) {
    if nix::unistd::geteuid().as_raw() != account.uid {
        command.uid(account.uid).gid(account.gid);
    }
}
