use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use triad_api::{DesignReport, ServerAnswer};
use triad_config::Loaded;
use triad_lab::{LabName, LabStatus, Progress, UpOptions, UpSummary, client};
use triad_model::{Design, ServerName, State};

use crate::{packages, print};

/// A first answer, page or build that takes longer than this is not coming.
const UP_LIMIT: Duration = Duration::from_secs(120);
const PAGE_LIMIT: Duration = Duration::from_secs(10);

/// Run the whole design on this machine, in network namespaces
///
/// Every server of the file becomes a network namespace with the real agent in it; one more is the client. Works as
/// root and as an ordinary user.
#[derive(Args)]
pub struct Lab {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring a design up and wait until all of it is healthy
    Up {
        /// The file, or the folder it is in [default: $TRIAD_CONFIG, ./triad.toml, /etc/triad/triad.toml]
        design: Option<PathBuf>,
        /// Name of the lab [default: the name of the design's folder]
        #[arg(long)]
        name: Option<String>,
        /// Give each server a disk of its own, in memory, of so many megabytes: one that can be full
        #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(200..=16_384))]
        disk_mb: Option<u32>,
        /// Install missing packages without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// Run the design's build command only
    Build {
        /// The file, or the folder it is in [default: $TRIAD_CONFIG, ./triad.toml, /etc/triad/triad.toml]
        design: Option<PathBuf>,
    },
    /// Take a lab down and remove everything of it
    Down {
        #[command(flatten)]
        lab: Which,
    },
    /// Say how each server of a lab is doing
    ///
    /// Exit code 0 when everything is healthy, 1 when something is not, 3 when the lab does not run.
    Status {
        #[command(flatten)]
        lab: Which,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a server of a lab, or in its client
    Exec {
        #[command(flatten)]
        lab: Which,
        /// A server's name, or `client`
        server: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// List labs
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which lab a command is about.
#[derive(Args)]
struct Which {
    /// Name of the lab [default: the only one there is]
    #[arg(long)]
    name: Option<String>,
}

/// Processes a lab is made of.
#[derive(Subcommand)]
pub enum Part {
    /// First process of a lab
    #[command(name = "lab-holder", hide = true)]
    Holder {
        /// The lab's directory
        #[arg(long)]
        dir: PathBuf,
    },
    /// First process of a server in a lab
    #[command(name = "lab-server", hide = true)]
    Server {
        /// The lab's directory
        #[arg(long)]
        dir: PathBuf,
        /// The server
        #[arg(long)]
        name: String,
    },
    /// The host's way into a lab
    #[command(name = "lab-entrance", hide = true)]
    Entrance {
        /// The lab's directory
        #[arg(long)]
        dir: PathBuf,
    },
}

impl Part {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Part::Holder { dir } => triad_lab::holder_main(&dir)?,
            Part::Server { dir, name } => triad_lab::server_main(&dir, &ServerName::new(name)?)?,
            Part::Entrance { dir } => triad_lab::entrance_main(&dir)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Lab {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.action {
                Action::Up { design, name, disk_mb, yes } => up(design.as_deref(), name, disk_mb, yes).await,
                Action::Build { design } => match super::load(design.as_deref()) {
                    Ok(loaded) => build(&loaded).map(|()| ExitCode::SUCCESS),
                    Err(code) => Ok(code),
                },
                Action::Down { lab } => down(lab).await,
                Action::Status { lab, json } => status(lab, json).await,
                Action::Exec { lab, server, command } => {
                    let server = ServerName::new(server)?;
                    match lab.find().await?.exec(&server, &command).await? {}
                }
                Action::List { json } => list(json).await,
            }
        })
    }
}

impl Which {
    /// The lab that was named, or the only one.
    async fn find(self) -> anyhow::Result<triad_lab::Lab> {
        if let Some(name) = self.name {
            return triad_lab::Lab::named(LabName::new(name)?);
        }
        let mut labs = triad_lab::Lab::list().await?;
        match labs.len() {
            0 => bail!("there is no lab; `triad lab up` starts one"),
            1 => triad_lab::Lab::named(labs.remove(0).name),
            _ => {
                let names: Vec<&str> = labs.iter().map(|lab| lab.name.as_str()).collect();
                bail!("there are several labs: {}; choose one with --name", names.join(", "))
            }
        }
    }
}

async fn up(file: Option<&Path>, name: Option<String>, disk_mb: Option<u32>, yes: bool) -> anyhow::Result<ExitCode> {
    let loaded = match super::load(file) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let name = match name {
        Some(name) => LabName::new(name)?,
        None => LabName::of_folder(&loaded.folder)?,
    };
    let began = Instant::now();
    packages::ensure(packages::LAB, yes)?;
    build(&loaded)?;
    let lab = triad_lab::Lab::named(name)?;
    let board = Board::new();
    let summary = lab
        .up(UpOptions {
            design: &loaded.design,
            file: &loaded.file,
            executable: &std::env::current_exe().context("cannot find this program's own file")?,
            provision: &provision,
            progress: &|progress| board.show(progress),
            disk_mb,
            limit: UP_LIMIT,
        })
        .await?;
    let has_pages = loaded.design.app.as_ref().is_none_or(|app| !app.is_checked_by_grpc());
    if !summary.already_up && has_pages {
        first_page(&lab, &loaded.design).await?;
        eprintln!("  first page   {:>6} ms since the command began", began.elapsed().as_millis());
    }
    print::out(&invitation(&summary, &loaded.design));
    Ok(ExitCode::SUCCESS)
}

/// Runs the application's build command where the design has one.
fn build(loaded: &Loaded) -> anyhow::Result<()> {
    let Some(command) = loaded.design.app.as_ref().and_then(|app| app.build.as_ref()) else { return Ok(()) };
    let began = Instant::now();
    let status = Command::new("/bin/sh").args(["-c", command]).current_dir(&loaded.folder).status();
    let status = status.context("cannot run the application's build command")?;
    if !status.success() {
        bail!("the application's build command failed ({status}): {command}");
    }
    eprintln!("  build the application   {:>6} ms", began.elapsed().as_millis());
    Ok(())
}

fn provision(design: &Design, servers: &Path) -> anyhow::Result<String> {
    // The lab's directory is its operator: the authority stays beside the servers' folders, in none of them.
    let authority = servers.with_file_name("authority");
    triad_agent::secrets::provision(design, &authority, |server| servers.join(server.as_str()).join("state/secrets"))
}

/// How an `up` goes, on standard error: a line a step, and on a terminal a spinner that says what is waited for.
struct Board {
    spinner: RefCell<ProgressBar>,
}

impl Board {
    fn new() -> Self {
        Self { spinner: RefCell::new(ProgressBar::hidden()) }
    }

    fn show(&self, progress: Progress<'_>) {
        match progress {
            Progress::Begun(step) => {
                self.spinner.replace(print::spinner().with_message(step.as_str()));
            }
            Progress::Done(step) => {
                self.spinner.borrow().finish_and_clear();
                eprintln!("  {:<32} {:>6} ms", step.step.as_str(), step.took_ms);
            }
            Progress::Waiting(servers) => self.spinner.borrow().set_message(servers.join("; ")),
            Progress::Note(note) => self.spinner.borrow().suspend(|| eprintln!("  note: {note}")),
        }
    }
}

/// Fetches the site's first page as a user would, through DNS, firewall, balancer and the rest.
async fn first_page(lab: &triad_lab::Lab, design: &Design) -> anyhow::Result<()> {
    let url = site_url(design);
    let seconds = PAGE_LIMIT.as_secs().to_string();
    let output = lab
        .exec_output(&client(), &["curl", "--silent", "--show-error", "--fail", "--max-time", &seconds, &url])
        .await?;
    if !output.status.success() {
        bail!("{url} gives no page: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The first page as users ask for it.
pub fn site_url(design: &Design) -> String {
    let scheme = if design.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}/", design.site.hosts[0])
}

/// What to try next.
fn invitation(summary: &UpSummary, design: &Design) -> String {
    let url = site_url(design);
    let (name, host) = (summary.name.as_str(), &design.site.hosts[0]);
    let mut text =
        if summary.already_up { format!("lab {name} is up already\n\n") } else { format!("lab {name} is up\n\n") };
    text.push_str("Try, as a user of the site:\n");
    text.push_str(&format!("  triad lab exec --name {name} client -- curl {url}\n"));
    text.push_str(&format!("  triad lab exec --name {name} client -- dig {host}\n"));
    if let Some(entrance) = summary.entrance {
        let (scheme, trust) = match design.tls {
            Some(_) => ("https", format!(" --cacert {}", summary.directory.join("authority.pem").display())),
            None => ("http", String::new()),
        };
        let port = entrance.port();
        text.push_str("From this host:\n");
        text.push_str(&format!("  curl{trust} --resolve {host}:{port}:127.0.0.1 {scheme}://{host}:{port}/\n"));
    }
    text.push_str("Look, and take it down:\n");
    text.push_str(&format!("  triad lab status --name {name}\n  triad lab down --name {name}\n"));
    text
}

async fn down(which: Which) -> anyhow::Result<ExitCode> {
    let lab = which.find().await?;
    let began = Instant::now();
    let summary = lab.down().await?;
    let what = match (summary.ran, summary.existed) {
        (true, _) => "is down, nothing of it is left",
        (false, true) => "did not run; its files are removed",
        (false, false) => "does not exist",
    };
    eprintln!("lab {} {what} ({} ms)", lab.name().as_str(), began.elapsed().as_millis());
    Ok(ExitCode::SUCCESS)
}

async fn status(which: Which, json: bool) -> anyhow::Result<ExitCode> {
    let lab = which.find().await?;
    let Some(status) = lab.status().await? else {
        eprintln!("triad: there is no lab {}", lab.name().as_str());
        return Ok(ExitCode::from(print::NOT_RUNNING));
    };
    if json {
        print::json(&status)?;
    } else {
        print::out(&super::status::text(&as_design_report(&status)));
    }
    Ok(ExitCode::from(match status.state() {
        State::Healthy => print::DONE,
        State::Starting | State::Degraded => print::FAILED,
        State::Down => print::NOT_RUNNING,
    }))
}

fn as_design_report(status: &LabStatus) -> DesignReport {
    let servers = status.servers.iter().map(|server| ServerAnswer {
        server: server.name.clone(),
        report: server.report.clone(),
        error: server.problem.clone(),
    });
    DesignReport { servers: servers.collect() }
}

async fn list(json: bool) -> anyhow::Result<ExitCode> {
    let labs = triad_lab::Lab::list().await?;
    if json {
        print::json(&labs)?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = |running| if running { "up" } else { "down" }.to_owned();
    let rows: Vec<Vec<String>> = labs
        .iter()
        .map(|lab| vec![lab.name.as_str().to_owned(), state(lab.running), lab.directory.display().to_string()])
        .collect();
    print::out(&print::table(&rows));
    Ok(ExitCode::SUCCESS)
}
