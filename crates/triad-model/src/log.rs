//! What the access log says of a request.

use serde::{Deserialize, Serialize};

/// The access log of every edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// How a line looks.
    pub format: LogFormat,
    /// What stands in a line of JSON.
    pub fields: Vec<LogField>,
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// An object.
    #[default]
    Json,
    /// Apache's and nginx's `combined`.
    Combined,
}

macro_rules! log_fields {
    ($($variant:ident $name:literal),+ $(,)?) => {
        /// What a line of JSON can have; a field of which nothing is known is left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum LogField {
            $(#[doc = concat!("`", $name, "`")] $variant),+
        }

        impl LogField {
            /// All of them, in the order of a line.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// Their names, in the same order.
            pub const NAMES: &[&str] = &[$($name),+];
        }
    };
}

log_fields! {
    Ts "ts",
    RequestId "request_id",
    TraceId "trace_id",
    Client "client",
    Host "host",
    Method "method",
    Path "path",
    Protocol "protocol",
    Status "status",
    Bytes "bytes",
    DurationMs "duration_ms",
    FirstByteMs "first_byte_ms",
    QueueMs "queue_ms",
    Pool "pool",
    Backend "backend",
    Attempts "attempts",
    Fault "fault",
    UserAgent "user_agent",
    Referer "referer",
}

impl LogField {
    /// The field called `name`.
    pub fn named(name: &str) -> Option<Self> {
        let index = Self::NAMES.iter().position(|it| *it == name)?;
        Some(Self::ALL[index])
    }
}

impl AccessLog {
    /// Whether nothing but the defaults is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Why nobody can follow a request through the logs by its id, as a clause; `None` if one can.
    pub fn hides_requests(&self) -> Option<&'static str> {
        const NEEDED: [LogField; 4] = [LogField::RequestId, LogField::Status, LogField::DurationMs, LogField::Backend];
        match self.format {
            LogFormat::Combined => Some("the access logs are in the combined format, which has no request ids"),
            LogFormat::Json if NEEDED.iter().all(|field| self.fields.contains(field)) => None,
            LogFormat::Json => Some("the access logs leave out request_id, status, duration_ms or backend"),
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { format: LogFormat::default(), fields: LogField::ALL.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::{AccessLog, LogField, LogFormat};

    #[test]
    fn every_field_is_found_and_written_by_its_name() {
        for (field, name) in LogField::ALL.iter().zip(LogField::NAMES) {
            assert_eq!(LogField::named(name), Some(*field));
            assert_eq!(serde_json::to_string(field).expect("JSON"), format!("{name:?}"));
        }
        assert_eq!(LogField::named("agent"), None);
    }

    #[test]
    fn a_log_without_ids_hides_requests() {
        assert_eq!(AccessLog::default().hides_requests(), None);
        assert!(AccessLog { format: LogFormat::Combined, ..AccessLog::default() }.hides_requests().is_some());
        let fields = vec![LogField::Client, LogField::RequestId];
        assert!(AccessLog { fields, ..AccessLog::default() }.hides_requests().is_some());
    }
}
