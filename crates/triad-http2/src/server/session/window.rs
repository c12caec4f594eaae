//! What the other end may still send (RFC 9113 §5.2).

/// A window of ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    size: u32,
    /// Bytes that may come.
    left: u32,
    /// Bytes that came and are gone, of which the sender does not know.
    gone: u32,
}

impl Window {
    /// All of it free.
    pub fn new(size: u32) -> Self {
        Self { size, left: size, gone: 0 }
    }

    /// Bytes have come; false: more than were allowed.
    pub fn take(&mut self, length: usize) -> bool {
        let left = u32::try_from(length).ok().and_then(|length| self.left.checked_sub(length));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Bytes that came are gone. Returns how many the sender is to be told, once that is half of the window.
    pub fn release(&mut self, length: usize) -> Option<u32> {
        self.gone += length as u32;
        if self.gone < self.size / 2 {
            return None;
        }
        self.left += self.gone;
        Some(std::mem::take(&mut self.gone))
    }

    /// Bytes that came and were not released.
    #[cfg(test)]
    pub fn held(&self) -> u32 {
        self.size - self.left - self.gone
    }
}
