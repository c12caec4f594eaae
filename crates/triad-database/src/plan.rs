use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use triad_model::{
    DATABASE, Database, DatabaseRole, Design, FailoverReport, Promotion, Role, SEMI_SYNC_TIMEOUT_MS, Server, ServerName,
};

/// The account replicas log in with; one per replica's address.
pub const REPLICATION_USER: &str = "triad_replication";

/// The one GTID domain: a single primary writes one stream.
const GTID_DOMAIN_ID: u32 = 0;
/// Connections the server takes; beyond them clients get error 1040.
const CONNECTIONS_MAX: u32 = 200;
/// Memory for InnoDB's pages, in MiB.
const BUFFER_POOL_MIB: u32 = 64;
/// How long binary logs are kept, in seconds: a replica that was away longer must be seeded again.
const BINLOG_KEPT_S: u32 = 7 * 24 * 3600;
/// Silence after which a replica gives its connection to the primary up, in seconds; heartbeats come every 0.5 s.
const REPLICA_NET_TIMEOUT_S: u32 = 3;
/// How long a commit waits where the record says who acknowledges, in milliseconds: until the record says otherwise.
/// Four weeks, for the largest number that MariaDB takes was seen to hang.
const WAIT_MS: u64 = 28 * 24 * 3600 * 1000;
/// Threads that apply on a replica: serial apply falls behind a busy primary, and its backlog is failover time.
const APPLY_THREADS: u32 = 4;

/// Where the database keeps things. The folders are the database's own; [`crate::prepare`] creates them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What must outlive a restart: the data directory is `mysql` in it, temporary tables are in `tmp`.
    pub data: PathBuf,
    /// Socket and process id.
    pub run: PathBuf,
    /// `my.cnf`.
    pub config: PathBuf,
    /// What MariaDB's tools print; the server's own log is its supervisor's.
    pub log: PathBuf,
}

/// The account mariadbd and its tools run under; both ids 0 where it is the only one, as in a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Another server's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The server.
    pub name: ServerName,
    /// Where its database listens.
    pub address: SocketAddr,
}

/// What a database is for, and the others it needs for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Takes writes, and sends them to these.
    Primary {
        /// The replicas.
        replicas: Vec<Member>,
    },
    /// Holds a copy of this one.
    Replica {
        /// The primary.
        primary: Member,
    },
}

/// What one server's database should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePlan {
    /// The server.
    pub server: ServerName,
    /// Primary or replica, and of whom.
    pub duty: Duty,
    /// Whether the cluster's record says who is the primary, and not the file.
    pub by_record: bool,
    /// Whether an operator says who is the primary, and not the file: a replica that is that takes over, and who was that
    /// before follows it with the data that it has.
    pub by_hand: bool,
    /// Where it listens for TCP; `None` in a design of one server, where the Unix socket is enough.
    pub listen: Option<SocketAddr>,
    /// MariaDB's `server_id`: the server's place in the file, from 1.
    pub server_id: u32,
    /// The application's schema.
    pub schema: String,
    /// The application's account.
    pub user: String,
    /// Where things are.
    pub layout: Layout,
    /// Who it runs as.
    pub run_as: RunAs,
    /// The group of the relay, which alone reaches the socket beside root. Some client libraries ask for the socket's path
    /// over TCP and go there (`prefer_socket`): an application that could would have its own server's database, whoever is
    /// the primary.
    pub relay_gid: u32,
}

impl Duty {
    /// Of `server`, where `primary` is the one.
    fn of(design: &Design, server: &ServerName, primary: &ServerName) -> Option<Self> {
        if server != primary {
            return Some(Self::Replica { primary: member(design, primary)? });
        }
        let others = design.database.iter().flat_map(Database::members).filter(|name| *name != server);
        Some(Self::Primary { replicas: others.filter_map(|name| member(design, name)).collect() })
    }
}

impl DatabasePlan {
    /// What `server`'s database should be; `None` if it carries none.
    pub fn of(design: &Design, server: &ServerName, layout: Layout, run_as: RunAs) -> Option<Self> {
        let database = design.database.as_ref().filter(|_| design.carries(server, Role::Database))?;
        let index = design.servers.iter().position(|listed| listed.name == *server)?;
        let duty = Duty::of(design, server, &database.primary)?;
        let alone = design.servers.len() == 1;
        Some(Self {
            server: server.clone(),
            duty,
            by_record: design.fails_over(),
            by_hand: false,
            listen: member(design, server).filter(|_| !alone).map(|own| own.address),
            server_id: u32::try_from(index).ok()? + 1,
            schema: database.name.clone(),
            user: database.user.clone(),
            layout,
            run_as,
            relay_gid: run_as.gid,
        })
    }

    /// The same server with another duty.
    pub fn with_duty(&self, duty: Duty) -> Self {
        Self { duty, ..self.clone() }
    }

    /// The same server by `promotion`, which is about `design`.
    pub fn promoted(&self, design: &Design, promotion: &Promotion) -> Option<Self> {
        let duty = Duty::of(design, &self.server, &promotion.primary)?;
        Some(Self { by_hand: true, ..self.with_duty(duty) })
    }

    /// Primary or replica.
    pub fn role(&self) -> DatabaseRole {
        match self.duty {
            Duty::Primary { .. } => DatabaseRole::Primary,
            Duty::Replica { .. } => DatabaseRole::Replica,
        }
    }

    /// The same, by what is known of the cluster's record; as the file says, while nothing is.
    pub fn role_by(&self, failover: &FailoverReport) -> DatabaseRole {
        match &failover.primary {
            None => self.role(),
            Some(primary) if *primary == self.server => DatabaseRole::Primary,
            Some(_) => DatabaseRole::Replica,
        }
    }

    /// Replicas the primary should have; 0 on a replica.
    pub fn replicas_expected(&self) -> u64 {
        match &self.duty {
            Duty::Primary { replicas } => replicas.len() as u64,
            Duty::Replica { .. } => 0,
        }
    }

    /// MariaDB's data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.layout.data.join("mysql")
    }

    /// Where the data directory is built before it is renamed into its place.
    pub(crate) fn side_directory(&self) -> PathBuf {
        self.layout.data.join("mysql.new")
    }

    /// Temporary tables, on disk because they may be large.
    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.layout.data.join("tmp")
    }

    /// The server's Unix socket. Anybody on the server may connect to it; who may log in is MariaDB's business.
    pub fn socket(&self) -> PathBuf {
        self.layout.run.join("mariadbd.sock")
    }

    /// Where mariadbd writes its process id.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.layout.run.join("mariadbd.pid")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.layout.config.join("my.cnf")
    }
}

impl Member {
    /// The database of `server`, if others can reach it.
    pub fn of(server: &Server) -> Option<Self> {
        let address: IpAddr = server.private?;
        Some(Self { name: server.name.clone(), address: SocketAddr::new(address, DATABASE) })
    }
}

fn member(design: &Design, name: &ServerName) -> Option<Member> {
    Member::of(design.server(name)?)
}

/// `my.cnf` for `plan`. It does not depend on primary or replica: a server that changes sides needs no restart.
pub fn my_cnf(plan: &DatabasePlan) -> String {
    let mut text = String::from("# Written by triad; it is overwritten at every start.\n[mariadbd]\n");
    let sections = [
        ("Where", places(plan)),
        ("Who may connect", access(plan)),
        ("Data: InnoDB alone, because only it can be rolled back; durable at every commit", storage()),
        ("Replication: never writable and never replicating before the agent says so", replication(plan)),
        ("Semi-sync: the agent enables the primary's side once a replica is attached", semi_sync(plan.by_record)),
    ];
    for (title, settings) in sections {
        text.push_str(&format!("\n# {title}\n"));
        for (name, value) in settings {
            text.push_str(&format!("{name} = {value}\n"));
        }
    }
    text
}

type Settings = Vec<(&'static str, String)>;

fn places(plan: &DatabasePlan) -> Settings {
    let path = |path: &Path| path.display().to_string();
    let mut settings = vec![
        ("datadir", path(&plan.data_directory())),
        ("tmpdir", path(&plan.temporary_directory())),
        ("socket", path(&plan.socket())),
        ("pid_file", path(&plan.pid_file())),
    ];
    if plan.run_as.uid == 0 {
        // mariadbd refuses to be root unless it is told so by name.
        settings.push(("user", "root".into()));
    }
    settings
}

fn access(plan: &DatabasePlan) -> Settings {
    let mut settings = match plan.listen {
        Some(listen) => vec![("bind_address", listen.ip().to_string()), ("port", listen.port().to_string())],
        None => vec![("skip_networking", "1".into())],
    };
    settings.extend([
        ("skip_name_resolve", "1".into()),
        ("max_connections", CONNECTIONS_MAX.to_string()),
        ("local_infile", "0".into()),
        ("secure_file_priv", plan.temporary_directory().display().to_string()),
        ("symbolic_links", "0".into()),
        ("ssl", "0".into()),
    ]);
    settings
}

fn storage() -> Settings {
    vec![
        ("default_storage_engine", "InnoDB".into()),
        ("enforce_storage_engine", "InnoDB".into()),
        ("character_set_server", "utf8mb4".into()),
        ("innodb_buffer_pool_size", format!("{BUFFER_POOL_MIB}M")),
        ("innodb_flush_log_at_trx_commit", "1".into()),
        ("performance_schema", "0".into()),
    ]
}

fn replication(plan: &DatabasePlan) -> Settings {
    vec![
        ("server_id", plan.server_id.to_string()),
        ("gtid_domain_id", GTID_DOMAIN_ID.to_string()),
        ("gtid_strict_mode", "1".into()),
        ("read_only", "1".into()),
        ("skip_slave_start", "1".into()),
        ("log_bin", "binlog".into()),
        ("relay_log", "relay".into()),
        ("log_slave_updates", "1".into()),
        ("binlog_format", "ROW".into()),
        ("binlog_expire_logs_seconds", BINLOG_KEPT_S.to_string()),
        ("sync_binlog", "1".into()),
        // By the record, who restarted counts only when it has caught up, since its relay log is gone then (MDEV-4698):
        // a flush of that for each event would cost every commit, and save nothing.
        ("sync_relay_log", u8::from(!plan.by_record).to_string()),
        ("slave_net_timeout", REPLICA_NET_TIMEOUT_S.to_string()),
        ("slave_parallel_threads", APPLY_THREADS.to_string()),
        ("slave_parallel_mode", "optimistic".into()),
    ]
}

fn semi_sync(by_record: bool) -> Settings {
    let timeout_ms = if by_record { WAIT_MS } else { SEMI_SYNC_TIMEOUT_MS };
    vec![
        // By the record, only those acknowledge that it names.
        ("rpl_semi_sync_slave_enabled", u8::from(!by_record).to_string()),
        // Stopping replication asks the primary to end its side; a dead one must not hold that up for long.
        ("rpl_semi_sync_slave_kill_conn_timeout", "1".into()),
        ("rpl_semi_sync_master_wait_point", "AFTER_SYNC".into()),
        ("rpl_semi_sync_master_wait_no_slave", "1".into()),
        ("rpl_semi_sync_master_timeout", timeout_ms.to_string()),
    ]
}
