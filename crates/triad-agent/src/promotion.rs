//! Who is the database's primary where servers cannot agree on that by themselves: whom the file names, until an operator
//! promotes another one. There is no third server to ask, so nothing here decides; a server that comes back asks the others
//! for a word that it missed before its database starts, and again and again afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use triad_api::Peer;
use triad_model::{Database, Design, Promotion, ServerName};

use crate::files::{read_if_there, replace};
use crate::setup::Setup;

/// The last word, under the agent's state.
const FILE: &str = "promotion.json";
/// Time between two looks for a word that was missed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Operators' words, on a server with a database.
pub(crate) struct Promotions {
    own: ServerName,
    design: Design,
    file: PathBuf,
    others: Vec<(ServerName, Peer)>,
    current: watch::Sender<Option<Promotion>>,
}

impl Promotions {
    /// What was said, here or to the others; `None` where there is nothing to be said.
    pub async fn start(setup: &Setup) -> anyhow::Result<Option<Self>> {
        let own = setup.server.name.clone();
        let members: Vec<&ServerName> = setup.design.database.iter().flat_map(Database::members).collect();
        if setup.design.fails_over() || members.len() < 2 || !members.contains(&&own) {
            return Ok(None);
        }
        let tls = triad_tls::mutual_client_config(&setup.secrets.identity)?;
        let peer = |name: &&ServerName| Some(((*name).clone(), Peer::of(setup.design.server(name)?, tls.clone())?));
        let others = members.iter().filter(|name| ***name != own).filter_map(peer).collect();
        let file = setup.state.join(FILE);
        let promotions =
            Self { own, design: setup.design.clone(), current: watch::Sender::new(read(&file)?), file, others };
        if promotions.current.borrow().as_ref().is_some_and(|promotion| !promotion.is_about(&promotions.design)) {
            // The file says it now, or something else.
            fs::remove_file(&promotions.file).context("cannot forget an operator's word")?;
            promotions.current.send_replace(None);
        }
        if let Some(missed) = missed(&promotions.others, &promotions.design, promotions.number()).await {
            promotions.adopt(missed)?;
        }
        Ok(Some(promotions))
    }

    /// The last word.
    pub fn current(&self) -> Option<Promotion> {
        self.current.borrow().clone()
    }

    /// The same, for whoever asks.
    pub fn watch(&self) -> watch::Receiver<Option<Promotion>> {
        self.current.subscribe()
    }

    /// The next word, that this server is the primary; nobody else may be that any more.
    pub async fn next(&self) -> anyhow::Result<Promotion> {
        let database = self.design.database.as_ref().context("the design has no database")?;
        let primary = self.current().map_or_else(|| database.primary.clone(), |promotion| promotion.primary);
        if primary == self.own {
            bail!("{primary} is the primary already");
        }
        for (server, peer) in self.others.iter().filter(|(server, _)| *server == primary) {
            if peer.report().await.is_ok() {
                bail!(
                    "{server} is the primary, and its agent answers: end that first (`systemctl stop triad-agent` on \
                     {server}), then nothing there takes writes"
                );
            }
        }
        Ok(Promotion { number: self.number() + 1, primary: self.own.clone(), instead_of: database.primary.clone() })
    }

    /// Keeps `promotion`, through restarts as well.
    pub fn adopt(&self, promotion: Promotion) -> anyhow::Result<()> {
        replace(&self.file, &serde_json::to_vec(&promotion)?, None).context("cannot keep an operator's word")?;
        tracing::warn!(primary = promotion.primary.as_str(), "an operator's word: the database has another primary");
        self.current.send_replace(Some(promotion));
        Ok(())
    }

    /// Looks for a word that was missed, for as long as somebody wants to `hear` of it.
    pub fn look_out(&self, hear: impl AsyncFn(Promotion) -> bool + 'static) {
        let (others, design, current) = (self.others.clone(), self.design.clone(), self.current.subscribe());
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let number = current.borrow().as_ref().map_or(0, |promotion| promotion.number);
                if let Some(missed) = missed(&others, &design, number).await
                    && !hear(missed).await
                {
                    return;
                }
            }
        });
    }

    fn number(&self) -> u64 {
        self.current.borrow().as_ref().map_or(0, |promotion| promotion.number)
    }
}

/// The last word that `others` know about `design` and that comes after the one of this `number`.
async fn missed(others: &[(ServerName, Peer)], design: &Design, number: u64) -> Option<Promotion> {
    let asked = others.iter().map(|(_, peer)| peer.promotion());
    let known = futures_util::future::join_all(asked).await.into_iter().filter_map(|answer| answer.ok().flatten());
    known.filter(|it| it.number > number && it.is_about(design)).max_by_key(|it| it.number)
}

fn read(file: &Path) -> anyhow::Result<Option<Promotion>> {
    let text = read_if_there(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Some(text) = text else { return Ok(None) };
    let read = serde_json::from_slice(&text);
    read.map(Some)
        .with_context(|| format!("{} does not say who the primary is: remove it if it is the file's", file.display()))
}
