//! What is done by hand where a majority of voters lost their disks at once: they forget the rest, begin anew, and the
//! database's record is put back.
//!
//! Every server keeps a copy of the record as it read it last. A record is changed by a majority's word only, and the newest
//! of all copies is put back, under the version after it; only where none stands, so at most once. A server that does not
//! answer may have a newer one, so all that could must answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use triad_api::{RestoreRequest, Restored, Snapshot};
use triad_cluster::{Coordination, PRIMARY_KEY, Swap};
use triad_failover::Record;
use triad_model::ServerName;

use crate::coordination::FOLDER as VOTERS_FOLDER;
use crate::failover::RECORD_COPY;
use crate::files::read_if_there;
use crate::orders::now_ms;

/// Puts aside what this server's etcd has, and that it ever voted, in the folder `state` of an agent that does not run.
/// Where that is now; `None` if it never voted.
pub fn forget(state: &Path) -> anyhow::Result<Option<PathBuf>> {
    let folder = state.join(VOTERS_FOLDER);
    let aside = state.join(format!("{VOTERS_FOLDER}-forgotten-{}", now_ms() / 1_000));
    match fs::rename(&folder, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot put {} aside", folder.display())),
    }
}

/// The record as this server read it last, if it ever did.
pub(crate) fn remembered(state: &Path) -> Result<Option<String>, String> {
    let path = state.join(RECORD_COPY);
    let read = read_if_there(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = read.map(String::from_utf8).transpose();
    text.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// All that is agreed upon.
pub(crate) async fn snapshot(home: &Coordination) -> anyhow::Result<Snapshot> {
    Ok(Snapshot { taken_unix_ms: now_ms(), values: home.snapshot().await? })
}

/// What each server remembers, or why it does not say.
pub(crate) type Memories = Vec<(ServerName, Result<Option<String>, String>)>;

/// Puts the newest record back that anybody remembers, if none stands.
pub(crate) async fn restore(
    home: &Coordination,
    memories: Memories,
    request: RestoreRequest,
) -> anyhow::Result<Restored> {
    if home.get(PRIMARY_KEY).await?.is_some() {
        bail!("the voters have a record, so there is nothing to put back; `triad status database` shows it");
    }
    let (from, newest) = newest(memories, request.from)?;
    let record = Record { version: newest.version + 1, ..newest };
    if !request.dry_run {
        let text = serde_json::to_string(&record)?;
        if let Swap::Lost(_) = home.swap(PRIMARY_KEY, None, &text).await? {
            bail!("another one made a record meanwhile; nothing is put back");
        }
        tracing::warn!(from, version = record.version, "an operator's word: the database's record is put back");
    }
    let Record { version, epoch, primary, in_sync } = record;
    Ok(Restored { version, epoch, primary, in_sync: in_sync.into_iter().collect(), from })
}

/// Whose record is the newest, and which it is.
fn newest(memories: Memories, snapshot: Option<Snapshot>) -> anyhow::Result<(String, Record)> {
    let mut newest: Option<(String, Record)> = None;
    let snapshot = snapshot.map(|snapshot| ("the snapshot".to_owned(), Ok(snapshot.values.get(PRIMARY_KEY).cloned())));
    let memories = memories.into_iter().map(|(server, memory)| (server.to_string(), memory));
    for (whose, memory) in memories.chain(snapshot) {
        let text = match memory {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(why) => bail!("{whose} may remember a newer record, and does not say: {why}"),
        };
        let record: Record =
            serde_json::from_str(&text).with_context(|| format!("the record of {whose} cannot be understood"))?;
        if newest.as_ref().is_none_or(|(_, newest)| newest.version < record.version) {
            newest = Some((whose, record));
        }
    }
    newest.context("nobody remembers a record: the primary of the file makes the first one by itself")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use triad_api::{RestoreRequest, Snapshot};
    use triad_cluster::{Coordination, FileHome, PRIMARY_KEY};
    use triad_model::ServerName;

    use super::{Memories, forget, remembered, restore};

    fn record(version: u64, primary: &str) -> String {
        format!(r#"{{"version":{version},"epoch":3,"primary":"{primary}","in_sync":["{primary}"]}}"#)
    }

    fn memories(all: &[(&str, Result<Option<String>, &str>)]) -> Memories {
        let memory = |(server, memory): &(&str, Result<Option<String>, &str>)| {
            (ServerName::new(*server).expect("a name"), memory.clone().map_err(str::to_owned))
        };
        all.iter().map(memory).collect()
    }

    #[tokio::test]
    async fn the_newest_record_is_put_back_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Coordination::File(FileHome::new(folder.path().join("agreed.json")));
        let request = |dry_run, from| RestoreRequest { dry_run, from };
        let all = [("srv1", Ok(None)), ("srv2", Ok(Some(record(7, "srv2")))), ("srv3", Ok(Some(record(6, "srv3"))))];
        let snapshot = |version| Snapshot {
            taken_unix_ms: 0,
            values: BTreeMap::from([(PRIMARY_KEY.to_owned(), record(version, "srv1"))]),
        };

        let refused = |memories, request| {
            let home = home.clone();
            async move { restore(&home, memories, request).await.expect_err("refused").to_string() }
        };
        let nobody = refused(memories(&all[..1]), request(false, None)).await;
        assert!(nobody.starts_with("nobody remembers a record"), "{nobody}");
        let silent = [all[1].clone(), ("srv3", Err("it sleeps"))];
        let silent = refused(memories(&silent), request(false, None)).await;
        assert_eq!(silent, "srv3 may remember a newer record, and does not say: it sleeps");

        let newer = restore(&home, memories(&all), request(true, Some(snapshot(9)))).await.expect("it could");
        assert_eq!((newer.version, newer.from.as_str()), (10, "the snapshot"));
        let restored = restore(&home, memories(&all), request(false, Some(snapshot(5)))).await.expect("it is");
        assert_eq!((restored.version, restored.epoch, restored.primary.as_str()), (8, 3, "srv2"));
        let stands = home.get(PRIMARY_KEY).await.expect("a read").expect("a record");
        assert_eq!(stands.value, record(8, "srv2"));
        let again = refused(memories(&all), request(false, None)).await;
        assert!(again.starts_with("the voters have a record"), "{again}");
    }

    #[test]
    fn what_is_forgotten_is_kept_aside() {
        let state = tempfile::tempdir().expect("a folder");
        assert_eq!(forget(state.path()).expect("nothing to do"), None);
        assert_eq!(remembered(state.path()), Ok(None));
        std::fs::create_dir(state.path().join("etcd")).expect("a folder");
        std::fs::write(state.path().join("etcd/voting"), "\"member\"").expect("a file");
        let aside = forget(state.path()).expect("done").expect("a folder");
        assert!(!state.path().join("etcd").exists() && aside.join("voting").is_file());
    }
}
