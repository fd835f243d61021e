//! Objects that wait to be reconciled.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use fermata_daemon::watch::Key;
use futures::{Stream, stream};
use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::sync::Notify;

/// A first-in first-out queue in which an object stands at most once, so that it is never longer
/// than there are objects.
pub(crate) struct Queue<K> {
    waiting: Mutex<Waiting>,
    filled: Notify,
    kind: PhantomData<fn() -> K>,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<Key>,
    present: HashSet<Key>,
}

// === impl Queue ===

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
            kind: PhantomData,
        }
    }
}

impl<K: Resource<DynamicType = ()>> Queue<K> {
    /// Asks for the object to be reconciled.
    pub(crate) fn push(&self, key: Key) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.present.insert(key.clone()) {
            waiting.order.push_back(key);
            self.filled.notify_one();
        }
    }

    /// The objects as they become due; never ends. One reader.
    pub(crate) fn stream(
        self: Arc<Self>,
    ) -> impl Stream<Item = Result<ObjectRef<K>, Infallible>> + Send
    where
        K: 'static,
    {
        stream::unfold(self, |queue| async move {
            loop {
                if let Some(key) = queue.pop() {
                    return Some((Ok(key.object_ref()), queue));
                }
                queue.filled.notified().await;
            }
        })
    }

    fn pop(&self) -> Option<Key> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = waiting.order.pop_front()?;
        waiting.present.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[tokio::test]
    async fn an_object_waits_once_and_in_order() {
        let queue = Arc::new(Queue::<Service>::default());
        for name in ["a", "b", "a"] {
            queue.push(Key::new("default", name));
        }
        let mut stream = Box::pin(queue.clone().stream());
        let mut next = async || stream.next().await.map(|key| key.map(|key| key.name));
        assert_eq!(next().await, Some(Ok("a".to_owned())));
        assert_eq!(next().await, Some(Ok("b".to_owned())));
        queue.push(Key::new("default", "a"));
        assert_eq!(next().await, Some(Ok("a".to_owned())));
    }
}
