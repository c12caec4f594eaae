//! Whether this machine lets this user have a lab, said before anything is made.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Programs a lab needs, and the Debian package of each.
const PROGRAMS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("nsenter", "util-linux"), ("setsid", "util-linux"), ("unshare", "util-linux")];
/// Where Debian keeps `ip` and `nft`, which is not in an ordinary user's `PATH`.
const SYSTEM_PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// Whether the lab has to be in a user namespace.
pub(crate) fn is_rootless() -> bool {
    !nix::unistd::geteuid().is_root()
}

/// `$PATH` with the system's folders at its end.
pub(crate) fn search_path() -> String {
    match std::env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{SYSTEM_PATHS}"),
        _ => SYSTEM_PATHS.to_owned(),
    }
}

/// Flags for `unshare` that every namespace of a lab is made with; the lab's own also need [`user_flags`].
pub(crate) const UNSHARE_FLAGS: [&str; 8] =
    ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"];

/// Flags for `unshare` that make an ordinary user root of the lab.
pub(crate) fn user_flags(rootless: bool) -> &'static [&'static str] {
    if rootless { &["--user", "--map-root-user"] } else { &[] }
}

/// Refuses where a lab could not come up, with what to do about it.
pub(crate) fn check() -> anyhow::Result<()> {
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            bail!("the program `{program}` is missing; install it: apt-get install {package}");
        }
    }
    let rootless = is_rootless();
    let probe = Command::new("unshare")
        .args(user_flags(rootless))
        .args(UNSHARE_FLAGS)
        .args(["--", "sh", "-c", "ip link add name cable type veth && ip link add name hub type bridge"])
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .output()
        .context("cannot run unshare")?;
    if probe.status.success() {
        return Ok(());
    }
    bail!("this machine refuses the namespaces a lab is made of: {}; {}", said(&probe.stderr), advice(rootless))
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What a program complained of, on one line.
pub(crate) fn said(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).trim().replace('\n', "; ")
}

fn advice(rootless: bool) -> &'static str {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if !rootless {
        "in a container, it must be a privileged one (CAP_SYS_ADMIN and CAP_NET_ADMIN)"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "allow user namespaces with `sysctl kernel.unprivileged_userns_clone=1`, or run this as root"
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "allow user namespaces with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run this as root"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "allow user namespaces with `sysctl user.max_user_namespaces=10000`, or run this as root"
    } else {
        "run this as root, or ask the machine's administrator to allow user namespaces"
    }
}
