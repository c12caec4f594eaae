//! What every child gives up before it does anything else.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};
use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

/// This binary, wherever it is: a service's user may not be able to reach it by its path.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// Most files a child may have open, unless its soft limit is higher already.
const FILES_MAX: u64 = 65_536;

/// Runs `program` in place of this process, confined: `triad run-child --parent PID -- PROGRAM ARGS`.
///
/// The agent starts every child through this step because a process can give up its privileges only itself, between
/// fork and exec, and doing so in a program of our own needs no unsafe code.
pub fn run_child(parent: u32, command: &[OsString]) -> anyhow::Result<()> {
    let (program, args) = command.split_first().context("nothing to run: give a program after --")?;
    confine(parent)?;
    let mut command = Command::new(program);
    if program == OWN_PROGRAM {
        // What `ps` shows.
        command.arg0("triad");
    }
    let error = command.args(args).exec();
    Err(anyhow::Error::new(error).context(format!("cannot run {}", program.display())))
}

/// Dies with the agent; gains no privileges ever after; has no capabilities.
fn confine(parent: u32) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Some(Signal::SIGKILL)).context("cannot tie this process to the agent")?;
    if nix::unistd::getppid().as_raw() != i32::try_from(parent)? {
        bail!("the agent (pid {parent}) is gone");
    }
    allow_many_files().context("cannot raise the limit of open files")?;
    prctl::set_no_new_privs().context("cannot give up gaining privileges")?;
    drop_capabilities().context("cannot give up capabilities")
}

/// As many open files as the host allows, up to a bound: an edge holds thousands of connections.
fn allow_many_files() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(FILES_MAX)), hard)
}

fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        caps::clear(None, set)?;
    }
    Ok(())
}
