//! The file: swaps as a map of revisions says, whoever holds it, and none is lost.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use triad_cluster::coordination::VALUE_BYTES_MAX;
use triad_cluster::{Coordination, CoordinationError, FileHome, KEYS, Swap, Versioned};

use super::soon;

fn home(folder: &Path) -> Coordination {
    Coordination::File(FileHome::new(folder.join("agreed.json")))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Adds one to the number under `key`, against whoever else does; the revision it became.
async fn add_one(home: &Coordination, key: &str) -> u64 {
    loop {
        let standing = home.get(key).await.expect("a read");
        let number: u64 = standing.as_ref().map_or(0, |standing| standing.value.parse().expect("a number"));
        let expected = standing.map(|standing| standing.revision);
        if let Swap::Done { revision } = home.swap(key, expected, &(number + 1).to_string()).await.expect("a swap") {
            return revision;
        }
    }
}

#[tokio::test]
async fn of_swaps_at_once_exactly_one_wins() {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let folder = tempfile::tempdir().expect("a folder");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        // Each its own handle, as another process would have.
        let home = home(folder.path());
        tasks.spawn(async move {
            let mut revisions = Vec::new();
            for _ in 0..EACH {
                revisions.push(add_one(&home, "n").await);
            }
            revisions
        });
    }
    let mut revisions: Vec<u64> = soon("swaps", tasks.join_all()).await.concat();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=TASKS * EACH).collect::<Vec<_>>(), "each revision is one swap's");
    let last = Versioned { value: (TASKS * EACH).to_string(), revision: TASKS * EACH };
    assert_eq!(home(folder.path()).get("n").await.expect("a read"), Some(last));
}

#[tokio::test]
async fn a_watch_shows_what_another_handle_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (home(folder.path()), home(folder.path()));
    let mut seen = ours.watch("k");
    soon("a first read", seen.wait_for(|seen| seen.confirmed.is_some())).await.expect("it goes on");
    assert_eq!(seen.borrow().value, None);
    let done = theirs.swap("k", None, "theirs").await.expect("a swap");
    assert_eq!(done, Swap::Done { revision: 1 });
    soon("their swap", seen.wait_for(|seen| seen.value.as_ref().is_some_and(|value| value.revision == 1)))
        .await
        .expect("it goes on");
    let before = seen.borrow().confirmed;
    soon("another read", seen.wait_for(|seen| seen.confirmed > before)).await.expect("it goes on");
    assert_eq!(seen.borrow().value, Some(Versioned { value: "theirs".to_owned(), revision: 1 }));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_confirms_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path());
    home.swap("k", None, "v").await.expect("a swap");
    let file = folder.path().join("agreed.json");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, &text[..text.len() / 2]).expect("it can be cut");
    let error = home.swap("k", Some(1), "w").await.expect_err("half a file");
    assert!(matches!(error, CoordinationError::Malformed { .. }), "{error}");
    let mut seen = home.watch("k");
    tokio::time::timeout(2 * triad_cluster::coordination::CONFIRM_EVERY, seen.changed())
        .await
        .expect_err("there is nothing to show");
    let error = home.swap("k", None, &"x".repeat(VALUE_BYTES_MAX + 1)).await.expect_err("too long");
    assert!(matches!(error, CoordinationError::TooLong(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Keys, values and what is expected at random, some from a copy of the file, against a map.
    #[test]
    fn it_does_what_a_map_of_revisions_does(
        steps in prop::collection::vec((0..3_u8, prop::option::of(0..12_u64), any::<bool>(), "\\PC{0,8}"), 1..20),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = home(folder.path());
        let mut map: BTreeMap<String, Versioned> = BTreeMap::new();
        let mut last = 0;
        runtime().block_on(async {
            for (key, guess, knows, value) in steps {
                let key = format!("key-{key}");
                let standing = map.get(&key).cloned();
                let expected = if knows { standing.as_ref().map(|standing| standing.revision) } else { guess };
                let swap = home.swap(&key, expected, &value).await.expect("a swap");
                if expected == standing.as_ref().map(|standing| standing.revision) {
                    last += 1;
                    prop_assert_eq!(swap, Swap::Done { revision: last });
                    map.insert(key.clone(), Versioned { value, revision: last });
                } else {
                    prop_assert_eq!(swap, Swap::Lost(standing));
                }
                prop_assert_eq!(home.get(&key).await.expect("a read"), map.get(&key).cloned());
            }
            prop_assert_eq!(home.snapshot().await.expect("a copy"), BTreeMap::new(), "none of the keys was written");
            home.swap(KEYS[1], None, "x").await.expect("a swap");
            let copy = home.snapshot().await.expect("a copy");
            prop_assert_eq!(copy, BTreeMap::from([(KEYS[1].to_owned(), "x".to_owned())]));
            Ok(())
        })?;
    }
}
