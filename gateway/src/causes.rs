//! Looking for what caused an error.

use std::{error::Error, io};

/// The first cause of this type, the error itself included.
#[must_use]
pub(crate) fn find<T: Error + Copy + 'static>(error: &(dyn Error + 'static)) -> Option<T> {
    if let Some(found) = error.downcast_ref() {
        return Some(*found);
    }
    // An I/O error shows what it carries not as its source but as itself.
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(carried) => find(carried),
        None => find(error.source()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
    #[error("a cause")]
    struct Cause;

    #[derive(Debug, thiserror::Error)]
    #[error("an effect")]
    struct Effect(#[source] io::Error);

    #[test]
    fn a_cause_is_found_however_deep() {
        assert_eq!(find(&Cause), Some(Cause));
        assert_eq!(find(&io::Error::other(Cause)), Some(Cause));
        let deep = Effect(io::Error::other(io::Error::other(Cause)));
        assert_eq!(find(&io::Error::other(deep)), Some(Cause));
        assert_eq!(find::<Cause>(&io::Error::other("else")), None);
    }
}
