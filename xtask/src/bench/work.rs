//! What is asked of the proxies.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
use clap::ValueEnum;

/// Bytes of a large answer.
pub const LARGE_BYTES: usize = 1024 * 1024;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Plain HTTP, kept connections, small answers.
    Plain,
    /// Plain HTTP, kept connections, answers of 1 MB.
    PlainLarge,
    /// TLS, kept connections, small answers.
    Tls,
    /// TLS, a handshake for each request. wrk resumes its session where the server lets it, which all of them do:
    /// Debian's nginx by TLS 1.2, the others by 1.3.
    TlsResumed,
    /// TLS, kept connections, answers of 1 MB.
    TlsLarge,
}

impl Work {
    /// Whether clients speak TLS.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::TlsResumed | Self::TlsLarge)
    }

    /// Whether answers are large.
    pub fn is_large(self) -> bool {
        matches!(self, Self::PlainLarge | Self::TlsLarge)
    }

    /// Connections, always busy.
    pub fn connections(self) -> u32 {
        match self {
            Self::Plain | Self::Tls => 64,
            Self::TlsResumed => 16,
            Self::PlainLarge | Self::TlsLarge => 8,
        }
    }

    /// wrk's arguments that say what to ask at `port`.
    pub fn arguments(self, port: u16) -> Vec<String> {
        let scheme = if self.is_encrypted() { "https" } else { "http" };
        let path = if self.is_large() { "/large" } else { "/" };
        let mut arguments = vec!["--connections".to_owned(), self.connections().to_string()];
        if self == Self::TlsResumed {
            arguments.extend(["--header", "Connection: close"].map(str::to_owned));
        }
        arguments.push(format!("{scheme}://127.0.0.1:{port}{path}"));
        arguments
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain HTTP/1.1, answers of 70 bytes",
            Self::PlainLarge => "plain HTTP/1.1, answers of 1 MB",
            Self::Tls => "HTTP/1.1 over TLS, answers of 70 bytes",
            Self::TlsResumed => "a resumed TLS handshake and one request, answers of 70 bytes",
            Self::TlsLarge => "HTTP/1.1 over TLS, answers of 1 MB",
        })
    }
}

/// Makes a certificate for 127.0.0.1; returns the file that holds it and its key.
pub fn certificate(directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join("site.pem");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
    let output = openssl.arg("-keyout").arg(&path).arg("-out").arg(directory.join("certificate.pem")).output()?;
    if !output.status.success() {
        bail!("openssl failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let both = std::fs::read_to_string(directory.join("certificate.pem"))? + &std::fs::read_to_string(&path)?;
    std::fs::write(&path, both)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::Work;

    #[test]
    fn each_work_is_asked_for_in_its_way() {
        assert_eq!(Work::Plain.arguments(80), ["--connections", "64", "http://127.0.0.1:80/"]);
        assert_eq!(
            Work::TlsResumed.arguments(443),
            ["--connections", "16", "--header", "Connection: close", "https://127.0.0.1:443/"]
        );
        assert_eq!(Work::TlsLarge.arguments(443)[2], "https://127.0.0.1:443/large");
    }
}
