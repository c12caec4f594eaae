//! Load: from wrk, and from a generator of our own (`crates/triad-proxy/examples/load`) where wrk is not enough.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use super::process::{output_within, pin};
use super::subject::SIDE_CPU;
use crate::workspace::root;

/// Connections, all kept alive and always busy.
pub const CONNECTIONS: u32 = 64;

/// Requests at one time over one connection of HTTP/2.
const STREAMS: u32 = 100;

/// Time a generator has to open all its connections: ten thousand handshakes, on a slow machine.
const OPEN_DEADLINE: Duration = Duration::from_secs(120);
/// Time it has for its answer after the end of a run.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// What wrk and h2load report.
#[derive(Debug, PartialEq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered in a second.
    pub requests_per_s: f64,
}

/// Loads `path` on 127.0.0.1:`port` with wrk. An error or an answer other than 2xx or 3xx fails the measurement.
pub fn wrk(port: u16, path: &str, seconds: u32) -> anyhow::Result<Load> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string()]);
    wrk.args(["--duration", &format!("{seconds}s"), &format!("http://127.0.0.1:{port}{path}")]);
    let text = output_within(pin(SIDE_CPU, &wrk), Duration::from_secs(seconds.into()) + ANSWER_DEADLINE)?;
    parse_wrk(&text)
}

fn parse_wrk(text: &str) -> anyhow::Result<Load> {
    let lines = || text.lines().map(str::trim);
    if let Some(errors) = lines().find(|line| line.starts_with("Socket errors:") || line.starts_with("Non-2xx")) {
        bail!("wrk saw errors, so nothing was measured: {errors}");
    }
    let requests = lines().find_map(|line| line.split_once(" requests in ")?.0.parse().ok());
    let rate = lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    match (requests, rate) {
        (Some(requests), Some(requests_per_s)) if requests > 0 => Ok(Load { requests, requests_per_s }),
        _ => bail!("wrk's report was not understood:\n{text}"),
    }
}

/// Loads 127.0.0.1:`port` over TLS with h2load: one connection of HTTP/2 with [`STREAMS`] requests at one time.
pub fn h2load(port: u16, seconds: u32) -> anyhow::Result<Load> {
    let mut h2load = Command::new("h2load");
    h2load.args(["--clients", "1", "--max-concurrent-streams", &STREAMS.to_string()]);
    h2load.args(["--duration", &seconds.to_string(), &format!("https://127.0.0.1:{port}/")]);
    let text = output_within(pin(SIDE_CPU, &h2load), Duration::from_secs(seconds.into()) + ANSWER_DEADLINE)?;
    let load = parse_h2load(&text)?;
    Ok(Load { requests_per_s: load as f64 / f64::from(seconds), requests: load })
}

/// Requests answered with 2xx, if no other was answered or failed.
fn parse_h2load(text: &str) -> anyhow::Result<u64> {
    let figure = |line: &str, name: &str| -> Option<u64> {
        let part = text.lines().find_map(|have| have.strip_prefix(line))?.split(", ").find(|part| part.ends_with(name));
        part?.trim().split(' ').next()?.parse().ok()
    };
    if !text.contains("\nApplication protocol: h2\n") {
        bail!("h2load was not answered in HTTP/2:\n{text}");
    }
    match (figure("requests:", " failed"), figure("requests:", " errored"), figure("status codes:", " 2xx")) {
        (Some(0), Some(0), Some(answered)) if answered > 0 => Ok(answered),
        _ => bail!("h2load saw errors, so nothing was measured:\n{text}"),
    }
}

/// What our generator is to do; see its own description.
pub struct Order<'a> {
    /// `keep-alive`, `connect`, `rate` or `idle`.
    pub work: &'a str,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// What is asked for.
    pub path: &'a str,
    /// Connections at one time.
    pub connections: u32,
    /// Speak TLS, and trust this one.
    pub certificate: Option<&'a Path>,
    /// Requests a second, for `rate`.
    pub rate: Option<f64>,
}

impl Order<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(root().join("target/dist/examples/load"));
        command.args([self.work, &format!("127.0.0.1:{}", self.port), "--path", self.path]);
        command.args(["--connections", &self.connections.to_string()]);
        command.args(self.certificate.iter().flat_map(|path| [Path::new("--certificate"), path]));
        command.args(self.rate.iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
        command
    }
}

/// A running generator, its connections open. It ends when dropped.
pub struct Generator {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
    /// Connections that are open.
    pub connections: u64,
}

impl Generator {
    /// Starts it; returns once its connections are open.
    pub fn start(order: &Order) -> anyhow::Result<Self> {
        let mut command = pin(SIDE_CPU, &order.command());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run setpriv")?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            // Ends with the generator's output.
            thread::spawn(move || BufReader::new(output).lines().try_for_each(|line| sender.send(line)));
        }
        let mut generator = Self { child, lines, connections: 0 };
        let line = generator.line(OPEN_DEADLINE)?;
        generator.connections =
            line.strip_prefix("ready ").and_then(|line| figure(line, "connections")).context("not ready")? as u64;
        Ok(generator)
    }

    /// Loads for so long.
    pub fn run(&mut self, seconds: u32) -> anyhow::Result<Report> {
        let input = self.child.stdin.as_mut().context("no way to tell the load generator")?;
        writeln!(input, "{seconds}").context("the load generator has ended")?;
        let line = self.line(Duration::from_secs(seconds.into()) + ANSWER_DEADLINE)?;
        Report::parse(&line).with_context(|| format!("the load generator's report was not understood: {line}"))
    }

    fn line(&self, deadline: Duration) -> anyhow::Result<String> {
        match self.lines.recv_timeout(deadline) {
            Ok(line) => Ok(line?),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the load generator failed, see above"),
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the load generator said nothing for {deadline:?}"),
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What our generator reports.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// Requests answered.
    pub requests: f64,
    /// How long that took.
    pub seconds: f64,
    /// Of bodies.
    pub bytes: f64,
    /// Median and 99th percentile of latency, at a constant rate.
    pub latency_us: Option<[f64; 2]>,
}

impl Report {
    fn parse(line: &str) -> Option<Self> {
        Some(Self {
            requests: figure(line, "requests").filter(|requests| *requests > 0.0)?,
            seconds: figure(line, "seconds")?,
            bytes: figure(line, "bytes")?,
            latency_us: figure(line, "p50_us").zip(figure(line, "p99_us")).map(<[f64; 2]>::from),
        })
    }
}

/// The figure called `name` in `a=1 b=2`.
fn figure(line: &str, name: &str) -> Option<f64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Load, Order, Report, parse_wrk};

    const REPORT: &str = "Running 5s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.20ms  150.00us   9.10ms   90.00%
    Req/Sec    50.12k     1.00k   52.00k    80.00%
  250600 requests in 5.00s, 50.00MB read
Requests/sec:  50120.00
Transfer/sec:     10.00MB
";

    #[test]
    fn a_report_of_wrk_is_read() {
        assert_eq!(parse_wrk(REPORT).expect("a report"), Load { requests: 250_600, requests_per_s: 50_120.0 });
    }

    #[test]
    fn errors_are_no_measurement() {
        for line in ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 7\n"] {
            let error = parse_wrk(&format!("{REPORT}{line}")).expect_err("an error").to_string();
            assert!(error.ends_with(line.trim()), "{error}");
        }
        assert!(parse_wrk("").is_err());
    }

    #[test]
    fn a_report_of_the_generator_is_read() {
        let mut report = Report { requests: 2.0, seconds: 1.5, bytes: 140.0, latency_us: None };
        assert_eq!(Report::parse("requests=2 seconds=1.500000 bytes=140").as_ref(), Some(&report));
        report.latency_us = Some([10.0, 30.0]);
        assert_eq!(Report::parse("requests=2 seconds=1.5 bytes=140 p50_us=10 p99_us=30"), Some(report));
        assert_eq!(Report::parse("requests=0 seconds=1.5 bytes=0"), None);
        assert_eq!(Report::parse("ready connections=64"), None);
    }

    #[test]
    fn an_order_becomes_arguments() {
        let certificate = Some(Path::new("a.pem"));
        let order = Order { work: "rate", port: 80, path: "/", connections: 64, certificate, rate: Some(9.5) };
        let command = order.command();
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        assert_eq!(arguments.join(" "), "rate 127.0.0.1:80 --path / --connections 64 --certificate a.pem --rate 9.5");
    }
}
