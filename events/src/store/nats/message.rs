//! How rows are written into messages, and read from them.
//!
//! What is known of a call is in a header, so that all calls can be loaded without their bodies; what is sent and what was
//! answered is the body. A row that is too large for a message is cut into parts, which follow each other.

use async_nats::{HeaderMap, HeaderValue};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::{
    super::backend::{Change, Rows},
    catalog::{Catalog, Effect, RowSet},
};
use crate::id::Id;

/// What is known of the call.
const INVOCATION: &str = "Fermata-Invocation";

/// The row of which a part is the body.
const BODY: &str = "Fermata-Body";

/// Which part it is, and of how many; without it, of one.
const PART: &str = "Fermata-Part";

/// The rows that are not there any more.
const GONE: &str = "Fermata-Gone";

/// How long the server keeps a message that says that there is nothing any more: long enough for it to have put on its
/// disk that the ones before are gone.
const TTL: (&str, &str) = ("Nats-TTL", "5m");

/// The largest row in a header, in bytes.
const HEADER: usize = 16 * 1024;

/// The largest body beside a header with a row, in bytes: what is looked at often is not read with more.
const BESIDE: usize = 64 * 1024;

/// What a message takes beside rows, in bytes: names of headers, and what the server adds to them.
const AROUND: usize = 1024;

/// The smallest message that a server has to take, in bytes.
pub(super) const SMALLEST: usize = 2 * HEADER + BESIDE + AROUND;

/// The kinds of rows and their letters.
const LETTERS: [(Rows, char); 3] = [
    (Rows::Invocations, 'i'),
    (Rows::Calls, 'c'),
    (Rows::Answers, 'a'),
];

/// A message that is to be published.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The end of its subject: call and slot.
    pub(super) subject: String,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) body: Bytes,
}

/// What the changes of one call come to.
#[derive(Debug)]
pub(super) struct Plan {
    /// The messages, in their order.
    pub(super) messages: Vec<Message>,
    /// What they change.
    pub(super) effect: Effect,
}

/// What the headers of a message say.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Content {
    /// What is known of the call, if it is in the headers.
    pub(super) invocation: Option<Vec<u8>>,
    /// The row in the body, which part of it, and of how many.
    pub(super) body: Option<(Rows, u32, u32)>,
    /// The rows that are not there any more.
    pub(super) gone: RowSet,
}

// === impl Plan ===

impl Plan {
    /// The messages by which a call is changed, of at most so many bytes; none if there is nothing to change.
    pub(super) fn of(
        catalog: &Catalog,
        id: Id,
        changes: &[&Change],
        largest: usize,
    ) -> Option<Self> {
        let mut rows: [Option<&[u8]>; 3] = [None; 3];
        let (mut touched, mut put) = (RowSet::NONE, RowSet::NONE);
        for change in changes {
            let one = RowSet::one(change.table);
            touched = touched.and(one);
            put = match change.row {
                Some(_) => put.and(one),
                None => put.without(one),
            };
            if let Some(row) = rows.get_mut(change.table as usize) {
                *row = change.row.as_deref();
            }
        }
        let before = catalog.rows(id);
        let left = before.without(touched);
        if put.is_empty() && left == before {
            return None;
        }
        let gone = RowSet::ALL.without(left).without(put);
        let drafts = drafts(&rows, largest);
        let kept = catalog.pieces(id).iter();
        let kept = kept.filter(|piece| !piece.rows.without(touched).is_empty());
        let taken: Vec<u16> = kept.map(|piece| piece.slot).collect();
        let mut free = (0..u16::MAX).filter(|slot| !taken.contains(slot));
        let slots: Vec<u16> = free.by_ref().take(drafts.len()).collect();
        let overwritten = |slot: u16| slots.contains(&slot);
        let others = catalog.pieces(id).iter();
        let alone = others.into_iter().all(|piece| overwritten(piece.slot));
        let expires = put.is_empty() && left.is_empty() && alone;
        let mut messages = Vec::with_capacity(drafts.len());
        let mut written = Vec::with_capacity(drafts.len());
        for (slot, draft) in slots.iter().zip(drafts) {
            let mut headers = draft.headers;
            if !gone.is_empty() {
                headers.insert(GONE, letters(gone).as_str());
            }
            if expires {
                headers.insert(TTL.0, TTL.1);
            }
            messages.push(Message {
                subject: format!("{id}.{slot}"),
                headers,
                body: draft.body,
            });
            written.push((*slot, draft.rows));
        }
        Some(Self {
            messages,
            effect: Effect {
                id,
                touched,
                messages: written,
                expires,
            },
        })
    }
}

// === impl Content ===

impl Content {
    /// What the headers say; nothing if they are not this program's.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get_last(name).map(HeaderValue::as_str);
        let invocation = match text(INVOCATION) {
            None => None,
            Some(row) => Some(BASE64_STANDARD.decode(row).ok()?),
        };
        let body = match text(BODY) {
            None => None,
            Some(letter) => {
                let row = row_of(letter.chars().next()?)?;
                let (part, parts) = match text(PART) {
                    None => (1, 1),
                    Some(part) => {
                        let (part, parts) = part.split_once('/')?;
                        (part.parse().ok()?, parts.parse().ok()?)
                    }
                };
                Some((row, part, parts))
            }
        };
        let gone = text(GONE).unwrap_or_default();
        let gone = gone
            .chars()
            .filter_map(row_of)
            .fold(RowSet::NONE, |rows, row| rows.and(RowSet::one(row)));
        let empty = invocation.is_none() && body.is_none() && gone.is_empty();
        (!empty).then_some(Self {
            invocation,
            body,
            gone,
        })
    }

    /// The rows that it holds, or parts of them.
    pub(super) fn rows(&self) -> RowSet {
        let header = self.invocation.as_ref().map(|_| Rows::Invocations);
        let body = self.body.map(|(row, ..)| row);
        let rows = header.into_iter().chain(body);
        rows.fold(RowSet::NONE, |rows, row| rows.and(RowSet::one(row)))
    }

    /// The rows of which it is the end in earlier messages.
    pub(super) fn touched(&self) -> RowSet {
        let further = match self.body {
            Some((row, part, _)) if part > 1 => RowSet::one(row),
            _ => RowSet::NONE,
        };
        self.rows().without(further).and(self.gone)
    }
}

/// A message before it has its place.
#[derive(Default)]
struct Draft {
    headers: HeaderMap,
    body: Bytes,
    rows: RowSet,
}

/// Messages with these rows, and one without any if there are none.
fn drafts(rows: &[Option<&[u8]>; 3], largest: usize) -> Vec<Draft> {
    let most = largest.saturating_sub(AROUND).max(1);
    let mut header = None;
    let mut drafts = Vec::new();
    for (row, letter) in LETTERS {
        let Some(content) = rows.get(row as usize).copied().flatten() else {
            continue;
        };
        if row == Rows::Invocations
            && let Some(text) = as_header(content)
        {
            header = Some(text);
            continue;
        }
        let parts = content.len().div_ceil(most).max(1);
        for part in 1..=parts {
            let from = (part - 1) * most;
            let to = (from + most).min(content.len());
            let mut headers = HeaderMap::new();
            headers.insert(BODY, letter.to_string().as_str());
            if parts > 1 {
                headers.insert(PART, format!("{part}/{parts}").as_str());
            }
            drafts.push(Draft {
                headers,
                body: Bytes::copy_from_slice(content.get(from..to).unwrap_or_default()),
                rows: RowSet::one(row),
            });
        }
    }
    let beside = match &mut *drafts {
        [only] if only.body.len() <= BESIDE => Some(only),
        _ => None,
    };
    if let Some(text) = header {
        let into = |draft: &mut Draft| {
            draft.headers.insert(INVOCATION, text.as_str());
            draft.rows = draft.rows.and(RowSet::one(Rows::Invocations));
        };
        match beside {
            Some(only) => into(only),
            None => {
                let mut draft = Draft::default();
                into(&mut draft);
                // Behind the others: what is known of a call is the last of it.
                drafts.push(draft);
            }
        }
    }
    if drafts.is_empty() {
        drafts.push(Draft::default());
    }
    drafts
}

/// A small row as a header. What callers say is in it, and the server finds its own headers by their names wherever they
/// stand: so it is not left as it is.
fn as_header(row: &[u8]) -> Option<String> {
    (row.len() <= HEADER).then(|| BASE64_STANDARD.encode(row))
}

fn letters(rows: RowSet) -> String {
    let there = LETTERS.iter().filter(|(row, _)| rows.has(*row));
    there.map(|(_, letter)| *letter).collect()
}

fn row_of(letter: char) -> Option<Rows> {
    let found = LETTERS.iter().find(|(_, known)| *known == letter);
    found.map(|(row, _)| *row)
}

#[cfg(test)]
mod tests;
