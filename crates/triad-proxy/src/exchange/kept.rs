//! Answers because of which another backend is asked: those whose status is a reason, as `retry_statuses` of the pool says
//! that the request is balanced over (where that leads to this server itself, it holds for what is behind it), and those
//! of another edge that sent the request on and had no answer.
//!
//! The last such answer is kept until a better one comes, or nobody is left. Until then it keeps its connection and
//! slots, and no more of its body is read than came with its head.
//!
//! Invariant: one edge asks again because of a status, the one that the user reached. Others pass the answer on; where
//! they have sent the request more than once for another reason, they say so, and it is not sent again here. Where nobody
//! answered them, they say how often they sent it, and that counts here.

use super::{ATTEMPTS_MAX, Exchange, Reply, Told, Unanswered};
use triad_http::{Fault, Whose};
use triad_http1::ResponseHead;

/// Set on an answer to another edge: the request was sent more than once already, so its status is no reason to ask
/// elsewhere. It never leaves the design.
pub(crate) const REPEATED: &str = "triad-repeated";
/// Set on an answer to another edge that is no application's: the request was sent so often, and none answered. It never
/// leaves the design.
pub(crate) const UNANSWERED: &str = "triad-unanswered";

impl Exchange<'_> {
    /// Whether another backend is asked because of this answer.
    pub(super) fn may_keep(&self, reply: &Reply) -> bool {
        if self.unanswered_behind(reply).is_some() {
            return self.is_safe_to_repeat();
        }
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
        let told = Some(self.unanswered());
        Err(Unanswered::Fault { fault, backend: Some(name), attempts: self.attempts, told })
    }

    /// How often the other edge whose answer this is sent the request in vain; `None`: it is an application's answer.
    pub(super) fn unanswered_behind(&self, reply: &Reply) -> Option<u32> {
        Some(match self.said_behind(reply, UNANSWERED)? {
            b"1" => 1,
            b"2" => 2,
            _ => ATTEMPTS_MAX,
        })
    }

    /// Whether the other edge whose answer this is says that the request was sent more than once behind it.
    fn is_repeated_behind(&self, reply: &Reply) -> bool {
        self.said_behind(reply, REPEATED).is_some()
    }

    /// What another edge says with the field `name` of its answer.
    fn said_behind<'r>(&self, reply: &'r Reply, name: &str) -> Option<&'r [u8]> {
        let bytes = reply.bytes.bytes();
        let value = self.answer_head.fields.find(bytes, name).filter(|_| reply.backend.plan.target.is_edge())?;
        Some(value.of_bytes(bytes))
    }

    /// What another edge, which gets this answer, is told of it.
    pub fn told(&self, reply: &Reply) -> Option<Told> {
        if !self.over_hop || self.answer_head.status < 500 {
            return None;
        }
        match self.unanswered_behind(reply) {
            Some(_) => Some(self.unanswered()),
            None => self.repeated().or_else(|| self.is_repeated_behind(reply).then_some((REPEATED, "1"))),
        }
    }

    /// That the request was sent, and nobody answered it.
    pub(super) fn unanswered(&self) -> Told {
        let times = match self.attempts {
            0 | 1 => "1",
            2 => "2",
            _ => "3",
        };
        (UNANSWERED, times)
    }

    /// That the request was sent more than once, if it was.
    pub(super) fn repeated(&self) -> Option<Told> {
        (self.attempts > 1).then_some((REPEATED, "1"))
    }

    /// Notes, once, how long the answer took that began at `began`.
    pub fn note_time(&self, reply: &mut Reply, began: std::time::Instant) {
        let Some(asked) = reply.asked.take().filter(|_| !self.record.is_check) else { return };
        let time = began.saturating_duration_since(asked.into_std());
        reply.backends().for_each(|backend| backend.answered(self.worker.number, time));
    }
}
