//! Header compression (RFC 7541), without I/O: a decoder of requests' fields, an encoder of answers' fields.
//!
//! Invariants: a block has one meaning or is an error, after which the connection ends; both tables hold no more than
//! [`crate::limits::HEADER_TABLE_BYTES`]; what a field's name means, and whether its value is fit to be passed on, is
//! found out once, when it comes as text, and kept beside it in the table.

mod decode;
mod encode;
mod huffman;
mod integer;
mod kind;
mod statics;
mod table;

pub(crate) use decode::{Decoder, Field};
pub(crate) use encode::Encoder;
pub(crate) use kind::{Kind, is_name, is_value};

/// Why a block cannot be decoded. The tables of both ends may differ after that, so that the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It ends within a field.
    CutOff,
    /// A number larger than any that is used.
    Overflow,
    /// An entry that neither table has.
    Index,
    /// A text that no Huffman code gives.
    Huffman,
    /// A table's size that was not allowed, or where none may be told.
    Size,
    /// Whoever takes the fields wants no more of them.
    Unwanted,
}
