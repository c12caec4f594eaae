//! Connections that the relay carries from one real MariaDB to another, and those that it must not.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, TxOpts};
use tempfile::TempDir;
use triad_model::{DatabaseRoute, Secret, ServerName};
use triad_proxy::{DatabaseAccount, DatabaseWays, Edge, EdgePlan, RelayTarget};

use crate::bed::*;

const USER: &str = "app";
const PASSWORD: &str = "hunter2";
/// Long enough that what is not held would be answered.
const MOMENT: Duration = Duration::from_millis(200);
/// What each of them holds.
const CONTENT: &str = "CREATE USER 'app'@'%' IDENTIFIED BY 'hunter2'; CREATE DATABASE site; CREATE DATABASE other;
    GRANT ALL ON *.* TO 'app'@'%'; CREATE TABLE site.t (id INT AUTO_INCREMENT PRIMARY KEY, text LONGTEXT);";

/// A real server with data of its own.
struct Database {
    port: u16,
    socket: PathBuf,
    process: Child,
    _folder: TempDir,
}

impl Database {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
        let data = format!("--datadir={}", folder.path().join("data").display());
        // Whoever starts removes others' temporary tables where those are in the same folder.
        let own = format!("--tmpdir={}", folder.path().display());
        let install = ["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal", "--user=root"];
        let installed = Command::new("mariadb-install-db").args(install).args([&data, &own]).output().expect("it runs");
        assert!(installed.status.success(), "{installed:?}");
        let (port, socket) = (nowhere().port(), folder.path().join("socket"));
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let mut process = Command::new("mariadbd");
        process.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--skip-name-resolve", &data, &own]);
        process.args([
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            "--max-allowed-packet=64M",
        ]);
        process.arg(format!("--port={port}")).arg(format!("--socket={}", socket.display())).stderr(log);
        let process = process.spawn().expect("it starts");
        let database = Self { port, socket, process, _folder: folder };
        until("it answers", || database.run(CONTENT).is_some());
        database
    }

    /// What root's `statements` give; `None` if it does not answer.
    fn run(&self, statements: &str) -> Option<String> {
        let socket = format!("--socket={}", self.socket.display());
        let output =
            Command::new("mariadb").args(["--no-defaults", "--user=root", "-N", &socket, "-e", statements]).output();
        let output = output.expect("it runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A relay that leads to either of two.
struct Bed {
    databases: [Database; 2],
    edge: Edge,
    address: SocketAddr,
    epoch: u64,
    /// Whom it leads to.
    primary: usize,
}

fn server(number: usize) -> ServerName {
    ServerName::new(format!("srv{number}")).expect("a name")
}

impl Bed {
    fn start() -> Self {
        let databases = [Database::start(), Database::start()];
        let way = |database: &Database| RelayTarget::Tcp(SocketAddr::from(([127, 0, 0, 1], database.port)));
        let servers = databases.iter().enumerate().map(|(number, database)| (server(number), way(database)));
        let account = Some(DatabaseAccount { user: USER.to_owned(), password: Secret::new(PASSWORD) });
        let relay = Some(way(&databases[0]));
        let database = DatabaseWays { servers: servers.collect(), held: true, account };
        let (edge, address) = edge("relay", EdgePlan { relay, database, ..plan() });
        let mut bed = Self { databases, edge, address, epoch: 0, primary: 1 };
        bed.switch();
        bed
    }

    /// Leads to the other one.
    fn switch(&mut self) {
        self.epoch += 1;
        self.primary = 1 - self.primary;
        self.lead(Some(self.primary));
    }

    fn lead(&self, primary: Option<usize>) {
        self.edge.route_database(DatabaseRoute {
            epoch: self.epoch,
            primary: primary.map(server),
            readable: Vec::new(),
        });
    }

    fn port(&self) -> u16 {
        self.databases[self.primary].port
    }

    fn options(&self) -> Opts {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.address.port());
        let options = options.user(Some(USER)).pass(Some(PASSWORD)).db_name(Some("site")).prefer_socket(false);
        options.max_allowed_packet(Some(64 << 20)).wait_timeout(Some(600)).into()
    }

    async fn client(&self) -> Conn {
        Conn::new(self.options()).await.expect("a connection")
    }

    fn carried(&self) -> u64 {
        self.edge.report().relay.carried
    }
}

/// What a query for one value answers.
async fn one(client: &mut Conn, query: &str) -> Result<String, mysql_async::Error> {
    client.query_first(query).await.map(|value| value.expect("a row"))
}

/// Who answers `client`.
async fn port(client: &mut Conn) -> u16 {
    one(client, "SELECT @@port").await.expect("an answer").parse().expect("a port")
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("in time") })
}

#[test]
fn a_connection_at_rest_goes_on_at_another_database() {
    let mut bed = Bed::start();
    run(async {
        its_state_goes_with_it(&mut bed).await;
        its_prepared_statements_go_with_it(&mut bed).await;
        a_pool_gives_connections_back_and_goes_on(&mut bed).await;
        whatever_is_said_before_it_is_found_at_rest(&mut bed).await;
        a_statement_waits_while_nobody_takes_it(&mut bed).await;
    });
    the_command_line_client_goes_on(&mut bed);
    assert_eq!(bed.edge.report().relay.cut, 0);
    run(one_whose_database_dies_goes_on(&mut bed));
}

async fn its_state_goes_with_it(bed: &mut Bed) {
    let mut client = bed.client().await;
    client.query_drop("SET time_zone = '+03:00'").await.expect("a setting");
    client.query_drop("SET NAMES latin1").await.expect("a setting");
    let before = bed.carried();
    for turn in 1..=5 {
        client.query_drop("INSERT INTO t (text) VALUES ('a@b.c')").await.expect("a row");
        let failed = client.query_drop("SELECT nothing FROM nowhere").await;
        assert!(matches!(failed, Err(mysql_async::Error::Server(_))), "{failed:?}");
        bed.switch();
        assert_eq!(port(&mut client).await, bed.port());
        let state = one(&mut client, "SELECT CONCAT(@@time_zone, ' ', @@character_set_results, ' ', DATABASE())").await;
        assert_eq!(state.expect("an answer"), "+03:00 latin1 site");
        assert_eq!(bed.carried(), before + turn);
    }
    let mut transaction = client.start_transaction(TxOpts::default()).await.expect("begun");
    transaction.query_drop("INSERT INTO t (text) VALUES ('in a transaction')").await.expect("a row");
    transaction.commit().await.expect("committed");
    bed.switch();
    assert_eq!(port(&mut client).await, bed.port());
}

async fn its_prepared_statements_go_with_it(bed: &mut Bed) {
    let mut client = bed.client().await;
    let sum = client.prep("SELECT ? + ?, @@port").await.expect("prepared");
    let plain = client.prep("SELECT @@port").await.expect("prepared");
    let write = client.prep("INSERT INTO t (text) VALUES (?)").await.expect("prepared");
    for turn in 0..4 {
        let row: Option<(u64, u16)> = client.exec_first(&sum, (turn, 2)).await.expect("a row");
        assert_eq!(row, Some((turn + 2, bed.port())));
        client.exec_drop(&write, ("x".repeat(turn as usize * 9_000),)).await.expect("written");
        assert_eq!(client.exec_first::<u16, _, _>(&plain, ()).await.expect("a row"), Some(bed.port()));
        // One more each time, whose number at its server another one may have for the client.
        let more = client.prep(format!("SELECT {turn}, ?, 1")).await.expect("prepared");
        assert_eq!(client.exec_first(&more, ("b",)).await.expect("a row"), Some((turn, "b".to_owned(), 1)));
        bed.switch();
    }
    client.close(plain).await.expect("closed");
    bed.switch();
    assert_eq!(client.exec_first(&sum, (1, 1)).await.expect("a row"), Some((2, bed.port())));
}

async fn a_pool_gives_connections_back_and_goes_on(bed: &mut Bed) {
    let pool = Pool::new(OptsBuilder::from_opts(bed.options()).setup(vec!["SET time_zone = '+00:00'"]));
    for _ in 0..3 {
        let mut client = pool.get_conn().await.expect("a connection");
        let row: Option<(u16, String)> = client.exec_first("SELECT @@port, @@time_zone", ()).await.expect("a row");
        assert_eq!(row, Some((bed.port(), "+00:00".to_owned())));
        client.query_drop("SET @left = 1").await.expect("a variable, which is gone when it is given back");
        drop(client);
        // It is asked to forget what was set, in the background.
        tokio::time::sleep(MOMENT).await;
        bed.switch();
    }
    pool.disconnect().await.expect("all are closed");
}

/// Rows, packets of more than 16 MB, several results: where they end is seen.
async fn whatever_is_said_before_it_is_found_at_rest(bed: &mut Bed) {
    let mut client = bed.client().await;
    let rows: Vec<(u32, String)> =
        client.query("SELECT seq, REPEAT('x', seq % 300) FROM seq_1_to_20000").await.expect("rows");
    assert_eq!(rows.len(), 20_000);
    for length in [0xff_fffe_u32 - 4, 0xff_ffff - 4, 0xff_ffff, 40_000_000] {
        let text = one(&mut client, &format!("SELECT REPEAT('y', {length})")).await.expect("a row");
        assert_eq!(text.len(), length as usize);
        bed.switch();
        assert_eq!(port(&mut client).await, bed.port());
    }
    let text = "z".repeat(17_000_000);
    client.exec_drop("INSERT INTO t (text) VALUES (?)", (&text,)).await.expect("written");
    client.query_drop("DELETE FROM t").await.expect("deleted");
    client.ping().await.expect("an answer");
    bed.switch();
    assert_eq!(port(&mut client).await, bed.port());
}

async fn a_statement_waits_while_nobody_takes_it(bed: &mut Bed) {
    let (mut client, mut busy) = (bed.client().await, bed.client().await);
    let mut transaction = busy.start_transaction(TxOpts::default()).await.expect("begun");
    let old = bed.port();
    bed.lead(None);
    let question = tokio::spawn(async move { port(&mut client).await });
    tokio::time::sleep(MOMENT).await;
    assert!(!question.is_finished(), "it waits");
    until("it is counted", || bed.edge.report().relay.held == 1);
    let row: Option<u16> = transaction.query_first("SELECT @@port").await.expect("what has begun goes on");
    assert_eq!(row, Some(old));
    transaction.commit().await.expect("to its end");
    bed.switch();
    assert_eq!(question.await.expect("an answer"), bed.port());
    assert_eq!(port(&mut busy).await, bed.port());
}

/// MariaDB's own client library, which may leave out descriptions of rows and reads progress.
fn the_command_line_client_goes_on(bed: &mut Bed) {
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "-N", "-B", "-n", "--host=127.0.0.1", "--skip-ssl", "--user=app"]);
    client.args([&format!("--password={PASSWORD}"), &format!("--port={}", bed.address.port()), "site"]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (mut say, hear) = (client.stdin.take().expect("piped"), client.stdout.take().expect("piped"));
    let mut lines = BufReader::new(hear).lines();
    let mut ask = |statement: &str| {
        writeln!(say, "{statement}").expect("said");
        lines.next().expect("a line").expect("text")
    };
    for _ in 0..3 {
        assert_eq!(ask("SELECT @@port;"), bed.port().to_string());
        bed.switch();
    }
    assert_eq!(ask("ALTER TABLE t FORCE; SELECT COUNT(*) >= 0 FROM t;"), "1");
    drop(say);
    assert!(client.wait().expect("it ends").success());
}

async fn one_whose_database_dies_goes_on(bed: &mut Bed) {
    let mut client = bed.client().await;
    assert_eq!(port(&mut client).await, bed.port());
    let primary = bed.primary;
    let _ = bed.databases[primary].process.kill();
    let _ = bed.databases[primary].process.wait();
    // That is heard of a moment later.
    tokio::time::sleep(MOMENT).await;
    bed.lead(None);
    bed.switch();
    assert_eq!(port(&mut client).await, bed.port());
}

#[test]
fn what_would_be_lost_ends_the_connection() {
    let mut bed = Bed::start();
    run(async {
        for leaves in [
            "SET @a = 1",
            "SELECT @a := 1",
            "CREATE TEMPORARY TABLE temporary (a INT)",
            "SELECT GET_LOCK('a', 1)",
            "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1",
            "START TRANSACTION",
            "SET TRANSACTION READ ONLY",
            "SET autocommit = 0; SELECT 1",
            "LOCK TABLES t READ",
            "USE other",
            "SELECT LAST_INSERT_ID()",
            "SET sql_mode = 'ANSI_QUOTES'",
        ] {
            let mut client = bed.client().await;
            client.query_drop(leaves).await.expect(leaves);
            assert_eq!(port(&mut client).await, bed.port(), "{leaves}");
            bed.switch();
            assert!(one(&mut client, "SELECT 1").await.is_err(), "{leaves}");
        }
        assert_eq!(bed.carried(), 0);
        who_asks_for_what_was_before_is_cut(&mut bed).await;
        another_account_is_cut(&mut bed).await;
        one_that_its_database_ends_is_not_begun_anew(&mut bed).await;
    });
}

async fn who_asks_for_what_was_before_is_cut(bed: &mut Bed) {
    for asks in ["SELECT LAST_INSERT_ID()", "SHOW WARNINGS"] {
        let mut client = bed.client().await;
        client.query_drop("INSERT INTO t (text) VALUES ('a')").await.expect("a row");
        bed.switch();
        assert_eq!(port(&mut client).await, bed.port());
        assert!(one(&mut client, asks).await.is_err(), "{asks}");
    }
}

async fn another_account_is_cut(bed: &mut Bed) {
    bed.databases.iter().for_each(|database| {
        database
            .run("CREATE USER 'guest'@'%' IDENTIFIED BY 'hunter2'; GRANT ALL ON site.* TO 'guest'@'%'")
            .expect("done");
    });
    let options = OptsBuilder::from_opts(bed.options()).user(Some("guest"));
    let mut client = Conn::new(options).await.expect("a connection");
    assert_eq!(port(&mut client).await, bed.port());
    bed.switch();
    assert!(one(&mut client, "SELECT 1").await.is_err());
}

/// An administrator who kills a connection means it.
async fn one_that_its_database_ends_is_not_begun_anew(bed: &mut Bed) {
    let mut client = bed.client().await;
    let number = client.id();
    bed.databases[bed.primary].run(&format!("KILL {number}")).expect("done");
    let answer = one(&mut client, "SELECT 1").await;
    assert!(answer.is_err(), "{answer:?}");
}
