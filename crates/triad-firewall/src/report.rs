//! What the firewall dropped, from the kernel's counters.

use serde::Deserialize;
use triad_model::FirewallReport;

use crate::apply::{FirewallError, nft};
use crate::plan::TABLE;

/// Reads the counters of our table; an error where there is none.
pub async fn report() -> Result<FirewallReport, FirewallError> {
    parse(&nft(&["--json", "list", "counters", "table", "inet", TABLE], "").await?)
}

/// libnftables-json(5): a list of objects, each with one key that says what it is.
#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    counter: Option<Counter>,
}

#[derive(Deserialize)]
struct Counter {
    name: String,
    packets: u64,
    bytes: u64,
}

fn parse(json: &[u8]) -> Result<FirewallReport, FirewallError> {
    let listing: Listing = serde_json::from_slice(json).map_err(FirewallError::Answer)?;
    let counters = listing.nftables.into_iter().filter_map(|item| item.counter);
    Ok(FirewallReport { drops: counters.map(|counter| (counter.name, counter.packets, counter.bytes)).collect() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn counters_are_found_among_other_objects() {
        let json = br#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"counter": {"family": "inet", "name": "invalid", "table": "triad", "packets": 0, "bytes": 0}},
            {"counter": {"family": "inet", "name": "default", "table": "triad", "packets": 7, "bytes": 420}}
        ]}"#;
        let report = parse(json).expect("nft's own output");
        assert_eq!(report.drops, [("invalid".to_owned(), 0, 0), ("default".to_owned(), 7, 420)]);
    }

    #[test]
    fn another_answer_is_an_error_that_says_what_to_look_at() {
        let error = parse(b"table inet triad {").expect_err("not JSON").to_string();
        assert!(error.starts_with("nft's list of counters cannot be read ("), "{error}");
    }
}
