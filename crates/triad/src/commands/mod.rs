//! The command line: one file a verb.

mod agent;
mod apply;
mod backend;
mod ban;
mod bans;
mod check;
mod databases;
mod draw;
mod drill;
mod explain;
mod init;
mod lab;
mod live;
mod maintenance;
mod promote;
mod restart;
mod secrets;
mod status;
mod switchover;
mod unban;
mod upgrade;
mod voters;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use triad_config::{LoadError, Loaded, NotFound};
use triad_model::IpNet;

use crate::print;

/// One binary and one file for the infrastructure behind a website.
#[derive(Parser)]
#[command(name = "triad", version, about, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a commented triad.toml to begin with
    Init(init::Init),
    /// Report mistakes in the design, what is weak in it, and what it survives
    Check(check::Check),
    /// Explain a part of this design, a finding, or the way of a request
    Explain(explain::Explain),
    /// Draw the design as an SVG picture
    Draw(draw::Draw),
    /// Run the whole design on this machine, in network namespaces
    Lab(lab::Lab),
    /// Break the design in a lab, under load, and say what it cost
    Drill(drill::Drill),
    /// Run one server of the design: this host
    Agent(agent::Agent),
    /// Say what runs where, and how it is doing
    Status(status::Status),
    /// Take this server's triad.toml into use, and have it count as the newest
    Apply(apply::Apply),
    /// Take a backend out of the balancers, bring it back, or change its weight, while they run
    Backend(backend::Backend),
    /// Turn users away for a while, or let them in again
    Maintenance(maintenance::Maintenance),
    /// Let clients in no more, on every front server at once
    Ban(ban::Ban),
    /// End a ban, on every front server at once
    Unban(unban::Unban),
    /// Show who is banned, and until when
    Bans(bans::Bans),
    /// Replace this server's edge by the binary that is installed now, without touching a connection
    Upgrade(upgrade::Upgrade),
    /// Make another server the database's primary, without losing or failing a write
    Switchover(switchover::Switchover),
    /// Make this server's database the primary by hand, where two servers cannot decide
    Promote(promote::Promote),
    /// Start the databases anew, one after the other, while the site goes on
    Restart(restart::Restart),
    /// Save what servers agree on, or begin anew where voters lost it
    Voters(voters::Voters),
    /// Make the keys and passwords of the design, a folder for each server
    Secrets(secrets::Secrets),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Serve HTTP; started by the agent
    #[command(hide = true)]
    Edge,
    /// Answer DNS; started by the agent
    #[command(hide = true)]
    Dns,
    /// Run a program confined; started by the agent
    #[command(hide = true)]
    RunChild {
        /// Process id of the agent
        #[arg(long)]
        parent: u32,
        /// Program and arguments
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Load a site; started by `drill`
    #[command(hide = true)]
    DrillLoad {
        /// The load, as JSON
        #[arg(long)]
        plan: String,
    },
    /// Write to a database; started by `drill`
    #[command(hide = true)]
    DrillWriters {
        /// The writers, as JSON
        #[arg(long)]
        plan: String,
    },
    /// Flood a site with connections; started by `drill`
    #[command(hide = true)]
    DrillFlood {
        /// The flood, as JSON
        #[arg(long)]
        plan: String,
    },
    /// Send one request; started by `explain request --live`
    #[command(hide = true)]
    TraceRequest {
        /// The request, as JSON
        #[arg(long)]
        plan: String,
    },
    /// A part of a lab; started by `lab up`
    #[command(flatten)]
    LabPart(lab::Part),
}

/// Which design a command is about.
#[derive(Args)]
pub struct DesignFile {
    /// The file, or the folder it is in [default: $TRIAD_CONFIG, ./triad.toml, /etc/triad/triad.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl DesignFile {
    /// Reads the design, or prints what is wrong with it and gives the exit code.
    fn load(&self) -> Result<Loaded, ExitCode> {
        load(self.file.as_deref())
    }
}

/// Where this server's own agent is asked.
#[derive(Args)]
pub struct OwnAgent {
    /// Where the agent's sockets are
    #[arg(long, default_value = "/run/triad", value_name = "DIR")]
    run: PathBuf,
}

impl OwnAgent {
    /// The agent's local door.
    fn door(&self) -> PathBuf {
        self.run.join(triad_agent::LOCAL_DOOR)
    }
}

/// Where an agent is asked.
#[derive(Args)]
pub struct AgentSocket {
    /// Where the agent's sockets are
    #[arg(long, default_value = "/run/triad", value_name = "DIR", global = true)]
    run: PathBuf,
    /// Ask an agent of this lab
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "run")]
    lab: Option<String>,
}

impl AgentSocket {
    /// The agent's local door; in a lab that of any server, for each speaks for all.
    fn path(&self) -> anyhow::Result<PathBuf> {
        let Some(name) = &self.lab else { return Ok(self.run.join(triad_agent::LOCAL_DOOR)) };
        let lab = triad_lab::Lab::named(triad_lab::LabName::new(name.clone())?)?;
        let servers = std::fs::read_dir(lab.path().join("servers"))
            .with_context(|| format!("lab {name} does not run; `triad lab up` starts it"))?;
        let doors = servers.filter_map(|server| Some(server.ok()?.path().join("run").join(triad_agent::LOCAL_DOOR)));
        let open = |door: &PathBuf| std::os::unix::net::UnixStream::connect(door).is_ok();
        doors.into_iter().find(open).with_context(|| format!("no agent answers in lab {name}"))
    }
}

/// Clients as they are written: a network, or an address of one.
fn clients(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().ok().map(|network| network.trunc());
    let address = || text.parse::<IpAddr>().ok().map(triad_model::client_network);
    network
        .or_else(address)
        .ok_or_else(|| format!("{text:?} is no address or network: write 192.0.2.7 or 192.0.2.0/24"))
}

/// Reads the design that `file` names, or prints what is wrong with it.
fn load(file: Option<&Path>) -> Result<Loaded, ExitCode> {
    read(file).map_err(|failure| {
        eprint!("{}", failure.text(print::color()));
        ExitCode::from(print::UNUSABLE)
    })
}

/// Why there is no design.
enum Unusable {
    NotFound(NotFound),
    Refused(LoadError),
}

impl Unusable {
    fn text(&self, color: bool) -> String {
        match self {
            Self::Refused(LoadError::Wrong { file, text, mistakes }) => {
                triad_config::render(mistakes, &file.display().to_string(), text, color)
            }
            Self::Refused(error) => format!("triad: {error}\n"),
            Self::NotFound(error) => format!("triad: {error}\n"),
        }
    }
}

fn read(file: Option<&Path>) -> Result<Loaded, Unusable> {
    let file = triad_config::find_file(file).map_err(Unusable::NotFound)?;
    triad_config::load(&file).map_err(Unusable::Refused)
}

/// Runs the command that was asked for.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Init(init) => init.run(),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Draw(draw) => draw.run(),
        Command::Lab(lab) => lab.run(),
        Command::Drill(drill) => drill.run(),
        Command::Agent(agent) => agent.run(),
        Command::Status(status) => status.run(),
        Command::Apply(apply) => apply.run(),
        Command::Backend(backend) => backend.run(),
        Command::Maintenance(maintenance) => maintenance.run(),
        Command::Ban(ban) => ban.run(),
        Command::Unban(unban) => unban.run(),
        Command::Bans(bans) => bans.run(),
        Command::Upgrade(upgrade) => upgrade.run(),
        Command::Switchover(switchover) => switchover.run(),
        Command::Promote(promote) => promote.run(),
        Command::Restart(restart) => restart.run(),
        Command::Voters(voters) => voters.run(),
        Command::Secrets(secrets) => secrets.run(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "triad", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Edge => in_child(triad_agent::child::edge_main),
        Command::Dns => in_child(triad_agent::child::dns_main),
        Command::RunChild { parent, command } => {
            triad_agent::child::run_child(parent, &command).map(|()| ExitCode::SUCCESS)
        }
        Command::DrillLoad { plan } => triad_drill::load_main(&plan).map(|()| ExitCode::SUCCESS),
        Command::DrillWriters { plan } => triad_drill::writers_main(&plan).map(|()| ExitCode::SUCCESS),
        Command::DrillFlood { plan } => triad_drill::flood_main(&plan).map(|()| ExitCode::SUCCESS),
        Command::TraceRequest { plan } => triad_trace::trace_main(&plan).map(|()| ExitCode::SUCCESS),
        Command::LabPart(part) => part.run(),
    };
    outcome.unwrap_or_else(|error| print::failure(&error))
}

fn in_child(main: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    agent::log_to_stderr();
    main().map(|()| ExitCode::SUCCESS)
}
