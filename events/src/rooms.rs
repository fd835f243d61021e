//! How many calls functions can take at once, as the gateways say: what is beyond waits here, and not in the gateways'
//! queues before those who want an answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fermata_crds::backlog::Room;
use fermata_daemon::watch::Key;
use tokio::time::Instant;

/// How long the gateways are believed. The one that scales says it each second.
const BELIEVED: Duration = Duration::from_secs(10);

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Option<Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    rooms: HashMap<Key, Room>,
}

// === impl Rooms ===

impl Rooms {
    /// These have so many places, and of all others it is not known. Returns those that have more than before.
    pub(crate) fn say(&self, rooms: Vec<Room>, now: Instant) -> Vec<Key> {
        let rooms: HashMap<Key, Room> = rooms
            .into_iter()
            .map(|room| (Key::new(&room.namespace, &room.name), room))
            .collect();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = said.as_ref().map(|said| &said.rooms);
        let grown = rooms.iter().filter(|(function, room)| {
            let before = before.and_then(|before| before.get(*function));
            before.is_none_or(|before| before.places < room.places)
        });
        let grown = grown.map(|(function, _)| function.clone()).collect();
        *said = Some(Said { at: now, rooms });
        grown
    }

    /// What a function can take, if somebody has said it just now: the places of its instances, and those in its queue.
    pub(crate) fn of(&self, function: &Key, now: Instant) -> Option<(u32, u32)> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.as_ref().filter(|said| now < said.at + BELIEVED)?;
        let room = said.rooms.get(function)?;
        Some((room.places, room.queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_for_a_while() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let (mails, bills) = (Key::new("shop", "mails"), Key::new("shop", "bills"));
        let room = |name: &str, places| Room {
            namespace: "shop".into(),
            name: name.into(),
            places,
            queue: 5,
        };
        assert_eq!(rooms.of(&mails, now), None);
        assert_eq!(
            rooms.say(vec![room("mails", 3)], now),
            std::slice::from_ref(&mails)
        );
        assert_eq!(rooms.of(&mails, now), Some((3, 5)));
        assert_eq!(rooms.of(&bills, now), None);
        let grown = rooms.say(vec![room("mails", 3), room("bills", 0)], now);
        assert_eq!(grown, std::slice::from_ref(&bills));
        assert!(rooms.say(vec![room("bills", 0)], now).is_empty());
        assert_eq!(rooms.of(&mails, now), None);
        assert_eq!(rooms.of(&bills, now + BELIEVED), None);
    }
}
