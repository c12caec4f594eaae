use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Row;
use triad_model::{DatabaseRole, Secret};

use crate::plan::{DatabasePlan, REPLICATION_USER};
use crate::seed::seed_position;
use crate::sql::{Sql, literal, text};
use crate::{DatabaseError, Passwords};

/// What a running server says of itself: all that [`crate::next_steps`] and [`crate::report`] decide from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// `@@read_only`.
    pub read_only: bool,
    /// `@@rpl_semi_sync_master_enabled`: set by us; whether it is in effect is a status variable.
    pub semi_sync_enabled: bool,
    /// `@@gtid_binlog_pos`, the last transaction in its own binary log: `0-1-42`.
    pub logged: String,
    /// `@@gtid_slave_pos`, the last transaction of a primary that it applied.
    pub applied: String,
    /// Whether the application's schema is there.
    pub schema: bool,
    /// Accounts that are ours, or nobody's.
    pub accounts: Vec<Account>,
    /// Connections of replicas that were ended [`STUCK_S`] ago or longer and have not gone.
    pub stuck_replicas: u64,
    /// `SHOW SLAVE STATUS`, if it was ever told to replicate.
    pub replication: Option<Replication>,
    /// The position seeding left, until replication is configured from it.
    pub seed_position: Option<String>,
    /// `SHOW GLOBAL STATUS`, names in lower case.
    pub status: BTreeMap<String, String>,
}

/// Seconds in which a connection that was ended is gone, if it is not stuck.
const STUCK_S: u64 = 2;

impl Observed {
    /// A numeric status variable; 0 if there is none of that name.
    pub fn counter(&self, name: &str) -> u64 {
        self.status.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// Replicas attached that can acknowledge, whether or not they are asked to.
    pub fn replicas_connected(&self) -> u64 {
        self.counter("rpl_semi_sync_master_clients")
    }

    /// Whether commits wait for an acknowledgement.
    pub fn semi_sync(&self) -> bool {
        self.status.get("rpl_semi_sync_master_status").is_some_and(|value| value == "ON")
    }
}

/// An account with its password's hash and its privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User name; empty for anonymous accounts.
    pub user: String,
    /// Where it may come from.
    pub host: String,
    /// As MariaDB stores it.
    pub password_hash: Secret,
    /// What it may do, by where.
    pub grants: Vec<Grant>,
}

/// Privileges in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The schema as a GRANT pattern, `None` for all.
    pub schema: Option<String>,
    /// Names of privileges as MariaDB lists them.
    pub privileges: BTreeSet<String>,
}

/// State of a replica's receiving thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// Connected to the primary.
    Running,
    /// Trying to connect.
    Connecting,
    /// Not trying.
    Stopped,
}

/// `SHOW SLAVE STATUS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// The primary's address.
    pub host: String,
    /// The primary's port.
    pub port: u16,
    /// The account.
    pub user: String,
    /// `Slave_Pos` as we configure it.
    pub using_gtid: String,
    /// The receiving thread.
    pub receiver: Receiver,
    /// Whether the applying thread runs.
    pub applier: bool,
    /// Seconds behind the primary, while both run.
    pub lag_s: Option<u64>,
    /// The last transaction that it received: `0-1-42`.
    pub received: String,
    /// The receiver's last error: number, 0 for none, and text.
    pub receiver_error: (u32, String),
    /// The applier's last error.
    pub applier_error: (u32, String),
}

/// Asks the running server for everything.
pub(crate) async fn observe(sql: &mut Sql, plan: &DatabasePlan) -> Result<Observed, DatabaseError> {
    let seed_position = match plan.role() {
        DatabaseRole::Primary => None,
        DatabaseRole::Replica => seed_position(plan)?,
    };
    let replication = sql.rows("show its replication", "SHOW SLAVE STATUS").await?.first().map(replication);
    let status = sql.rows("show its status", "SHOW GLOBAL STATUS").await?;
    let observed = Observed {
        replication,
        seed_position,
        accounts: accounts(sql, plan).await?,
        status: status.iter().map(|row| (text(row, 0).to_ascii_lowercase(), text(row, 1))).collect(),
        ..settings(sql, plan).await?
    };
    Ok(observed)
}

async fn settings(sql: &mut Sql, plan: &DatabasePlan) -> Result<Observed, DatabaseError> {
    let statement = format!(
        "SELECT @@read_only, @@rpl_semi_sync_master_enabled, @@gtid_binlog_pos, @@gtid_slave_pos, \
         EXISTS (SELECT * FROM information_schema.schemata WHERE schema_name = {}), \
         (SELECT COUNT(*) FROM information_schema.processlist \
          WHERE user = {} AND command = 'Killed' AND time >= {STUCK_S})",
        literal(&plan.schema),
        literal(REPLICATION_USER)
    );
    let rows = sql.rows("show its settings", &statement).await?;
    let column = |index: usize| rows.first().map(|row| text(row, index)).unwrap_or_default();
    Ok(Observed {
        read_only: column(0) == "1",
        semi_sync_enabled: column(1) == "1",
        logged: column(2),
        applied: column(3),
        schema: column(4) == "1",
        stuck_replicas: column(5).parse().unwrap_or_default(),
        ..Observed::default()
    })
}

/// The application's and the replicas' accounts, and anonymous ones.
async fn accounts(sql: &mut Sql, plan: &DatabasePlan) -> Result<Vec<Account>, DatabaseError> {
    let users = format!("('', {}, {})", literal(&plan.user), literal(REPLICATION_USER));
    let statement = format!(
        "SELECT User, Host, authentication_string, CONCAT('''', User, '''@''', Host, '''') \
         FROM mysql.user WHERE User IN {users} ORDER BY User, Host"
    );
    let rows = sql.rows("list its accounts", &statement).await?;
    let mut grants = grants(sql).await?;
    let account = |row: &Row| Account {
        user: text(row, 0),
        host: text(row, 1),
        password_hash: Secret::new(text(row, 2)),
        grants: grants.remove(&text(row, 3)).unwrap_or_default(),
    };
    Ok(rows.iter().map(account).collect())
}

/// Everybody's privileges, by account as the information schema writes it.
async fn grants(sql: &mut Sql) -> Result<BTreeMap<String, Vec<Grant>>, DatabaseError> {
    const PRIVILEGES: &str = "\
        SELECT grantee, '' AS place, privilege_type, is_grantable FROM information_schema.user_privileges \
        WHERE privilege_type <> 'USAGE' \
        UNION ALL \
        SELECT grantee, table_schema, privilege_type, is_grantable FROM information_schema.schema_privileges \
        ORDER BY grantee, place";
    let mut grants: BTreeMap<String, Vec<Grant>> = BTreeMap::new();
    for row in sql.rows("list its privileges", PRIVILEGES).await? {
        let schema = Some(text(&row, 1)).filter(|place| !place.is_empty());
        let mut privilege = text(&row, 2);
        if text(&row, 3) == "YES" {
            privilege.push_str(" WITH GRANT OPTION");
        }
        let of_account = grants.entry(text(&row, 0)).or_default();
        match of_account.last_mut().filter(|grant| grant.schema == schema) {
            Some(grant) => grant.privileges.extend([privilege]),
            None => of_account.push(Grant { schema, privileges: BTreeSet::from([privilege]) }),
        }
    }
    Ok(grants)
}

pub(crate) fn replication(row: &Row) -> Replication {
    let number = |column: &str| text(row, column).parse::<u32>().unwrap_or_default();
    Replication {
        host: text(row, "Master_Host"),
        port: text(row, "Master_Port").parse().unwrap_or_default(),
        user: text(row, "Master_User"),
        using_gtid: text(row, "Using_Gtid"),
        receiver: match text(row, "Slave_IO_Running").as_str() {
            "Yes" => Receiver::Running,
            "No" => Receiver::Stopped,
            _ => Receiver::Connecting,
        },
        applier: text(row, "Slave_SQL_Running") == "Yes",
        lag_s: text(row, "Seconds_Behind_Master").parse().ok(),
        received: text(row, "Gtid_IO_Pos"),
        receiver_error: (number("Last_IO_Errno"), text(row, "Last_IO_Error")),
        applier_error: (number("Last_SQL_Errno"), text(row, "Last_SQL_Error")),
    }
}

/// The hashes MariaDB keeps of our passwords: the application's, the replicas'. Statements with hashes instead of
/// passwords keep the latter out of the binary log and the process list.
pub(crate) async fn password_hashes(sql: &mut Sql, passwords: &Passwords) -> Result<(Secret, Secret), DatabaseError> {
    let hash = |secret: &Secret| format!("PASSWORD({})", literal(secret.expose_secret()));
    let statement = format!("SELECT {}, {}", hash(&passwords.app), hash(&passwords.replication));
    let rows = sql.rows("hash passwords", &statement).await?;
    let column = |index: usize| Secret::new(rows.first().map(|row| text(row, index)).unwrap_or_default());
    Ok((column(0), column(1)))
}
