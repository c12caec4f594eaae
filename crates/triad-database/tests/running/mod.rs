//! mariadbd with a supervisor as small as can be.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use mysql_async::{Conn, OptsBuilder};
use triad_database::{DatabasePlan, RunAs, process};
use triad_model::ServiceUser;

/// The longest any of the awaited things may take; a loaded machine needs a good part of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One server's mariadbd.
pub struct Running {
    pub plan: DatabasePlan,
    child: Option<Child>,
}

impl Running {
    pub fn new(plan: DatabasePlan) -> Self {
        Self { plan, child: None }
    }

    pub fn start(&mut self, args: &[String]) {
        let spec = process(&self.plan);
        let log = File::options().create(true).append(true).open(self.plan.layout.log.join("mariadbd.log"));
        let mut command = Command::new(spec.program);
        command.args(spec.args).args(args).current_dir(spec.directory).env_clear().stderr(log.expect("log"));
        if self.plan.run_as.uid != 0 {
            command.uid(self.plan.run_as.uid).gid(self.plan.run_as.gid);
        }
        self.child = Some(command.spawn().expect("mariadbd starts"));
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.plan.layout.log.join("mariadbd.log")).unwrap_or_default()
    }

    pub async fn root(&self) -> Conn {
        let socket = self.plan.socket().display().to_string();
        Conn::new(OptsBuilder::default().socket(Some(socket)).user(Some("root"))).await.expect("root logs in")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The service's own account where ids can be changed, else the only one there is.
pub fn database_account() -> RunAs {
    let map = fs::read_to_string("/proc/self/uid_map").expect("uid_map");
    let ids: u64 = map.split_whitespace().nth(2).and_then(|count| count.parse().ok()).expect("a count of ids");
    let id = ServiceUser::Database.fallback_id();
    let id = if ids > u64::from(id) { id } else { 0 };
    RunAs { uid: id, gid: id }
}

pub fn free_port(address: &str) -> SocketAddr {
    TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr()).expect("a free port")
}

pub async fn until(what: &str, mut good: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !good().await {
        assert!(start.elapsed() < PATIENCE, "never got {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
