//! What a store keeps its rows in: a row for each call, one for what is sent and one for what was answered.
//!
//! One process at a time has the rows. Which calls wait it holds in memory, and the rows are there for the process after it.

use std::fmt;

use crate::{
    error::{OpenError, StoreError},
    id::Id,
    invocation::Invocation,
};

/// The kinds of rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rows {
    /// What is known of a call.
    Invocations,
    /// What is sent.
    Calls,
    /// What was answered.
    Answers,
}

/// A change of one row; nothing removes it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) table: Rows,
    pub(super) id: Id,
    pub(super) row: Option<Vec<u8>>,
}

/// Rows that outlive the process. Its methods block, and are called from threads that may be blocked.
pub(super) trait Backend: fmt::Debug + Send + Sync {
    /// Whether there is so little room that it is for what is kept already: to write what became of a call takes room
    /// too.
    fn is_short(&self) -> bool;

    /// All calls there are, in the order of their names. It is asked for once, before anything else.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or one of them makes no sense.
    fn invocations(&self) -> Result<Vec<(Id, Invocation)>, OpenError>;

    /// The rows of these calls that are there.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    fn rows(&self, table: Rows, ids: &[Id]) -> Result<Vec<(Id, Vec<u8>)>, StoreError>;

    /// One row, as it was written.
    ///
    /// # Errors
    ///
    /// When it cannot be read. That it is not there is no error.
    fn get(&self, table: Rows, id: Id) -> Result<Option<Vec<u8>>, StoreError>;

    /// Makes writes that have come together, in this order, and tells of each what became of it: all of its changes are
    /// made for good, or none is.
    ///
    /// # Errors
    ///
    /// When one is not made, or nobody knows whether it is: then it is made later, or never.
    fn write(&self, writes: &[Vec<Change>]) -> Vec<Result<(), StoreError>>;
}
