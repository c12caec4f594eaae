//! The thread with the socket. It has a priority above everything that serves, so that a host which is busy answering
//! users does not look dead, and it waits for nothing but the socket and the clock.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use aws_lc_rs::rand;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::watch;
use triad_model::{HEARTBEAT_MS, ServerName};

use crate::beat::{BEAT_BYTES_MAX, Datagram, HeardList};
use crate::pulse::{Pulse, View};
use crate::session::{self, KEY_BYTES, Session};

const BEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// Time between two looks at the clock: within a beat's time, so that a look that comes later than that means something.
const LOOK: Duration = Duration::from_millis(HEARTBEAT_MS / 4);
/// Least time between two beats, where what is heard changes.
const PAUSE_MIN: Duration = Duration::from_millis(HEARTBEAT_MS / 5);
/// How often what is only counted is shown, and when somebody was heard.
const SHOW: Duration = Duration::from_millis(2 * HEARTBEAT_MS);
/// Datagrams taken between two looks: more than ten times what a design's servers send in that time.
const DATAGRAMS_MAX: usize = 256;
/// Keys that wait to be learnt.
const KEYS_MAX: usize = 64;
/// The thread's nice value: above all that serves, below what the kernel's own threads have.
const NICE: i32 = -15;

/// The beats of one server, going and coming. They end when it is dropped.
pub struct Heart {
    /// What is known of the others: at once when somebody falls silent, returns or says something new of whom it hears,
    /// and five times a second.
    pub view: watch::Receiver<View>,
    root: Key,
    boot: u64,
    sequence: Arc<AtomicU64>,
    keys: SyncSender<(ServerName, Session)>,
    says: Arc<Says>,
    origin: Instant,
}

/// What is said with each beat, and how the thread is told that it changed.
struct Says {
    payload: Mutex<Vec<u8>>,
    bell: OwnedFd,
}

/// Why there are no beats.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel gave no random numbers.
    #[error("no random numbers for keys")]
    Random,
    /// The thread or its socket could not be had.
    #[error("no thread for heartbeats: {0}")]
    Thread(#[from] std::io::Error),
}

impl Heart {
    /// Sends beats of `own` to each of `peers`, and listens to theirs, on `socket`.
    pub fn start(own: &ServerName, peers: &[(ServerName, SocketAddr)], socket: UdpSocket) -> Result<Self, StartError> {
        let mut secret = [0; KEY_BYTES + size_of::<u64>()];
        rand::fill(&mut secret).map_err(|_| StartError::Random)?;
        let (secret, boot) = secret.split_first_chunk::<KEY_BYTES>().ok_or(StartError::Random)?;
        let boot = u64::from_be_bytes(boot.try_into().map_err(|_| StartError::Random)?);
        let root = Key::new(HMAC_SHA256, secret);
        let names: Vec<ServerName> = peers.iter().map(|(name, _)| name.clone()).collect();
        let pulse = Pulse::new(own, boot, &root, &names);
        let (shown, view) = watch::channel(pulse.view());
        let (keys, learnt) = sync_channel(KEYS_MAX);
        let (sequence, origin) = (Arc::new(AtomicU64::new(0)), Instant::now());
        socket.set_nonblocking(true)?;
        let addresses = peers.iter().map(|(_, address)| *address).collect();
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let says = Arc::new(Says { payload: Mutex::default(), bell });
        let beating =
            Beating { pulse, socket, addresses, learnt, says: says.clone(), shown, sequence: sequence.clone(), origin };
        std::thread::Builder::new().name("heart".to_owned()).spawn(move || beating.run())?;
        Ok(Self { view, root, boot, sequence, keys, says, origin })
    }

    /// What `receiver` must know to believe our beats.
    pub fn session(&self, receiver: &ServerName) -> Session {
        let key = session::to_hex(&session::bytes(&self.root, receiver));
        Session { boot: self.boot, sequence: self.sequence.load(Relaxed), key }
    }

    /// What `sender` answered when it was asked for the same. If too many wait, it must be asked again.
    pub fn learn(&self, sender: &ServerName, session: Session) {
        let _ = self.keys.try_send((sender.clone(), session));
    }

    /// Says `payload` with each beat from now on, and with one more now if it is `urgent`. What is longer than
    /// [`crate::beat::PAYLOAD_BYTES_MAX`] is not said, nor is anything else then.
    pub fn say(&self, payload: Vec<u8>, urgent: bool) {
        *self.says.payload.lock().unwrap_or_else(PoisonError::into_inner) = payload;
        if urgent {
            // It fails only if it rings already.
            let _ = rustix::io::write(&self.says.bell, &1_u64.to_ne_bytes());
        }
    }

    /// The clock of the [`View`]'s times.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

struct Beating {
    pulse: Pulse,
    socket: UdpSocket,
    addresses: Vec<SocketAddr>,
    learnt: Receiver<(ServerName, Session)>,
    says: Arc<Says>,
    shown: watch::Sender<View>,
    sequence: Arc<AtomicU64>,
    origin: Instant,
}

impl Beating {
    fn run(mut self) {
        // Of this thread alone: on Linux, priorities are those of threads.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::info!(%error, "heartbeats have no priority here: a busy host may look dead to others");
        }
        let mut datagram = Datagram::new();
        let mut said = HeardList::new();
        let (mut beat_at, mut show_at, mut beaten_at) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut wake_at = self.origin.elapsed();
        let mut has_news = false;
        while self.learn() {
            has_news |= self.is_rung();
            let now = self.receive();
            self.pulse.look(now, now.saturating_sub(wake_at));
            let heard = self.pulse.heard();
            has_news |= heard.as_heard() != said.as_heard();
            let is_news = has_news && now >= beaten_at + PAUSE_MIN;
            if now >= beat_at || is_news {
                self.beat(now, &mut datagram);
                (said, beaten_at, has_news) = (heard, now, false);
            }
            if now >= beat_at {
                // In step; but who was late makes up for nothing.
                beat_at = if now < beat_at + BEAT { beat_at + BEAT } else { now + BEAT };
            }
            if self.pulse.take_news() || now >= show_at {
                self.shown.send_replace(self.pulse.view());
                show_at = now + SHOW;
            }
            let pause = if has_news { PAUSE_MIN / 4 } else { LOOK };
            wake_at = beat_at.min(self.origin.elapsed() + pause);
            self.wait(wake_at);
        }
    }

    /// Takes keys that were asked for; false when nobody is interested any more.
    fn learn(&mut self) -> bool {
        loop {
            match self.learnt.try_recv() {
                Ok((sender, session)) => {
                    if let Err(error) = self.pulse.learn(&sender, &session) {
                        tracing::warn!(server = sender.as_str(), %error, "a server's key cannot be used");
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Whether what is to be said is urgent.
    fn is_rung(&self) -> bool {
        let mut rung = [0; size_of::<u64>()];
        rustix::io::read(&self.says.bell, &mut rung).is_ok()
    }

    /// Takes what has arrived; the time then.
    fn receive(&mut self) -> Duration {
        // One byte more than any beat has: a longer one is not mistaken for one.
        let mut buffer = [0; BEAT_BYTES_MAX + 1];
        for _ in 0..DATAGRAMS_MAX {
            // Errors are those of datagrams sent before, or there is nothing more.
            let Ok((length, _)) = self.socket.recv_from(&mut buffer) else { break };
            let _ = self.pulse.take(&buffer[..length], self.origin.elapsed());
        }
        self.origin.elapsed()
    }

    fn beat(&mut self, now: Duration, datagram: &mut Datagram) {
        let sequence = self.sequence.fetch_add(1, Relaxed) + 1;
        self.pulse.say(&self.says.payload.lock().unwrap_or_else(PoisonError::into_inner));
        let (socket, addresses) = (&self.socket, &self.addresses);
        // One that cannot be sent is one that is lost: the next follows soon.
        self.pulse.beat(sequence, now, datagram, |position, bytes| _ = socket.send_to(bytes, addresses[position]));
    }

    fn wait(&self, until: Duration) {
        let wait = until.saturating_sub(self.origin.elapsed());
        let Ok(timeout) = Timespec::try_from(wait) else { return };
        let readable = |source| PollFd::from_borrowed_fd(source, PollFlags::IN);
        let mut sockets = [readable(self.socket.as_fd()), readable(self.says.bell.as_fd())];
        // Woken early is no harm.
        let _ = poll(&mut sockets, Some(&timeout));
    }
}
