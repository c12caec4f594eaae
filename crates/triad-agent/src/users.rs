//! The accounts services run under, as ids of this host.

use anyhow::Context;
use triad_model::ServiceUser;

/// User and group to run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Which ids the services get.
#[derive(Clone, Debug)]
pub struct Users {
    /// In an ordinary user's namespace only one id exists, and every service shares it.
    shared: Option<Ids>,
}

impl Users {
    /// Looks at this process's user namespace.
    pub fn detect() -> anyhow::Result<Self> {
        let map = std::fs::read_to_string("/proc/self/uid_map").context("cannot read /proc/self/uid_map")?;
        let own = Ids { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
        Ok(Self { shared: (mapped_ids(&map) == 1).then_some(own) })
    }

    /// Whether services cannot be told apart by their users here.
    pub fn are_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The ids of `user`: of the account where the host has it, else fixed ones.
    pub fn ids(&self, user: ServiceUser) -> anyhow::Result<Ids> {
        if let Some(ids) = self.shared {
            return Ok(ids);
        }
        let account = nix::unistd::User::from_name(user.name())
            .with_context(|| format!("cannot look up the account {}", user.name()))?;
        Ok(account.map_or(Ids { uid: user.fallback_id(), gid: user.fallback_id() }, |account| Ids {
            uid: account.uid.as_raw(),
            gid: account.gid.as_raw(),
        }))
    }
}

/// How many ids a `uid_map` maps (user_namespaces(7): inside, outside, count).
fn mapped_ids(map: &str) -> u64 {
    map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_map_tells_how_many_ids_there_are() {
        assert_eq!(super::mapped_ids("         0          0 4294967295\n"), 4_294_967_295);
        assert_eq!(super::mapped_ids("         0       1000          1\n"), 1);
        assert_eq!(super::mapped_ids("0 1000 1\n1 100000 65536\n"), 65_537);
    }
}
