//! A flood of connections without requests, as a process in the client's namespace.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::load::interruption;
use crate::scenario::Flood;

/// Connections that are being opened at one time.
const OPENING_MAX: usize = 64;
/// An attempt takes no longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause after an attempt that failed, or a connection that the site closed.
const PAUSE: Duration = Duration::from_millis(100);

/// What a flood's process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FloodPlan {
    pub host: String,
    pub port: u16,
    pub flood: Flood,
    pub duration_ms: u64,
}

/// What it says when it is told to end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Flooded {
    pub opened: u64,
    pub failed: u64,
    /// By the site.
    pub closed: u64,
    pub open_max: u64,
}

#[derive(Default)]
struct State {
    flooded: Flooded,
    open: u64,
}

/// Floods the site as `plan` (JSON) says, until SIGTERM or the plan's end; writes what it did as JSON.
///
/// # Errors
/// If the plan cannot be read, or the site's name not be resolved.
pub fn flood_main(plan: &str) -> anyhow::Result<()> {
    let plan: FloodPlan = serde_json::from_str(plan).context("not a flood's plan")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state = Rc::new(RefCell::new(State::default()));
    LocalSet::new().block_on(&runtime, flood(&plan, &state))?;
    println!("{}", serde_json::to_string(&state.borrow().flooded)?);
    Ok(())
}

async fn flood(plan: &FloodPlan, state: &Rc<RefCell<State>>) -> anyhow::Result<()> {
    let mut addresses = lookup_host((plan.host.as_str(), plan.port)).await.context("the site has no address")?;
    let address = addresses.next().context("the site has no address")?;
    let opening = Rc::new(Semaphore::new(OPENING_MAX));
    let (clients, hold) = match plan.flood {
        Flood::Idle(count) => (count as usize, true),
        Flood::New => (OPENING_MAX, false),
    };
    for _ in 0..clients {
        tokio::task::spawn_local(client(address, hold, Rc::clone(&opening), Rc::clone(state)));
    }
    tokio::select! {
        () = interruption() => {}
        () = sleep(Duration::from_millis(plan.duration_ms)) => {}
    }
    Ok(())
}

/// Opens a connection, holds it until the site closes it if it is to `hold` it, and begins again; for ever.
async fn client(address: SocketAddr, hold: bool, opening: Rc<Semaphore>, state: Rc<RefCell<State>>) {
    loop {
        let place = opening.acquire().await;
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        drop(place);
        let Ok(Ok(mut stream)) = stream else {
            state.borrow_mut().flooded.failed += 1;
            sleep(PAUSE).await;
            continue;
        };
        // Ended by RST, a connection leaves no port behind that has to wait for a minute.
        let _ = stream.set_zero_linger();
        opened(&mut state.borrow_mut());
        if hold {
            // Whatever comes, an end or an error: nothing was asked for.
            let _ = stream.read(&mut [0; 64]).await;
            state.borrow_mut().flooded.closed += 1;
        }
        drop(stream);
        state.borrow_mut().open -= 1;
        if hold {
            sleep(PAUSE).await;
        }
    }
}

fn opened(state: &mut State) {
    state.open += 1;
    state.flooded.opened += 1;
    state.flooded.open_max = state.flooded.open_max.max(state.open);
}
