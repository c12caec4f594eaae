//! As much of a MySQL client as asking `SELECT 1` takes (protocol version 10, text resultsets, no password).

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::bench::subject::SIDE_CPU;

/// Time an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// `CLIENT_LONG_PASSWORD`, `CLIENT_PROTOCOL_41`, `CLIENT_SECURE_CONNECTION`, `CLIENT_PLUGIN_AUTH`.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
const PACKET_BYTES_MAX: u32 = 1 << 24;
/// utf8mb4.
const CHARSET: u8 = 45;
const COM_QUERY: u8 = 3;
/// First bytes of answers.
const OK: u8 = 0x00;
const EOF: u8 = 0xfe;
const ERROR: u8 = 0xff;

/// A session.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Logs in at 127.0.0.1:`port`. This thread stays on the load's CPU from then on.
    pub fn connect(port: u16) -> anyhow::Result<Self> {
        let mut cpus = CpuSet::new();
        cpus.set(SIDE_CPU as usize)?;
        sched_setaffinity(Pid::from_raw(0), &cpus)?;
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut client = Self { stream: BufReader::new(stream) };
        client.read().context("no greeting")?;
        client.send(1, &login())?;
        let mut answer = client.read()?;
        if answer.first() == Some(&EOF) {
            // Asked for another method: no password either.
            client.send(3, &[])?;
            answer = client.read()?;
        }
        if answer.first() != Some(&OK) {
            bail!("not let in: {}", String::from_utf8_lossy(&answer));
        }
        Ok(client)
    }

    /// Asks so many times; how long each answer took.
    pub fn run(&mut self, queries: usize) -> anyhow::Result<Vec<Duration>> {
        (0..queries).map(|_| self.ask()).collect()
    }

    fn ask(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.send(0, &[&[COM_QUERY], &b"SELECT 1"[..]].concat())?;
        // Columns, then rows; each list has its end.
        let mut ends = 0;
        while ends < 2 {
            let packet = self.read()?;
            match packet.first() {
                Some(&EOF) if packet.len() < 9 => ends += 1,
                Some(&ERROR) | None => bail!("not answered: {}", String::from_utf8_lossy(&packet)),
                Some(_) => {}
            }
        }
        Ok(began.elapsed())
    }

    fn send(&mut self, number: u8, payload: &[u8]) -> anyhow::Result<()> {
        let [a, b, c, _] = u32::try_from(payload.len())?.to_le_bytes();
        self.stream.get_mut().write_all(&[&[a, b, c, number], payload].concat())?;
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }
}

fn login() -> Vec<u8> {
    let mut login = CAPABILITIES.to_le_bytes().to_vec();
    login.extend(PACKET_BYTES_MAX.to_le_bytes());
    login.push(CHARSET);
    login.extend([0; 23]);
    login.extend(b"root\0");
    login.push(0);
    login.extend(b"mysql_native_password\0");
    login
}
