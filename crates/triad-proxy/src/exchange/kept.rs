//! Answers whose status is a reason to ask another backend, as `retry_statuses` of the pool says that the request is
//! balanced over; where that leads to this server itself, it holds for what is behind it.
//!
//! The last such answer is kept until a better one comes, or nobody is left. Until then it keeps its connection and
//! slots, and no more of its body is read than came with its head.
//!
//! Invariant: one edge asks again because of a status, the one that the user reached. Others pass the answer on; where
//! they have sent the request more than once for another reason, they say so, and it is not sent again here.

use super::{Exchange, Reply, Unanswered};
use triad_http::{Fault, Whose};
use triad_http1::ResponseHead;

/// Set on an answer to another edge: the request was sent more than once already, so its status is no reason to ask
/// elsewhere. It never leaves the design.
pub(crate) const REPEATED: &str = "triad-repeated";

impl Exchange<'_> {
    /// Whether another backend is asked because of the answer's status.
    pub(super) fn may_keep(&self, reply: &Reply) -> bool {
        let is_wanted = self.outlet.is_some_and(|outlet| outlet.retries(self.answer_head.status));
        // It has no body, or a small one that is all here still.
        let is_whole = self.upload.is_done() && !self.upload.is_spent();
        is_wanted && is_whole && self.request.method.is_idempotent() && !self.is_repeated_behind(reply)
    }

    /// Keeps an answer while another backend is asked.
    pub(super) fn keep(&mut self, mut reply: Reply) {
        self.note_time(&mut reply, std::time::Instant::now());
        self.touched = true;
        self.kept = Some(reply);
    }

    /// Makes what was kept the answer. Its head is parsed again: others were parsed since.
    pub(super) fn give_kept(&mut self, kept: Reply) -> Result<Reply, Unanswered> {
        self.upload.settle();
        *self.answer_head = ResponseHead::reusing(self.answer_head);
        if let Ok(Some(_)) = self.answer_head.parse(kept.bytes.bytes()) {
            return Ok(Reply { attempts: self.attempts, ..kept });
        }
        let name = kept.backend.name.clone();
        let fault = Fault::new(502, Whose::Upstream, format!("backend {name}"));
        Err(Unanswered::Fault { fault, backend: Some(name), attempts: self.attempts, untouched: None })
    }

    /// Whether the other edge whose answer this is says that the request was sent more than once behind it.
    fn is_repeated_behind(&self, reply: &Reply) -> bool {
        let bytes = reply.bytes.bytes();
        reply.backend.plan.target.is_edge() && self.answer_head.fields.find(bytes, REPEATED).is_some()
    }

    /// Whether another edge, which gets the answer, is told that the request was sent more than once.
    pub fn tells_repeated(&self, reply: &Reply) -> bool {
        let matters = self.over_hop && self.answer_head.status >= 500;
        matters && (reply.attempts > 1 || self.is_repeated_behind(reply))
    }

    /// Notes, once, how long the answer took that began at `began`.
    pub fn note_time(&self, reply: &mut Reply, began: std::time::Instant) {
        let Some(asked) = reply.asked.take().filter(|_| !self.record.is_check) else { return };
        let time = began.saturating_duration_since(asked.into_std());
        reply.backends().for_each(|backend| backend.answered(self.worker.number, time));
    }
}
