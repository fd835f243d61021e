//! A bounded number of places for connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Places that are looked at for one that has been idle longest, before a shorter one is good enough:
/// the search must not cost more than a connection does.
const WINDOW: usize = 1024;

/// How long to wait, when everybody is busy, before looking again for somebody who has become idle.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many connections there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// At once.
    pub most: usize,
    /// At once from one address; an IPv6 network of 64 bits counts as one.
    pub per_address: usize,
}

/// The places of one listener. Clones share them.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    table: Mutex<Table>,
    /// Somebody left.
    left: Notify,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    taken: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Where the next search begins.
    cursor: usize,
}

#[derive(Debug)]
struct Slot {
    place: Arc<Place>,
    address: Option<IpAddr>,
}

/// The place of one connection. It is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    place: Arc<Place>,
    number: usize,
    shared: Arc<Shared>,
}

/// What a connection does, in one word, so that it cannot begin a request while its place is taken
/// away: the highest bit says that the place is lost, 16 bits count requests under way, and the other
/// bits are the microsecond since when there is none.
#[derive(Debug)]
struct Place {
    state: AtomicU64,
    lost: Notify,
}

/// A request under way on a connection.
#[derive(Debug)]
pub struct Busy(Arc<Place>);

/// The address has as many connections as it may, and all of them are busy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this address has as many connections as it may, and all of them are busy")]
pub struct AddressFull;

const LOST: u64 = 1 << 63;
const COUNT_BITS: u32 = 16;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

// === impl Seats ===

impl Seats {
    /// Places within these bounds, each of which is at least 1.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let bounds = Bounds {
            most: bounds.most.max(1),
            per_address: bounds.per_address.max(1),
        };
        Self(Arc::new(Shared {
            bounds,
            table: Mutex::default(),
            left: Notify::new(),
        }))
    }

    /// The bounds.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.0.bounds
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.table().taken
    }

    /// Takes a place for a connection from this address; `None` is one that is not counted by its
    /// address. Where there is no room, the connection that has been idle longest loses its place, of
    /// the address's own if that has too many. If all are busy this waits until one is not.
    ///
    /// # Errors
    ///
    /// [`AddressFull`] if the address has too many connections and all of them are busy.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn take(&self, address: Option<IpAddr>) -> Result<Seat, AddressFull> {
        let address = address.map(network);
        loop {
            let left = self.0.left.notified();
            if let Some(seat) = self.try_take(address)? {
                return Ok(seat);
            }
            // Nobody tells when a connection becomes idle: that would cost every request.
            let _ = tokio::time::timeout(LOOK_AGAIN, left).await;
        }
    }

    /// Takes a place without taking it from anybody; `None` if there is none.
    #[must_use]
    pub fn take_free(&self, address: Option<IpAddr>) -> Option<Seat> {
        let mut table = self.table();
        (table.taken < self.0.bounds.most).then(|| self.seat(&mut table, address.map(network)))
    }

    /// Takes its place from the connection that has been idle longest; says whether there is one.
    #[must_use]
    pub fn make_room(&self) -> bool {
        self.table().dismiss(None)
    }

    fn try_take(&self, address: Option<IpAddr>) -> Result<Option<Seat>, AddressFull> {
        let bounds = self.0.bounds;
        let mut table = self.table();
        if let Some(address) = address
            && table.of(address) >= bounds.per_address
            && !table.dismiss(Some(address))
        {
            return Err(AddressFull);
        }
        if table.taken >= bounds.most && !table.dismiss(None) {
            return Ok(None);
        }
        Ok(Some(self.seat(&mut table, address)))
    }

    fn seat(&self, table: &mut Table, address: Option<IpAddr>) -> Seat {
        let place = Arc::new(Place::new(now()));
        let slot = Slot {
            place: place.clone(),
            address,
        };
        Seat {
            place,
            number: table.add(slot),
            shared: self.0.clone(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table()
    }
}

// === impl Shared ===

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    fn of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    fn add(&mut self, slot: Slot) -> usize {
        self.taken += 1;
        if let Some(address) = slot.address {
            *self.by_address.entry(address).or_default() += 1;
        }
        match self.free.pop() {
            Some(number) => {
                self.slots[number] = Some(slot);
                number
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() - 1
            }
        }
    }

    /// Counts one that was not counted for an address yet.
    fn count_for(&mut self, number: usize, place: &Arc<Place>, address: IpAddr) {
        // It may have lost its place by now, and its number may be somebody else's.
        if let Some(Some(slot)) = self.slots.get_mut(number)
            && Arc::ptr_eq(&slot.place, place)
            && slot.address.is_none()
        {
            slot.address = Some(address);
            *self.by_address.entry(address).or_default() += 1;
        }
    }

    fn remove(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number).and_then(Option::take) else {
            return;
        };
        self.free.push(number);
        self.taken -= 1;
        if let Some(address) = slot.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Takes its place from the longest idle connection, of the address if one is given. The place is
    /// free at once, though the connection may take a moment to close.
    fn dismiss(&mut self, address: Option<IpAddr>) -> bool {
        // One that was found may have begun a request by now; the next search finds another.
        while let Some((number, state)) = self.longest_idle(address) {
            let Some(slot) = &self.slots[number] else {
                return false;
            };
            if slot.place.dismiss(state) {
                self.remove(number);
                return true;
            }
        }
        false
    }

    /// The longest idle one of the first [`WINDOW`] that are idle at all.
    fn longest_idle(&mut self, address: Option<IpAddr>) -> Option<(usize, u64)> {
        let count = self.slots.len();
        let mut best: Option<(usize, u64)> = None;
        for step in 0..count {
            let number = (self.cursor + step) % count;
            if let Some(slot) = &self.slots[number]
                && (address.is_none() || slot.address == address)
                && let Some(state) = slot.place.idle()
                && best.is_none_or(|(_, longest)| state < longest)
            {
                best = Some((number, state));
            }
            if step >= WINDOW && best.is_some() {
                self.cursor = number;
                break;
            }
        }
        best
    }
}

// === impl Seat ===

impl Seat {
    /// A request begins. While it is under way the place is not taken away; where that has happened
    /// just before, the request may still be answered.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.place.begin();
        Busy(self.place.clone())
    }

    /// A request begins that ends with [`Seat::end`]; false if the place was taken away before, and
    /// nothing may begin any more.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.place.begin()
    }

    /// Counts the connection for an address that has become known only now. Where that has too many
    /// connections, the longest idle one of them loses its place.
    ///
    /// # Errors
    ///
    /// [`AddressFull`] if all of them are busy: this one is to be closed.
    pub fn count_for(&self, address: IpAddr) -> Result<(), AddressFull> {
        let address = network(address);
        let mut table = self.shared.table();
        if table.of(address) >= self.shared.bounds.per_address && !table.dismiss(Some(address)) {
            return Err(AddressFull);
        }
        table.count_for(self.number, &self.place, address);
        Ok(())
    }

    /// A request that began is over.
    pub fn end(&self) {
        self.place.end(now());
    }

    /// Returns when the place was taken away: the connection is to be closed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn lost(&self) {
        while !self.place.is_lost() {
            self.place.lost.notified().await;
        }
        // Whoever else waits is told too.
        self.place.lost.notify_one();
    }

    /// Whether a request is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.place.state.load(Ordering::Relaxed) & COUNT != 0
    }

    /// For how long there has been no request under way; `None` if there is one, or the place was
    /// taken away.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        let since = self.place.idle()? >> COUNT_BITS;
        Some(Duration::from_micros(now().saturating_sub(since)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // One that was lost is not in the table any more, and its number may be somebody else's.
        if self.place.leave() {
            self.shared.table().remove(self.number);
            self.shared.left.notify_one();
        }
    }
}

// === impl Place ===

impl Place {
    fn new(now: u64) -> Self {
        Self {
            state: AtomicU64::new(idle_since(now)),
            lost: Notify::new(),
        }
    }

    fn begin(&self) -> bool {
        let before = self.state.fetch_add(1, Ordering::Relaxed);
        before & LOST == 0
    }

    fn end(&self, now: u64) {
        let next = |state: u64| match state & COUNT {
            0 => None,
            1 if state & LOST == 0 => Some(idle_since(now)),
            _ => Some(state - 1),
        };
        let _ = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// The state, if there is no request under way; the smaller, the longer it has been so.
    fn idle(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Relaxed);
        (state & (LOST | COUNT) == 0).then_some(state)
    }

    fn dismiss(&self, idle: u64) -> bool {
        let lost = idle | LOST;
        let swapped = self
            .state
            .compare_exchange(idle, lost, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            self.lost.notify_one();
        }
        swapped.is_ok()
    }

    /// Says whether the place was still there.
    fn leave(&self) -> bool {
        self.state.fetch_or(LOST, Ordering::Relaxed) & LOST == 0
    }

    fn is_lost(&self) -> bool {
        self.state.load(Ordering::Relaxed) & LOST != 0
    }
}

// === impl Busy ===

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end(now());
    }
}

/// Idle from this microsecond on.
fn idle_since(now: u64) -> u64 {
    (now << COUNT_BITS) & !LOST
}

/// Microseconds since the process first asked.
fn now() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let passed = EPOCH.get_or_init(Instant::now).elapsed();
    u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
}

/// What is counted as one address: who has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests;
