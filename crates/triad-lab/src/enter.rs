//! Running programs inside a lab.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};
use triad_model::ServerName;

use crate::directory::members;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::preflight::search_path;
use crate::record::Record;

/// Variables by which programs with authorities of their own are told of the lab's: OpenSSL, curl, Python, Node.
const BUNDLE_VARIABLES: [&str; 4] = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

impl Lab {
    /// A command that runs `argv` as root in `member`, a server's name or `client`, with the lab's resolver and
    /// authority trusted, in the present working directory. It gives the exit code of what it runs, 127 if there is
    /// no such program.
    ///
    /// # Errors
    /// If the lab or the member does not run, or `argv` is empty.
    pub async fn command(&self, member: &ServerName, argv: &[OsString]) -> anyhow::Result<Command> {
        if argv.is_empty() {
            bail!("nothing to run in {member}");
        }
        let (record, init) = self.find_init(member).await?;
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--pid", "--uts", "--ipc", "--target"]).arg(init.pid.to_string());
        // The member's own root: a mount namespace's is another one where all of this runs in a chroot.
        command.arg("--root");
        if record.rootless {
            command.args(["--user", "--preserve-credentials"]);
        }
        if let Ok(directory) = std::env::current_dir() {
            let mut option = OsString::from("--wdns=");
            option.push(directory);
            command.arg(option);
        }
        command.arg("--").args(argv).env("PATH", search_path());
        command.envs(BUNDLE_VARIABLES.map(|name| (name, self.directory.bundle())));
        Ok(command)
    }

    /// Becomes [`Lab::command`]: signals, the terminal and the exit code are those of what it runs. Returns only if
    /// that fails.
    ///
    /// # Errors
    /// As [`Lab::command`], or that `nsenter` cannot be run.
    pub async fn exec(&self, member: &ServerName, argv: &[OsString]) -> anyhow::Result<Infallible> {
        Err(self.command(member, argv).await?.exec()).context("cannot run nsenter")
    }

    /// Runs [`Lab::command`] with no input and returns what it wrote.
    ///
    /// # Errors
    /// As [`Lab::command`]; a program that fails is no error.
    pub async fn exec_output(&self, member: &ServerName, argv: &[&str]) -> anyhow::Result<Output> {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let mut command = tokio::process::Command::from(self.command(member, &argv).await?);
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run nsenter")
    }

    async fn find_init(&self, member: &ServerName) -> anyhow::Result<(Record, Identity)> {
        if self.directory.holder().await.is_none() {
            bail!("lab {} does not run; `triad lab up` starts it", self.name);
        }
        let record = Record::read(&self.directory)?;
        let names = members(&record.design);
        if !names.contains(member) {
            let names: Vec<_> = names.iter().map(ServerName::as_str).collect();
            bail!("lab {} has no {member}, only {}", self.name, names.join(", "));
        }
        let init = Identity::listening_on(&self.directory.init_socket(member)).await;
        Ok((record, init.with_context(|| format!("{member} does not run in lab {}", self.name))?))
    }
}
