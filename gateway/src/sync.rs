//! Locks that are held for a few instructions and never across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex. A panic of another holder does not spread: what these locks guard is valid after
/// every single statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
