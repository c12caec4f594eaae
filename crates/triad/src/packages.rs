//! Debian packages that programs come from: what is missing, and its installation without starting a service.
//!
//! `cargo xtask` includes this file as well, so it depends on nothing but the standard library and `anyhow`.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{self, Command};

use anyhow::{Context, bail};

/// A program we run, and where Debian has it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its file name.
    pub name: &'static str,
    /// The package that holds it.
    pub package: &'static str,
}

/// What a lab needs, the programs for looking into it included.
pub const LAB: &[Program] = &[
    Program { name: "mariadbd", package: "mariadb-server" },
    Program { name: "mariadb-backup", package: "mariadb-backup" },
    Program { name: "etcd", package: "etcd-server" },
    Program { name: "nft", package: "nftables" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "dig", package: "bind9-dnsutils" },
    Program { name: "curl", package: "curl" },
];

/// What slow clients are, in drills.
pub const SLOW_CLIENTS: &[Program] = &[Program { name: "slowhttptest", package: "slowhttptest" }];

/// Services that come with a package. Triad runs these programs itself and wants no second copy on their ports.
const SERVICES: &[(&str, &str)] =
    &[("mariadb-server", "mariadb"), ("etcd-server", "etcd"), ("haproxy", "haproxy"), ("nginx-light", "nginx")];

/// Folders of system programs, which an ordinary user's `PATH` leaves out.
const SYSTEM_FOLDERS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where Debian's tools ask whether a package may start its service (see `invoke-rc.d(8)`).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that `programs` are there, installing what is missing; see [`install`].
pub fn ensure(programs: &[Program], yes: bool) -> anyhow::Result<()> {
    let packages = missing(programs);
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages, yes)?;
    let still = missing(programs);
    if !still.is_empty() {
        bail!("apt-get reported success, but programs of {} are not in PATH", still.join(", "));
    }
    Ok(())
}

/// The packages of those `programs` that are not installed, each once.
pub fn missing(programs: &[Program]) -> Vec<&'static str> {
    let path = env::var("PATH").unwrap_or_default() + ":" + SYSTEM_FOLDERS;
    let mut packages = Vec::new();
    for program in programs.iter().filter(|program| !is_in(&path, program.name)) {
        if !packages.contains(&program.package) {
            packages.push(program.package);
        }
    }
    packages
}

/// Installs `packages` with apt-get, their services neither started nor enabled. Asks first on a terminal, unless
/// `yes`. Who is not root gets an error with the command to run.
pub fn install(packages: &[&'static str], yes: bool) -> anyhow::Result<()> {
    if !is_in(SYSTEM_FOLDERS, "apt-get") {
        bail!("missing: {}. This system has no apt-get; install them by its own means", packages.join(", "));
    }
    if !is_root() {
        bail!("missing packages; install them and try again:\n    {}", command_line(packages));
    }
    if !yes && io::stdin().is_terminal() && !confirmed(packages)? {
        bail!("nothing was installed; to do it yourself:\n    {}", command_line(packages));
    }
    eprintln!("installing {}", packages.join(" "));
    let policy = StartPolicy::forbid()?;
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())?;
    drop(policy);
    disable_services(packages);
    Ok(())
}

/// What to type in place of [`install`].
pub fn command_line(packages: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install --no-install-recommends {}", packages.join(" "))
}

fn is_in(path: &str, program: &str) -> bool {
    env::split_paths(path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn confirmed(packages: &[&str]) -> anyhow::Result<bool> {
    eprint!("Install {} with apt-get, without starting their services? [Y/n] ", packages.join(", "));
    io::stderr().flush()?;
    let mut answer = String::new();
    // Nothing at all is the end of input, not the return key.
    let read = io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(read > 0 && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(process::Stdio::null())
        .stdout(io::stderr())
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed ({status}); its own words are above", arguments.join(" "));
    }
    Ok(())
}

/// Stops services that a package enabled. The policy kept them from starting now; this keeps them from the next boot.
fn disable_services(packages: &[&str]) {
    if !is_in(SYSTEM_FOLDERS, "systemctl") {
        return;
    }
    // In a container without systemd there is nothing to stop, only something to keep from starting.
    let now = Path::new("/run/systemd/system").is_dir().then_some("--now");
    for (_, service) in SERVICES.iter().filter(|(package, _)| packages.contains(package)) {
        let status = Command::new("systemctl").arg("disable").args(now).arg(service).stdout(io::stderr()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("could not disable {service}; if it runs, stop it: systemctl disable --now {service}");
        }
    }
}

/// While it lives, installed packages do not start services. An administrator's own policy is left alone.
struct StartPolicy {
    ours: bool,
}

impl StartPolicy {
    fn forbid() -> anyhow::Result<Self> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        match created {
            Ok(mut file) => {
                let policy = Self { ours: true };
                file.write_all(policy_text(process::id()).as_bytes())
                    .with_context(|| format!("cannot write {POLICY}"))?;
                Ok(policy)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("cannot create {POLICY}")),
        }
    }
}

impl Drop for StartPolicy {
    fn drop(&mut self) {
        if self.ours {
            // What stays behind does nothing once this process has ended.
            let _ = fs::remove_file(POLICY);
        }
    }
}

fn policy_text(pid: u32) -> String {
    format!(
        "#!/bin/sh\n\
         # Keeps services from starting while Triad (process {pid}) installs packages. Without that process it\n\
         # forbids nothing and can be deleted.\n\
         [ -d /proc/{pid} ] && exit 101\n\
         exit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::{Program, command_line, missing, policy_text};

    #[test]
    fn each_missing_package_is_named_once() {
        let programs = [
            Program { name: "sh", package: "dash" },
            Program { name: "triad-test-no-such-program", package: "a" },
            Program { name: "triad-test-no-such-either", package: "a" },
            Program { name: "triad-test-nor-this", package: "b" },
        ];
        let packages = missing(&programs);
        assert_eq!(packages, ["a", "b"]);
        assert_eq!(command_line(&packages), "sudo apt-get update && sudo apt-get install --no-install-recommends a b");
    }

    #[test]
    fn a_leftover_policy_forbids_nothing() {
        let verdict = |pid| {
            let status = Command::new("sh").arg("-c").arg(policy_text(pid)).status().expect("sh runs");
            status.code()
        };
        let mut running: Child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat runs");
        assert_eq!(verdict(running.id()), Some(101));
        drop(running.stdin.take());
        running.wait().expect("cat ends");
        assert_eq!(verdict(running.id()), Some(0));
    }
}
