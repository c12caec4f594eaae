//! What is remembered of a session, at most. One that needs more is not restored.

/// Bytes of a statement that are looked at; of longer ones it is not known what they do.
pub const STATEMENT_BYTES_MAX: usize = 64 * 1024;
/// Prepared statements.
pub const PREPARED_MAX: usize = 256;
/// Bytes of their texts together.
pub const PREPARED_BYTES_MAX: usize = 256 * 1024;
/// `SET` statements.
pub const SETTINGS_MAX: usize = 32;
/// Bytes of a login, or of a greeting.
pub const LOGIN_BYTES_MAX: usize = 4 * 1024;
/// Bytes that a relay must be able to hold back at least: the head of a statement that is executed, with the bitmap of
/// 65,535 parameters.
pub const HELD_BACK_BYTES_MAX: usize = 8 * 1024 + 32;
