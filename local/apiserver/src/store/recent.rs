//! Trees of what was written last, which watches are about to look at.

use std::{collections::VecDeque, sync::Arc};

use serde_json::Value;

/// How many bytes of serialised objects there are trees of. A tree takes some eight times as much.
const MAX_BYTES: usize = 512 * 1024;

/// The newest trees, bounded in size.
#[derive(Default)]
pub(crate) struct Recent {
    trees: VecDeque<(Arc<Value>, usize)>,
    bytes: usize,
}

// === impl Recent ===

impl Recent {
    /// Keeps a tree, whose object takes so many bytes as text, until newer ones need its room.
    pub(crate) fn keep(&mut self, tree: Arc<Value>, bytes: usize) {
        self.trees.push_back((tree, bytes));
        self.bytes += bytes;
        while self.bytes > MAX_BYTES
            && let Some((_, bytes)) = self.trees.pop_front()
        {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_trees_go_and_so_does_one_that_is_too_large() {
        let mut recent = Recent::default();
        let tree = Arc::new(Value::Null);
        for _ in 0..3 {
            recent.keep(Arc::clone(&tree), MAX_BYTES / 2);
        }
        assert_eq!(Arc::strong_count(&tree), 3);
        recent.keep(Arc::clone(&tree), MAX_BYTES + 1);
        assert_eq!((Arc::strong_count(&tree), recent.bytes), (1, 0));
    }
}
