//! What a lab is doing.

use std::net::SocketAddr;
use std::path::PathBuf;

use futures_util::future::join_all;
use serde::Serialize;
use triad_model::{Role, Server, ServerReport, State};

use crate::directory::Directory;
use crate::lab::{Lab, LabName, client};
use crate::protocol::{
    HolderReply, HolderRequest, HolderStatus, InitReply, InitRequest, LinkState, ServiceStatus, ask,
};
use crate::record::Record;

/// A lab and its servers.
#[derive(Clone, Debug, Serialize)]
pub struct LabStatus {
    /// Its name.
    pub name: LabName,
    /// Where its files are.
    pub directory: PathBuf,
    /// Whether its processes run.
    pub running: bool,
    /// Whether the client's namespace is there.
    pub client_running: bool,
    /// Where the host reaches the site, over HTTP and HTTPS.
    pub entrance: Option<SocketAddr>,
    /// Whether it is in a user namespace, where all service users are the same one.
    pub rootless: bool,
    /// In the order of the file.
    pub servers: Vec<ServerStatus>,
}

impl LabStatus {
    /// Healthy where all servers are; down where none is; else degraded.
    pub fn state(&self) -> State {
        let healthy = self.servers.iter().filter(|server| server.is_healthy()).count();
        let answering = self.servers.iter().filter(|server| server.report.is_some()).count();
        if healthy == self.servers.len() && self.running {
            State::Healthy
        } else if answering == 0 {
            State::Down
        } else {
            State::Degraded
        }
    }
}

/// A server of a lab.
#[derive(Clone, Debug, Serialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: triad_model::ServerName,
    /// What the design puts on it.
    pub roles: Vec<Role>,
    /// Whether its namespaces are there.
    pub running: bool,
    /// Whether its cables are plugged; `None` while it does not run.
    pub link: Option<LinkState>,
    /// Its agent's process.
    pub agent: ServiceStatus,
    /// What its agent reports.
    pub report: Option<ServerReport>,
    /// Why it is not healthy, as a clause.
    pub problem: Option<String>,
    /// What its agent wrote.
    pub log: PathBuf,
}

impl ServerStatus {
    /// Whether its agent says that everything on it is as it should be.
    pub fn is_healthy(&self) -> bool {
        self.problem.is_none()
    }
}

impl Lab {
    /// What the lab is doing; `None` if there is no such lab.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub async fn status(&self) -> anyhow::Result<Option<LabStatus>> {
        if !self.directory.record().exists() {
            return Ok(None);
        }
        let record = Record::read(&self.directory)?;
        let holder = match ask(&self.directory.holder_socket(), &HolderRequest::Status).await {
            Ok(HolderReply::Status(status)) => Some(status),
            _ => None,
        };
        let servers = record.design.servers.iter().map(|server| self.server_status(&record, holder.as_ref(), server));
        Ok(Some(LabStatus {
            name: self.name.clone(),
            directory: self.path().to_path_buf(),
            running: holder.is_some(),
            client_running: holder.as_ref().is_some_and(|status| runs(status, &client())),
            entrance: record.entrance.filter(|_| holder.is_some()),
            rootless: record.rootless,
            servers: join_all(servers).await,
        }))
    }

    async fn server_status(&self, record: &Record, holder: Option<&HolderStatus>, server: &Server) -> ServerStatus {
        let name = &server.name;
        let member = holder.and_then(|status| status.members.iter().find(|member| member.name == *name));
        let running = member.is_some_and(|member| member.running);
        let mut status = ServerStatus {
            name: name.clone(),
            roles: record.design.roles(name),
            running,
            link: member.filter(|_| running).map(|member| member.link),
            agent: ServiceStatus::default(),
            report: None,
            problem: Some("it is not running".to_owned()),
            log: self.directory.agent_log(name),
        };
        if running {
            status.agent = service_status(&self.directory, name).await;
            let answer = triad_api::local_report(&self.directory.agent_socket(name)).await;
            status.problem = match &answer {
                Ok(report) => trouble(report),
                Err(error) => Some(silence(&status.agent, &error.to_string())),
            };
            status.report = answer.ok();
        }
        status
    }
}

fn runs(status: &HolderStatus, name: &triad_model::ServerName) -> bool {
    status.members.iter().any(|member| member.name == *name && member.running)
}

async fn service_status(directory: &Directory, name: &triad_model::ServerName) -> ServiceStatus {
    match ask(&directory.init_socket(name), &InitRequest::Status).await {
        Ok(InitReply::Status(status)) => status,
        _ => ServiceStatus::default(),
    }
}

/// What is not healthy, role by role.
fn trouble(report: &ServerReport) -> Option<String> {
    let parts: Vec<String> = report
        .roles
        .iter()
        .filter(|role| role.state != State::Healthy)
        .map(|role| format!("{} is {}: {}", role.role, role.state, role.detail))
        .collect();
    match (report.state, parts.is_empty()) {
        (State::Healthy, _) => None,
        (state, true) => Some(format!("its agent says {state}")),
        (_, false) => Some(parts.join("; ")),
    }
}

fn silence(agent: &ServiceStatus, error: &str) -> String {
    match (agent.pid, &agent.last_exit) {
        (Some(_), None) => format!("its agent does not answer yet: {error}"),
        (_, Some(exit)) => format!("its agent ended ({exit}) and was started again {} times", agent.restarts),
        (None, None) => "its agent was not started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use triad_model::{Role, RoleReport, ServerName, ServerReport, State};

    use super::{ServiceStatus, silence, trouble};

    fn report(state: State, roles: &[(Role, State, &str)]) -> ServerReport {
        ServerReport {
            server: ServerName::new("srv1").expect("a name"),
            state,
            roles: roles.iter().map(|(role, state, detail)| RoleReport::new(*role, *state, *detail)).collect(),
            processes: Vec::new(),
            rates: None,
            edge: None,
            dns: None,
            database: None,
            firewall: None,
            heartbeats: None,
            certificate_days_left: None,
            uptime_s: 1,
        }
    }

    #[test]
    fn what_is_wrong_is_said_by_role() {
        let fine = [(Role::Dns, State::Healthy, "answers")];
        assert_eq!(trouble(&report(State::Healthy, &fine)), None);
        assert_eq!(trouble(&report(State::Starting, &fine)).as_deref(), Some("its agent says starting"));
        let mixed = [fine[0], (Role::App, State::Down, "app-1 ended"), (Role::Database, State::Starting, "seeding")];
        assert_eq!(
            trouble(&report(State::Down, &mixed)).as_deref(),
            Some("app is down: app-1 ended; database is starting: seeding")
        );
    }

    #[test]
    fn a_silent_agent_is_explained_by_its_init() {
        let started = ServiceStatus { pid: Some(2), restarts: 0, last_exit: None };
        assert_eq!(silence(&started, "no socket"), "its agent does not answer yet: no socket");
        let ended = ServiceStatus { pid: None, restarts: 3, last_exit: Some("exit status: 1".to_owned()) };
        assert_eq!(silence(&ended, "x"), "its agent ended (exit status: 1) and was started again 3 times");
    }
}
