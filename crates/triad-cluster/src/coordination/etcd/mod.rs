//! etcd, as its clients see it: questions to its JSON gateway, to the nearest voter that answers.
//!
//! Asking twice is harmless: a swap names the revision it replaces, and a revision is replaced once. Only whose swap it
//! was is not known any more, if one was sent whose answer never came; that is an error then.

mod endpoint;
mod messages;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use triad_model::ServerName;

use self::endpoint::{Endpoint, Lines, Unanswered};
use self::messages::{Members, Range, Txn, Watched, decode, malformed};
pub use self::process::{Beginning, ETCD, ETCD_ELECTION_MS, ETCD_HEARTBEAT_MS, Seat};
use super::watching::heard;
use super::{
    ATTEMPT_TIMEOUT, CALL_TIMEOUT, CoordinationError, FIRST_ATTEMPT_TIMEOUT, Member, PRIMARY_KEY, Seen, Swap, Versioned,
};

/// Time between two rounds through the voters.
const ROUND_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Time between two tries to follow, and between two looks whether another voter is to be followed.
const FOLLOW_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A server that votes, and where its etcd is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// The server.
    pub server: ServerName,
    /// Where it answers clients.
    pub client: SocketAddr,
    /// Where it hears other voters.
    pub peer: SocketAddr,
}

impl Voter {
    /// Where clients ask it.
    pub fn client_url(&self) -> String {
        format!("https://{}", self.client)
    }

    /// Where other voters reach it.
    pub fn peer_url(&self) -> String {
        format!("https://{}", self.peer)
    }
}

/// A client of the voters.
#[derive(Clone)]
pub struct Etcd {
    endpoints: Arc<[Arc<Endpoint>]>,
}

/// An answer.
struct Answer<'e> {
    /// Whose it is.
    place: &'e str,
    bytes: Bytes,
    /// The question was sent to another one too, which did not answer.
    doubt: Option<String>,
}

/// Nobody answered.
struct Silence {
    why: String,
    /// The question was sent to somebody.
    doubt: Option<String>,
}

impl Etcd {
    /// Asks `voters`, the first one first; `None` if there is none. `tls` shows this server's identity and trusts the
    /// design's authority.
    pub fn new(voters: &[Voter], tls: &Arc<ClientConfig>) -> Option<Self> {
        let endpoint = |voter: &Voter| Arc::new(Endpoint::new(voter.server.clone(), voter.client, tls.clone()));
        let endpoints: Arc<[Arc<Endpoint>]> = voters.iter().map(endpoint).collect();
        (!endpoints.is_empty()).then_some(Self { endpoints })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordinationError> {
        let Answer { place, bytes, .. } = self.ask("/v3/kv/range", &messages::range(key)).await?;
        decode::<Range>(place, &bytes)?.standing().map_err(|reason| malformed(place, reason))
    }

    pub(super) async fn swap(&self, key: &str, expected: Option<u64>, value: &str) -> Result<Swap, CoordinationError> {
        let question = messages::compare_and_put(key, expected.unwrap_or(0), value);
        let Answer { place, bytes, doubt } =
            self.ask("/v3/kv/txn", &question).await.map_err(|silence| match silence.doubt {
                Some(doubt) => CoordinationError::Unknown(doubt),
                None => CoordinationError::Unanswered(silence.why),
            })?;
        let answer = decode::<Txn>(place, &bytes)?;
        match (answer.succeeded, doubt) {
            (true, _) => Ok(Swap::Done { revision: answer.header.revision }),
            (false, None) => Ok(Swap::Lost(answer.standing().map_err(|reason| malformed(place, reason))?)),
            (false, Some(doubt)) => Err(CoordinationError::Unknown(doubt)),
        }
    }

    pub(super) async fn members(&self) -> Result<Vec<Member>, CoordinationError> {
        let Answer { place, bytes, .. } = self.ask("/v3/cluster/member/list", &json!({})).await?;
        Ok(decode::<Members>(place, &bytes)?.into())
    }

    /// Whether the voter that is asked first answers, with a majority behind it.
    pub async fn nearest_agrees(&self) -> bool {
        self.endpoints[0].ask("/v3/kv/range", &messages::range(PRIMARY_KEY), ATTEMPT_TIMEOUT).await.is_ok()
    }

    /// Has the voters list `newcomer`, which has no data, as one that never voted: with its data it forgot how it voted,
    /// so it may not go on as the one it was. Needs a majority of those listed; can be done again at any point. All that
    /// are listed then.
    pub async fn admit(&self, newcomer: &Voter) -> Result<Vec<Member>, CoordinationError> {
        let url = newcomer.peer_url();
        let listed = self.members().await?;
        for member in listed.iter().filter(|member| member.peer_urls.contains(&url)) {
            self.ask("/v3/cluster/member/remove", &json!({ "ID": member.id.to_string() })).await?;
        }
        let Answer { place, bytes, .. } = self.ask("/v3/cluster/member/add", &json!({ "peerURLs": [url] })).await?;
        Ok(decode::<Members>(place, &bytes)?.into())
    }

    /// Shows what changes, as one voter tells it; another one tells it when that one fails.
    pub(super) async fn follow(&self, key: &str, seen: &watch::Sender<Seen>, news: &Notify) {
        loop {
            let endpoint = self.first();
            if let Ok(lines) = endpoint.stream("/v3/watch", &messages::watch(key), ATTEMPT_TIMEOUT).await {
                let why = self.follow_one(endpoint, lines, seen, news).await;
                tracing::debug!(key, voter = endpoint.place, why, "another voter is followed");
            }
            tokio::time::sleep(FOLLOW_AGAIN_AFTER).await;
        }
    }

    /// Until its end, or until another voter would be asked first; says why.
    async fn follow_one(
        &self,
        endpoint: &Endpoint,
        mut lines: Lines,
        seen: &watch::Sender<Seen>,
        news: &Notify,
    ) -> String {
        let mut looks = tokio::time::interval(FOLLOW_AGAIN_AFTER);
        loop {
            let watched: Watched = tokio::select! {
                line = lines.next() => match line {
                    Ok(Some(watched)) => watched,
                    Ok(None) => return "the stream ended".to_owned(),
                    Err(reason) => return reason,
                },
                _ = looks.tick() => match std::ptr::eq(self.first(), endpoint) && !endpoint.has_failed() {
                    true => continue,
                    false => return "another one is asked first".to_owned(),
                },
            };
            if watched.canceled {
                return "the voter ended it".to_owned();
            }
            if watched.created {
                // What changed just before it began, it does not tell.
                news.notify_one();
            }
            let told = watched.events.into_iter().filter_map(|event| event.kv.versioned().ok());
            told.for_each(|value| heard(seen, value));
        }
    }

    /// Asks one voter after the other, round after round, until one answers or time is up.
    async fn ask(&self, path: &str, question: &Value) -> Result<Answer<'_>, Silence> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let (mut doubt, mut why) = (None, String::new());
        let mut attempt = FIRST_ATTEMPT_TIMEOUT;
        loop {
            for endpoint in self.in_order() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Silence { why, doubt });
                }
                match endpoint.ask(path, question, left.min(attempt)).await {
                    Ok(bytes) => return Ok(Answer { place: &endpoint.place, bytes, doubt }),
                    Err(Unanswered::NotSent(reason)) => why = format!("{}: {reason}", endpoint.place),
                    Err(Unanswered::Sent(reason)) => doubt = Some(format!("{}: {reason}", endpoint.place)),
                }
            }
            attempt = ATTEMPT_TIMEOUT;
            tokio::time::sleep(ROUND_AGAIN_AFTER).await;
        }
    }

    /// Those that answered last in their order, then the others.
    fn in_order(&self) -> Vec<&Arc<Endpoint>> {
        let (failed, good): (Vec<_>, Vec<_>) = self.endpoints.iter().partition(|endpoint| endpoint.has_failed());
        good.into_iter().chain(failed).collect()
    }

    fn first(&self) -> &Endpoint {
        self.in_order()[0]
    }
}

impl From<Silence> for CoordinationError {
    fn from(Silence { why, doubt }: Silence) -> Self {
        Self::Unanswered(doubt.unwrap_or(why))
    }
}
