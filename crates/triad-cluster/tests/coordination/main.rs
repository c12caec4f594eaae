//! What servers agree on: in a file, and in a real etcd of three voters.

mod etcd;
mod file;

use std::time::Duration;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// `work`, or the end of patience.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
