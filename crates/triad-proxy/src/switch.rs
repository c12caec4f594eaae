//! Connections that stop speaking HTTP: WebSockets and whatever else 101 switches to.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy_bidirectional};

use crate::client::Client;
use crate::progress::{Progress, Watched};
use crate::stream::{Buffer, Stream};

/// Time after which a switched connection on which nothing moves is closed.
const SWITCHED_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Copies between both ends until both directions have ended. The client has its 101 already; what it sent behind its
/// request goes on only now, and `rest` is what the backend sent behind its answer.
pub(crate) async fn join(client: &mut Client, backend: Stream, rest: Buffer) {
    if let Err(error) = copy(client, backend, rest).await {
        tracing::debug!(%error, "switched connection ended");
    }
}

async fn copy(client: &mut Client, backend: Stream, mut rest: Buffer) -> io::Result<()> {
    let progress = Progress::default();
    let mut near = Watched { io: &mut client.stream, progress: progress.clone() };
    let mut far = Watched { io: backend, progress: progress.clone() };
    let copied = async {
        near.write_all(rest.bytes()).await?;
        far.write_all(client.input.bytes()).await?;
        rest.clear();
        rest.release();
        client.input.clear();
        client.input.release();
        copy_bidirectional(&mut near, &mut far).await.map(drop)
    };
    tokio::select! {
        copied = copied => copied,
        () = progress.stalled(SWITCHED_IDLE_TIMEOUT) => Err(io::ErrorKind::TimedOut.into()),
    }
}
