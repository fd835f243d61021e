//! Which messages of the stream hold the rows of a call.
//!
//! A message is on a subject of its call and of a slot, and the one before it on that subject is gone. It says of each
//! row whether it holds it, and which ones there are not any more. So it may take a slot whose message holds nothing
//! that is of use, and no earlier message comes back when a later one is removed, as long as the last of a call stays
//! until the others have gone.

use std::collections::{HashMap, VecDeque};

use super::super::backend::Rows;
use crate::id::Id;

/// Some of the three rows of a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct RowSet(u8);

/// A message, for those rows that it holds and no later one does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    /// Its number in the stream.
    pub(super) sequence: u64,
    /// The end of its subject.
    pub(super) slot: u16,
    /// What it holds.
    pub(super) rows: RowSet,
}

/// What messages change of a call, before their numbers are known.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    /// The call.
    pub(super) id: Id,
    /// The rows that are written anew, or removed.
    pub(super) touched: RowSet,
    /// Slot and rows of each message.
    pub(super) messages: Vec<(u16, RowSet)>,
    /// Whether there is only one, which goes by itself.
    pub(super) expires: bool,
}

/// All messages with rows of calls.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pieces: HashMap<Id, Box<[Piece]>>,
    /// Messages that are of no use any more, to be removed.
    dead: VecDeque<(Id, u64)>,
}

// === impl RowSet ===

impl RowSet {
    /// None of them.
    pub(super) const NONE: Self = Self(0);

    /// All of them.
    pub(super) const ALL: Self = Self(0b111);

    /// One.
    pub(super) const fn one(row: Rows) -> Self {
        Self(match row {
            Rows::Invocations => 0b001,
            Rows::Calls => 0b010,
            Rows::Answers => 0b100,
        })
    }

    /// Those of both.
    pub(super) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are not among the others.
    pub(super) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether it is among them.
    pub(super) const fn has(self, row: Rows) -> bool {
        self.0 & Self::one(row).0 != 0
    }

    /// Whether there are none.
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

// === impl Catalog ===

impl Catalog {
    /// The messages of a call, the first one first.
    pub(super) fn pieces(&self, id: Id) -> &[Piece] {
        self.pieces.get(&id).map_or(&[], |pieces| pieces)
    }

    /// The rows that there are of a call.
    pub(super) fn rows(&self, id: Id) -> RowSet {
        let pieces = self.pieces(id).iter();
        pieces.fold(RowSet::NONE, |rows, piece| rows.and(piece.rows))
    }

    /// The numbers of the messages that hold a row, in the order of its parts.
    pub(super) fn row(&self, id: Id, row: Rows) -> Vec<u64> {
        let pieces = self.pieces(id).iter();
        let pieces = pieces.filter(|piece| piece.rows.has(row));
        pieces.map(|piece| piece.sequence).collect()
    }

    /// What was written, from this number on. The number of the next message.
    pub(super) fn apply(&mut self, effect: &Effect, first: u64) -> u64 {
        let mut sequence = first;
        let mut pieces = self
            .pieces
            .remove(&effect.id)
            .map_or_else(Vec::new, Vec::from);
        let newest = pieces.last().map(|piece| piece.sequence);
        for piece in &mut pieces {
            let before = piece.rows;
            piece.rows = before.without(effect.touched);
            // The last one had to stay until now, though it was empty.
            let stayed = !before.is_empty() || Some(piece.sequence) == newest;
            if piece.rows.is_empty() && stayed {
                self.dead.push_back((effect.id, piece.sequence));
            }
        }
        pieces.retain(|piece| effect.messages.iter().all(|(slot, _)| *slot != piece.slot));
        for (slot, rows) in &effect.messages {
            pieces.push(Piece {
                sequence,
                slot: *slot,
                rows: *rows,
            });
            sequence += 1;
        }
        if !effect.expires {
            self.put(effect.id, pieces);
        }
        sequence
    }

    /// A message that was found in the stream, in the order of their numbers.
    pub(super) fn load(&mut self, id: Id, piece: Piece, touched: RowSet) {
        let mut pieces = self.pieces.remove(&id).map_or_else(Vec::new, Vec::from);
        for earlier in &mut pieces {
            earlier.rows = earlier.rows.without(touched);
        }
        pieces.push(piece);
        self.pieces.insert(id, pieces.into_boxed_slice());
    }

    /// All messages were found: what is of no use is to be removed, and so is what belongs to no call.
    pub(super) fn loaded(&mut self) {
        let Self { pieces, dead } = self;
        pieces.retain(|id, pieces| {
            let known = pieces.iter().any(|piece| piece.rows.has(Rows::Invocations));
            let useless = pieces
                .iter()
                .filter(|piece| !known || piece.rows.is_empty());
            let newest = pieces.last().map(|piece| piece.sequence);
            let alone = pieces.len() == 1;
            for piece in useless {
                // The last one keeps the others from coming back.
                if alone || Some(piece.sequence) != newest {
                    dead.push_back((*id, piece.sequence));
                }
            }
            if !known {
                for piece in pieces.iter_mut() {
                    piece.rows = RowSet::NONE;
                }
            }
            true
        });
    }

    /// At most so many messages that are to be removed.
    pub(super) fn take_dead(&mut self, most: usize) -> Vec<(Id, u64)> {
        let most = most.min(self.dead.len());
        self.dead.drain(..most).collect()
    }

    /// Messages that could not be removed are to be removed later.
    pub(super) fn put_back(&mut self, dead: Vec<(Id, u64)>) {
        self.dead.extend(dead);
    }

    /// A message was removed.
    pub(super) fn removed(&mut self, id: Id, sequence: u64) {
        let Some(pieces) = self.pieces.remove(&id) else {
            return;
        };
        let mut pieces = Vec::from(pieces);
        pieces.retain(|piece| piece.sequence != sequence);
        self.put(id, pieces);
    }

    fn put(&mut self, id: Id, pieces: Vec<Piece>) {
        match &*pieces {
            [] => return,
            // The last of a call that is gone, and nothing is left that it keeps from coming back.
            [last] if last.rows.is_empty() => self.dead.push_back((id, last.sequence)),
            _ => {}
        }
        self.pieces.insert(id, pieces.into_boxed_slice());
    }
}

#[cfg(test)]
mod tests;
