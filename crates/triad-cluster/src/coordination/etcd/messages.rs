//! What etcd's JSON gateway takes and gives (api/v3 of etcd 3.4): 64-bit numbers are strings, bytes are base64, and what
//! has its default value is left out.

use data_encoding::BASE64;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::coordination::{CoordinationError, Member, Versioned};

/// `/v3/kv/range` of one key; linearizable unless asked for otherwise.
pub(super) fn range(key: &str) -> Value {
    json!({ "key": base64(key) })
}

/// `/v3/kv/txn`: puts `value` if the key's last change has the revision `expected`; 0 where it does not exist.
pub(super) fn compare_and_put(key: &str, expected: u64, value: &str) -> Value {
    json!({
        "compare": [{ "key": base64(key), "target": "MOD", "result": "EQUAL", "mod_revision": expected.to_string() }],
        "success": [{ "request_put": { "key": base64(key), "value": base64(value) } }],
        "failure": [{ "request_range": { "key": base64(key) } }],
    })
}

/// `/v3/watch` of one key, from now on.
pub(super) fn watch(key: &str) -> Value {
    json!({ "create_request": { "key": base64(key) } })
}

fn base64(text: &str) -> String {
    BASE64.encode(text.as_bytes())
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub revision: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    kvs: Vec<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "number")]
    mod_revision: u64,
    #[serde(deserialize_with = "bytes")]
    value: Vec<u8>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Txn {
    pub header: Header,
    pub succeeded: bool,
    responses: Vec<TxnResponse>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TxnResponse {
    response_range: Range,
}

/// A line of a stream.
#[derive(Deserialize)]
pub(super) enum Streamed<T> {
    #[serde(rename = "result")]
    Result(T),
    #[serde(rename = "error")]
    Error(Value),
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub created: bool,
    pub canceled: bool,
    pub events: Vec<Event>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub kv: KeyValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Members {
    members: Vec<ListedMember>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedMember {
    #[serde(rename = "ID", deserialize_with = "number")]
    id: u64,
    name: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
}

/// What a refusal says.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    pub message: String,
}

impl Range {
    pub fn standing(self) -> Result<Option<Versioned>, String> {
        self.kvs.into_iter().next().map(KeyValue::versioned).transpose()
    }
}

impl KeyValue {
    pub fn versioned(self) -> Result<Versioned, String> {
        let value = String::from_utf8(self.value).map_err(|error| error.to_string())?;
        Ok(Versioned { value, revision: self.mod_revision })
    }
}

impl Txn {
    /// What stood there instead.
    pub fn standing(self) -> Result<Option<Versioned>, String> {
        self.responses.into_iter().next().unwrap_or_default().response_range.standing()
    }
}

impl From<Members> for Vec<Member> {
    fn from(Members { members }: Members) -> Self {
        let member = |ListedMember { id, name, peer_urls, client_urls }| Member { id, name, peer_urls, client_urls };
        members.into_iter().map(member).collect()
    }
}

/// `bytes` from `place` as JSON.
pub(super) fn decode<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T, CoordinationError> {
    serde_json::from_slice(bytes).map_err(|error| malformed(place, error.to_string()))
}

pub(super) fn malformed(place: &str, reason: String) -> CoordinationError {
    CoordinationError::Malformed { place: place.to_owned(), reason }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    BASE64.decode(String::deserialize(deserializer)?.as_bytes()).map_err(D::Error::custom)
}
