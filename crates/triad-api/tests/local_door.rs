//! The local door: what a command says is what the agent hears, and the answer comes back.

use std::sync::{Arc, Mutex};

use tokio::net::UnixListener;
use triad_api::{
    Agent, BansReport, DesignReport, HeartbeatKey, RestoreRequest, Restored, SettingAnswer, Snapshot, TakenUp,
    Upgraded, Voting, ban, serve, set_maintenance, upgrade,
};
use triad_model::{
    BackendSetting, BanRequest, IpNet, Maintenance, Orders, Promotion, ServerName, ServerReport, Switchover,
    SwitchoverRequest, UsageNews,
};

/// An agent that writes down what it is told of maintenance.
#[derive(Clone, Default)]
struct Scribe(Arc<Mutex<Vec<Option<Maintenance>>>>);

impl Agent for Scribe {
    fn report(&self) -> ServerReport {
        unimplemented!("nobody asks")
    }

    async fn status(&self) -> DesignReport {
        DesignReport { servers: Vec::new() }
    }

    fn metrics(&self) -> String {
        String::new()
    }

    async fn set_backend(&self, _: BackendSetting) -> Result<bool, String> {
        Ok(false)
    }

    async fn set_backend_everywhere(&self, _: BackendSetting) -> Vec<SettingAnswer> {
        Vec::new()
    }

    fn orders(&self) -> Orders {
        Orders::default()
    }

    async fn take_orders(&self, words: Orders) -> Result<Orders, String> {
        Ok(words)
    }

    fn hear(&self, _: UsageNews) -> u64 {
        0
    }

    async fn set_maintenance_everywhere(&self, order: Option<Maintenance>) -> Vec<SettingAnswer> {
        self.0.lock().expect("no panic").push(order);
        vec![SettingAnswer { server: ServerName::new("srv1").expect("a name"), error: None }]
    }

    async fn ban_everywhere(&self, ban: BanRequest) -> Result<Vec<SettingAnswer>, String> {
        Err(format!("{} is a server of the design", ban.network))
    }

    async fn unban_everywhere(&self, _: IpNet) -> Result<Vec<SettingAnswer>, String> {
        Ok(Vec::new())
    }

    async fn bans(&self) -> BansReport {
        BansReport { bans: Vec::new(), silent: Vec::new() }
    }

    async fn apply(&self) -> Result<TakenUp, String> {
        Err("the file is wrong".to_owned())
    }

    async fn upgrade(&self) -> Result<Upgraded, String> {
        Err("the new edge did not serve".to_owned())
    }

    async fn switchover(&self, _: SwitchoverRequest) -> Result<Switchover, String> {
        Err("it has no database".to_owned())
    }

    async fn restart_database(&self) -> Result<(), String> {
        Err("it has no database".to_owned())
    }

    async fn restart_database_of(&self, _: &str) -> Result<(), String> {
        self.restart_database().await
    }

    async fn access_lines(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    async fn access_lines_of(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn authority(&self) -> String {
        String::new()
    }

    fn heartbeat_key(&self, _: &ServerName) -> Option<HeartbeatKey> {
        None
    }

    fn voting(&self) -> Voting {
        Voting::Never
    }

    async fn promote(&self) -> Result<Promotion, String> {
        Err("it has no database".to_owned())
    }

    fn promotion(&self) -> Option<Promotion> {
        None
    }

    fn remembered_record(&self) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        Err("nobody votes".to_owned())
    }

    async fn restore(&self, _: RestoreRequest) -> Result<Restored, String> {
        Err("nobody votes".to_owned())
    }

    async fn backup(&self) -> Result<axum::body::Body, String> {
        Err("none".to_owned())
    }
}

#[test]
fn maintenance_and_its_end_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scribe = Scribe::default();
    let orders = [Maintenance::new(Some("until nine".to_owned())).ok(), Some(Maintenance::default()), None];
    runtime.block_on(async {
        tokio::spawn(serve::local(UnixListener::bind(&socket).expect("a socket"), scribe.clone()));
        for order in &orders {
            let answers = set_maintenance(&socket, order.as_ref()).await.expect("an answer");
            assert_eq!((answers.len(), &answers[0].error), (1, &None));
        }
    });
    assert_eq!(*scribe.0.lock().expect("no panic"), orders);
}

#[test]
fn why_an_edge_was_not_replaced_arrives() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        tokio::spawn(serve::local(UnixListener::bind(&socket).expect("a socket"), Scribe::default()));
        upgrade(&socket).await
    });
    let error = outcome.expect_err("it says why").to_string();
    assert!(error.ends_with("refused: the new edge did not serve"), "{error}");
}

#[test]
fn why_nobody_was_banned_arrives() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = BanRequest { network: "203.0.113.11/32".parse().expect("a network"), for_s: 60, reason: None };
    let outcome = runtime.block_on(async {
        tokio::spawn(serve::local(UnixListener::bind(&socket).expect("a socket"), Scribe::default()));
        ban(&socket, &request).await
    });
    let error = outcome.expect_err("it says why").to_string();
    assert!(error.ends_with("refused: 203.0.113.11/32 is a server of the design"), "{error}");
}
