//! Load, from wrk.

use std::process::Command;

use anyhow::{Context, bail};

use super::process::pin;
use super::work::Work;

/// What wrk reports.
#[derive(Debug, PartialEq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered in a second.
    pub requests_per_s: f64,
}

/// Loads 127.0.0.1:`port` with `work` from the CPU `cpu`. An error or an answer other than 2xx or 3xx fails the measurement.
pub fn run(cpu: u32, work: Work, port: u16, seconds: u32) -> anyhow::Result<Load> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--duration", &format!("{seconds}s")]).args(work.arguments(port));
    let output = pin(cpu, &wrk).output().context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    parse(&text)
}

fn parse(text: &str) -> anyhow::Result<Load> {
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

#[cfg(test)]
mod tests {
    use super::{Load, parse};

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
    fn a_report_is_read() {
        assert_eq!(parse(REPORT).expect("a report"), Load { requests: 250_600, requests_per_s: 50_120.0 });
    }

    #[test]
    fn errors_are_no_measurement() {
        for line in ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 7\n"] {
            let error = parse(&format!("{REPORT}{line}")).expect_err("an error").to_string();
            assert!(error.ends_with(line.trim()), "{error}");
        }
        assert!(parse("").is_err());
    }
}
