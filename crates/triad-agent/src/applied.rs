//! Which design the servers go by, where they can agree: each file that is taken into use is a *generation* of it, and one
//! that was replaced is stale. A stale file is not taken into use by a reload; after a start it is, for there is nothing
//! else to serve from, and status says so.
//!
//! [`Applied`] is what is agreed upon, and pure; [`Designs`] keeps it where all agree.

use anyhow::{Context, bail};
use aws_lc_rs::digest::{SHA256, digest as hash};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Duration, sleep};
use triad_cluster::{Coordination, DESIGN_KEY, Seen, Swap};
use triad_model::ServerName;

/// Replaced generations that are remembered. A file from before those passes for a new one.
const GENERATIONS_KEPT: usize = 64;
/// Servers that may take a file into use at the same moment: each loses at most once to each other.
const TRIES: usize = 8;
/// Time between two tries where nobody can be asked.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a file is known by: SHA-256 of its text, in hexadecimal.
pub fn digest(text: &str) -> String {
    HEXLOWER.encode(hash(&SHA256, text.as_bytes()).as_ref())
}

/// What the servers go by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    generation: u64,
    digest: String,
    /// Which server took it into use first.
    server: ServerName,
    /// What was replaced, the newest first.
    before: Vec<Replaced>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Replaced {
    generation: u64,
    digest: String,
}

/// What a file is among the generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// None of them.
    New,
    /// What the servers go by.
    Current(u64),
    /// It was replaced.
    Stale { own: u64, current: u64, server: ServerName },
}

impl Applied {
    /// How old the file `digest` is, where the servers go by `applied`.
    fn age(applied: Option<&Self>, digest: &str) -> Age {
        let Some(applied) = applied else { return Age::New };
        if applied.digest == digest {
            return Age::Current(applied.generation);
        }
        let replaced = applied.before.iter().find(|replaced| replaced.digest == digest);
        replaced.map_or(Age::New, |replaced| Age::Stale {
            own: replaced.generation,
            current: applied.generation,
            server: applied.server.clone(),
        })
    }

    /// The generation after `applied`: the file `digest`, which may have been one before.
    fn next(applied: Option<Self>, digest: &str, server: &ServerName) -> Self {
        let (generation, before) = match applied {
            None => (1, Vec::new()),
            Some(Self { generation, digest: old, before, .. }) => {
                let replaced = std::iter::once(Replaced { generation, digest: old }).chain(before);
                let others = replaced.filter(|replaced| replaced.digest != digest);
                (generation + 1, others.take(GENERATIONS_KEPT).collect())
            }
        };
        Self { generation, digest: digest.to_owned(), server: server.clone(), before }
    }
}

/// The generations, as one server's agent sees and makes them.
#[derive(Clone)]
pub(crate) struct Designs {
    coordination: Coordination,
    seen: watch::Receiver<Seen>,
    server: ServerName,
    /// The file that this server works from.
    own: watch::Sender<String>,
}

impl Designs {
    /// On `server`, which works from the file `digest`. What is new is made a generation in the background. Must be called
    /// on a [`tokio::task::LocalSet`].
    pub fn start(coordination: Coordination, server: ServerName, digest: String) -> Self {
        let seen = coordination.watch_at_leisure(DESIGN_KEY);
        let designs = Self { coordination, seen, server, own: watch::Sender::new(digest) };
        tokio::task::spawn_local(designs.clone().keep());
        designs
    }

    /// What the file that this server works from is, as far as was heard.
    pub fn age(&self) -> Age {
        Applied::age(self.heard().ok().flatten().as_ref(), &self.own.borrow())
    }

    /// Works from the file `digest` from now on.
    pub fn work_from(&self, digest: &str) {
        self.own.send_if_modified(|own| {
            let is_other = own != digest;
            digest.clone_into(own);
            is_other
        });
    }

    /// Refuses the file `digest` if it was replaced. Where no majority answers, what was heard last counts: what cannot be
    /// agreed upon now must not keep a server from being changed.
    pub async fn refuse_stale(&self, digest: &str) -> anyhow::Result<()> {
        let applied = match self.coordination.get(DESIGN_KEY).await {
            Ok(read) => read.map(|read| understood(&read.value)).transpose()?,
            Err(error) => {
                tracing::warn!(%error, "whether this file was replaced is not known for certain");
                self.heard()?
            }
        };
        match Applied::age(applied.as_ref(), digest) {
            Age::Stale { own, current, server } => bail!(
                "this file was generation {own}, and the servers go by generation {current}, which {server} took into use \
                 first: copy triad.toml from there, or go back to this one on purpose with `triad apply`"
            ),
            Age::New | Age::Current(_) => Ok(()),
        }
    }

    /// Makes the file `digest` what the servers go by, also if it was replaced; its generation.
    pub async fn apply(&self, digest: &str) -> anyhow::Result<u64> {
        for _ in 0..TRIES {
            let read = self.coordination.get(DESIGN_KEY).await?;
            let applied = read.as_ref().map(|read| understood(&read.value)).transpose()?;
            if let Age::Current(generation) = Applied::age(applied.as_ref(), digest) {
                return Ok(generation);
            }
            let next = Applied::next(applied, digest, &self.server);
            let expected = read.map(|read| read.revision);
            if let Swap::Done { .. } =
                self.coordination.swap(DESIGN_KEY, expected, &serde_json::to_string(&next)?).await?
            {
                tracing::info!(generation = next.generation, "the file is a generation of the design");
                return Ok(next.generation);
            }
        }
        bail!("other servers take other files into use at the same time")
    }

    fn heard(&self) -> anyhow::Result<Option<Applied>> {
        self.seen.borrow().value.as_ref().map(|value| understood(&value.value)).transpose()
    }

    /// Makes what this server works from a generation, if it is none yet.
    async fn keep(self) {
        let (mut seen, mut own) = (self.seen.clone(), self.own.subscribe());
        loop {
            let is_known = seen.borrow_and_update().confirmed.is_some();
            let digest = own.borrow_and_update().clone();
            if is_known && self.age() == Age::New {
                // Without a majority nobody can be told; the next try may find one.
                if let Err(error) = self.apply(&digest).await {
                    tracing::debug!("the file is no generation yet: {error:#}");
                }
                sleep(AGAIN_AFTER).await;
                continue;
            }
            tokio::select! {
                heard = seen.changed() => if heard.is_err() { return },
                _ = own.changed() => {}
            }
        }
    }
}

fn understood(text: &str) -> anyhow::Result<Applied> {
    serde_json::from_str(text).context("which generation of the design the servers go by cannot be understood")
}

#[cfg(test)]
mod tests {
    use triad_model::ServerName;

    use super::{Age, Applied, GENERATIONS_KEPT, digest};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn after(applied: Option<Applied>, files: &[&str]) -> Option<Applied> {
        files.iter().fold(applied, |applied, file| Some(Applied::next(applied, file, &name("srv1"))))
    }

    #[test]
    fn a_file_is_known_by_its_text() {
        assert_eq!(
            digest("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "FIPS 180-2, B.1"
        );
    }

    #[test]
    fn what_was_replaced_is_stale_until_it_is_taken_up_again() {
        let age = |applied: &Option<Applied>, file| Applied::age(applied.as_ref(), file);
        let stale = |own, current| Age::Stale { own, current, server: name("srv1") };
        assert_eq!(age(&None, "a"), Age::New);
        let two = after(None, &["a", "b"]);
        assert_eq!(age(&two, "a"), stale(1, 2));
        assert_eq!(age(&two, "b"), Age::Current(2));
        assert_eq!(age(&two, "c"), Age::New);
        let back = after(two, &["a"]);
        assert_eq!(age(&back, "a"), Age::Current(3));
        assert_eq!(age(&back, "b"), stale(2, 3));
    }

    #[test]
    fn old_generations_are_forgotten_in_the_end() {
        let files: Vec<String> = (0..=GENERATIONS_KEPT + 1).map(|number| number.to_string()).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let applied = after(None, &files);
        assert_eq!(Applied::age(applied.as_ref(), "0"), Age::New);
        let oldest = Age::Stale { own: 2, current: GENERATIONS_KEPT as u64 + 2, server: name("srv1") };
        assert_eq!(Applied::age(applied.as_ref(), "1"), oldest);
    }
}
