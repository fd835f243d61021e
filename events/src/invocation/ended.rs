//! A call that is over for its function, while others have yet to be told.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Burial, Invocation, State};

/// What became of a call. Until everybody is told who is to be, the call itself waits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ended {
    /// How it stands when they are told.
    pub(crate) state: State,
    /// How long the function took, in milliseconds.
    pub(crate) took: u64,
    /// How much room the answer takes, in bytes.
    pub(crate) answer_bytes: u64,
}

/// What is left to be done of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    /// The function is to be called.
    Call,
    /// It has failed, and is to be published.
    Burial,
    /// Who waits for that is to be told.
    Callback,
    /// Nothing.
    Nothing,
}

// === impl Invocation ===

impl Invocation {
    /// What is to be done next.
    #[must_use]
    pub(crate) fn left(&self) -> Left {
        let Some(ended) = self.ended.as_ref().filter(|_| !self.is_over()) else {
            return match self.state {
                State::Waiting => Left::Call,
                State::Succeeded | State::Failed | State::Cancelled => Left::Nothing,
            };
        };
        if self.is_to_be_buried(ended.state) {
            Left::Burial
        } else if self.is_to_call_back(ended.state) {
            Left::Callback
        } else {
            Left::Nothing
        }
    }

    /// Whether somebody is to be told what has just become of it.
    #[must_use]
    pub(crate) fn has_to_tell(&self) -> bool {
        self.is_to_be_buried(self.state) || self.is_to_call_back(self.state)
    }

    /// It is over but for those who are to be told. An answer of so many bytes is kept for them.
    pub(crate) fn end(&mut self, took: Duration, answer_bytes: u64) {
        if !self.has_to_tell() {
            return;
        }
        self.ended = Some(Ended {
            state: self.state,
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            answer_bytes,
        });
        self.bytes += answer_bytes;
        self.state = State::Waiting;
        self.next_attempt_at = None;
        self.finished_at = None;
    }

    /// One of those who are to be told is, or is given up: it is over now, or the next one's turn.
    pub(crate) fn go_on(&mut self, now: Timestamp) {
        self.next_attempt_at = None;
        if self.left() == Left::Nothing {
            let state = self.ended.as_ref().map(|ended| ended.state);
            self.finish(state.unwrap_or(State::Failed), now);
        }
    }

    /// It is over now, in this way. Who calls it off when it is over but for telling somebody calls off that.
    pub(crate) fn finish(&mut self, state: State, now: Timestamp) {
        let mut state = state;
        if state == State::Cancelled
            && let Some(ended) = &self.ended
        {
            const WHY: &str = "it was called off";
            state = ended.state;
            if self.is_to_be_buried(state) {
                self.burial.get_or_insert_default().end(false, Some(WHY));
            }
            if let Some(callback) = &mut self.callback
                && callback.delivered.is_none()
            {
                callback.delivered = Some(false);
                callback.message = Some(WHY.to_owned());
            }
        }
        self.state = state;
        self.next_attempt_at = None;
        self.finished_at = Some(now);
    }

    /// How much of its room an answer takes that is kept for those who are to be told, in bytes.
    #[must_use]
    pub(crate) fn answer_bytes(&self) -> u64 {
        self.ended.as_ref().map_or(0, |ended| ended.answer_bytes)
    }

    fn is_to_be_buried(&self, state: State) -> bool {
        let is_done = self.burial.as_ref().is_some_and(Burial::is_over);
        state == State::Failed && self.delivery.dead_letter.is_some() && !is_done
    }

    fn is_to_call_back(&self, state: State) -> bool {
        let callback = self.callback.as_ref();
        let is_left = callback.is_some_and(|callback| callback.delivered.is_none());
        is_left && matches!(state, State::Succeeded | State::Failed)
    }
}
