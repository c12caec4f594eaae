//! What a name server counts since it started.

use triad_model::{DnsReport, ServerName};

use crate::authority::{Answer, Code, Transport};

/// Counters; they only grow.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By the order of [`Code::ALL`].
    answers: [u64; Code::ALL.len()],
    udp: u64,
    tcp: u64,
    dropped: u64,
}

impl Counts {
    /// Counts a packet that came over `transport` and got `answer`.
    pub(crate) fn count(&mut self, transport: Transport, answer: &Answer) {
        let Answer::Reply { code, .. } = answer else {
            self.dropped += 1;
            return;
        };
        self.answers[*code as usize] += 1;
        match transport {
            Transport::Udp => self.udp += 1,
            Transport::Tcp => self.tcp += 1,
        }
    }

    /// The counters as a report.
    pub(crate) fn report(&self, left_out: Vec<ServerName>) -> DnsReport {
        let names = Code::ALL.iter().map(|code| code.as_str().to_owned());
        DnsReport {
            answers: names.zip(self.answers).collect(),
            udp: self.udp,
            tcp: self.tcp,
            dropped: self.dropped,
            left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;
    use crate::authority::{Answer, Code, Transport};

    #[test]
    fn each_code_is_counted_under_its_own_name() {
        for (position, code) in Code::ALL.into_iter().enumerate() {
            let mut counts = Counts::default();
            counts.count(Transport::Tcp, &Answer::Reply { bytes: Vec::new(), code });
            counts.count(Transport::Udp, &Answer::Drop);
            let report = counts.report(Vec::new());
            assert_eq!(report.answers[position], (code.as_str().to_owned(), 1));
            assert_eq!((report.udp, report.tcp, report.dropped), (0, 1, 1));
        }
    }
}
