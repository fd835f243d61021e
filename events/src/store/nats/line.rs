//! The one who writes to the stream, and what it knows of the end of the stream.
//!
//! Each message says which number the last one must have. So whoever has taken the store over in the meantime is noticed
//! by the first message that is written, and nothing is written that another does not know of. Where nobody has said what
//! became of messages they are fenced off: so many are written behind the end that none of them can follow it any more,
//! wherever it may still be under way; what is there then is there, and nothing else will come.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::{
    Client,
    connection::State,
    jetstream::stream::{RawMessageErrorKind, Stream},
};
use tokio::sync::Mutex as Turn;
use tokio_util::sync::CancellationToken;

use super::{
    super::backend::Change,
    catalog::{Catalog, Effect},
    message::{Message, Plan},
    owner::{OWNER, Owner, fence},
    publish::{CHAIN, MOST, Post, Refusal, Told},
};
use crate::{
    error::{NatsError, StoreError},
    id::Id,
};

/// The most bytes that are written together, unless they belong together.
const TOGETHER: usize = 8 * 1024 * 1024;

/// How often messages are sent again that were not written since the one before them was not.
const AGAIN: usize = 8;

/// How often the end of the stream is looked for that moves on meanwhile.
const LOOKS: usize = 5;

/// The number of the error that says that there is no such stream.
const NO_STREAM: u64 = 10059;

/// The writer.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) stream: Stream,
    /// Who this is.
    pub(super) holder: String,
    /// Cancelled when another one has the store.
    pub(super) lost: CancellationToken,
    /// Whether there is little room.
    pub(super) short: AtomicBool,
    head: Turn<Head>,
    catalog: Mutex<Catalog>,
}

/// The end of the stream.
#[derive(Debug)]
struct Head {
    post: Post,
    /// The number of the last message.
    last: u64,
    /// Whether the store was let go of.
    released: bool,
    /// Whether something was sent of which nobody has said what became of it.
    unknown: bool,
    /// Changes of which that is so, from which number on, and up to which.
    doubt: Vec<Doubt>,
}

/// A write of which nobody has said what became of it.
#[derive(Debug)]
struct Doubt {
    index: usize,
    effects: Vec<Effect>,
    first: u64,
    last: u64,
    /// The end of the subject of the last one.
    subject: String,
}

/// Changes that belong together, and the messages that make them.
#[derive(Debug)]
struct Unit {
    /// Which of the writes it is.
    index: usize,
    effects: Vec<Effect>,
    messages: Vec<Message>,
}

/// What became of each write so far.
type Outcomes = Vec<Option<Result<(), StoreError>>>;

// === impl Line ===

impl Line {
    /// Who writes from this number on.
    pub(super) fn new(
        client: Client,
        stream: Stream,
        holder: String,
        post: Post,
        last: u64,
    ) -> Self {
        let head = Head {
            post,
            last,
            released: false,
            unknown: false,
            doubt: Vec::new(),
        };
        Self {
            client,
            stream,
            holder,
            lost: CancellationToken::new(),
            short: AtomicBool::new(false),
            head: Turn::new(head),
            catalog: Mutex::default(),
        }
    }

    /// Which messages hold what.
    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when nothing is being written, and says whether it is known what became of everything.
    pub(super) async fn is_settled(&self) -> bool {
        !self.head.lock().await.unknown
    }

    /// Makes writes, in this order.
    pub(super) async fn write(&self, writes: &[Vec<Change>]) -> Vec<Result<(), StoreError>> {
        let mut head = self.head.lock().await;
        if let Err(error) = self.ready(&mut head).await {
            return vec![Err(error.into()); writes.len()];
        }
        let mut outcomes: Outcomes = vec![None; writes.len()];
        let mut next = 0;
        while next < writes.len() {
            let run;
            (run, next) = self.run(writes, next, &mut outcomes);
            let sent = match run.first() {
                None => Ok(()),
                Some(unit) if unit.messages.len() == 1 => {
                    self.chain(&mut head, run, &mut outcomes).await
                }
                Some(_) => self.batch(&mut head, run, &mut outcomes).await,
            };
            if let Err(error) = sent {
                let error = StoreError::from(error);
                let open = outcomes.iter_mut().filter(|outcome| outcome.is_none());
                open.for_each(|outcome| *outcome = Some(Err(error.clone())));
                break;
            }
        }
        let known = |outcome: Option<_>| outcome.unwrap_or(Err(StoreError::Closed));
        outcomes.into_iter().map(known).collect()
    }

    /// Says that this process has the store still, or has it no more.
    ///
    /// # Errors
    ///
    /// When it cannot be said, or another one has it.
    pub(super) async fn renew(&self, released: bool) -> Result<(), NatsError> {
        let mut head = self.head.lock().await;
        if head.released {
            // It may be another one's already.
            return Ok(());
        }
        head.released = released;
        if head.unknown {
            // What it was is told by this as well.
            self.resolve(&mut head).await?;
        }
        self.connected()?;
        let message = self.owner(released);
        let last = head.last;
        let mut told = head.post.chain(vec![message], last).await.into_iter();
        match told.next().unwrap_or(Told::Unknown) {
            Told::Written(sequence) if sequence == last + 1 => {
                head.last = sequence;
                Ok(())
            }
            Told::Refused(refusal) if !refusal.is_wrong_last() => Err(refusal.error()),
            Told::Unknown => {
                head.unknown = true;
                self.resolve(&mut head).await
            }
            // Somebody else has written.
            _ => Err(self.taken()),
        }
    }

    /// Whether something can be written now.
    async fn ready(&self, head: &mut Head) -> Result<(), NatsError> {
        if self.lost.is_cancelled() || head.released {
            return Err(NatsError::Taken);
        }
        self.connected()?;
        if head.unknown {
            self.resolve(head).await?;
        }
        Ok(())
    }

    fn connected(&self) -> Result<(), NatsError> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            _ => Err(NatsError::Disconnected),
        }
    }

    /// Writes that can be made together from this one on, and the one behind them.
    fn run(
        &self,
        writes: &[Vec<Change>],
        from: usize,
        outcomes: &mut Outcomes,
    ) -> (Vec<Unit>, usize) {
        let catalog = self.catalog();
        let largest = self.client.max_payload();
        let (mut run, mut calls): (Vec<Unit>, HashSet<Id>) = (Vec::new(), HashSet::new());
        let (mut messages, mut bytes) = (0, 0);
        for (index, changes) in writes.iter().enumerate().skip(from) {
            // What is planned for a call holds for as long as nothing else is written of it.
            if changes.iter().any(|change| calls.contains(&change.id)) {
                return (run, index);
            }
            let unit = Unit::of(&catalog, index, changes, largest);
            let size = unit.size();
            let count = unit.messages.len();
            if count == 0 || count > MOST {
                let outcome = match count {
                    0 => Ok(()),
                    _ => Err(NatsError::TooMany {
                        messages: count,
                        most: MOST,
                    }
                    .into()),
                };
                set(outcomes, index, outcome);
                continue;
            }
            let most = if count == 1 { CHAIN } else { MOST };
            let alike = run
                .first()
                .is_none_or(|first| (first.messages.len() == 1) == (count == 1));
            let fits = messages + count <= most && (run.is_empty() || bytes + size <= TOGETHER);
            // What is planned for a call holds for as long as nothing else is written of it.
            let apart = unit
                .effects
                .iter()
                .all(|effect| !calls.contains(&effect.id));
            if !(alike && fits && apart) {
                return (run, index);
            }
            calls.extend(unit.effects.iter().map(|effect| effect.id));
            messages += count;
            bytes += size;
            run.push(unit);
        }
        (run, writes.len())
    }

    /// Sends writes of one message each.
    async fn chain(
        &self,
        head: &mut Head,
        mut run: Vec<Unit>,
        outcomes: &mut Outcomes,
    ) -> Result<(), NatsError> {
        for _ in 0..AGAIN {
            let messages = run.iter().flat_map(|unit| unit.messages.clone()).collect();
            let told = head.post.chain(messages, head.last).await;
            let mut behind = Vec::new();
            // Those before one that was written are written too.
            let reached = told
                .iter()
                .rposition(|told| matches!(told, Told::Written(_)));
            let (mut refused, mut unknown, mut open) = (false, false, false);
            for (at, (unit, told)) in run.into_iter().zip(told).enumerate() {
                let written = reached.is_some_and(|reached| at <= reached);
                let unanswered = told == Told::Unknown;
                match told {
                    Told::Written(sequence) if sequence != head.last + 1 => {
                        return Err(self.taken());
                    }
                    _ if written => {
                        let index = unit.index;
                        self.apply(head, unit);
                        set(outcomes, index, Ok(()));
                    }
                    Told::Refused(refusal) if refusal.is_wrong_last() => {
                        if !refused && !unknown {
                            return Err(self.taken());
                        }
                        behind.push(unit);
                    }
                    Told::Refused(refusal) => {
                        refused = true;
                        set(outcomes, unit.index, Err(of_refusal(refusal)));
                    }
                    // It waits for one that was not written, whatever became of it.
                    _ if refused => {
                        open |= unanswered;
                        behind.push(unit);
                    }
                    _ => {
                        unknown = true;
                        head.doubt_of(unit);
                    }
                }
            }
            if unknown {
                self.resolve_for(head, outcomes).await?;
            } else if open {
                // One that is sent again must not come a second time, from where it may still be under way.
                head.unknown = true;
                self.resolve(head).await?;
            }
            if behind.is_empty() {
                return Ok(());
            }
            run = behind;
        }
        Err(NatsError::Silent)
    }

    /// Sends writes of several messages each.
    async fn batch(
        &self,
        head: &mut Head,
        run: Vec<Unit>,
        outcomes: &mut Outcomes,
    ) -> Result<(), NatsError> {
        let messages: Vec<Message> = run.iter().flat_map(|unit| unit.messages.clone()).collect();
        let count = messages.len() as u64;
        match head.post.batch(messages, head.last).await {
            Told::Written(sequence) if sequence == head.last + count => {
                for unit in run {
                    let index = unit.index;
                    self.apply(head, unit);
                    set(outcomes, index, Ok(()));
                }
                Ok(())
            }
            Told::Unknown => {
                run.into_iter().for_each(|unit| head.doubt_of(unit));
                self.resolve_for(head, outcomes).await
            }
            Told::Refused(refusal) if !refusal.is_wrong_last() => {
                if run.len() == 1 {
                    for unit in run {
                        set(outcomes, unit.index, Err(of_refusal(refusal.clone())));
                    }
                    return Ok(());
                }
                // One of them may be too large, which is no reason for the others.
                for unit in run {
                    Box::pin(self.batch(head, vec![unit], outcomes)).await?;
                }
                Ok(())
            }
            _ => Err(self.taken()),
        }
    }

    fn apply(&self, head: &mut Head, unit: Unit) {
        let mut catalog = self.catalog();
        let mut next = head.last + 1;
        for effect in &unit.effects {
            next = catalog.apply(effect, next);
        }
        head.last = next - 1;
    }

    /// Finds out what became of everything that was sent, and of which writes.
    async fn resolve_for(&self, head: &mut Head, outcomes: &mut Outcomes) -> Result<(), NatsError> {
        for (index, written) in self.find_end(head).await? {
            let outcome = if written {
                Ok(())
            } else {
                Err(NatsError::Silent.into())
            };
            set(outcomes, index, outcome);
        }
        Ok(())
    }

    async fn resolve(&self, head: &mut Head) -> Result<(), NatsError> {
        self.find_end(head).await.map(drop)
    }

    /// Finds out where the stream ends, and sees to it that nothing that was sent comes any more. Which of the writes in
    /// doubt are there.
    async fn find_end(&self, head: &mut Head) -> Result<Vec<(usize, bool)>, NatsError> {
        for _ in 0..LOOKS {
            self.connected()?;
            // Before it is asked who has the store: whoever takes it over after that is noticed by the fence.
            let info = self.stream.get_info().await.map_err(NatsError::Info)?;
            let end = info.state.last_sequence;
            if self.who().await? != self.holder {
                return Err(self.taken());
            }
            match fence(&mut head.post, &self.holder, end).await {
                Told::Written(sequence) => {
                    let mut found = Vec::with_capacity(head.doubt.len());
                    for doubt in &head.doubt {
                        found.push((doubt.index, self.is_written(doubt, end).await?));
                    }
                    let mut catalog = self.catalog();
                    for (doubt, (_, written)) in mem::take(&mut head.doubt).iter().zip(&found) {
                        if *written {
                            let effects = doubt.effects.iter();
                            effects.fold(doubt.first, |next, effect| catalog.apply(effect, next));
                        }
                    }
                    head.last = sequence;
                    head.unknown = false;
                    return Ok(found);
                }
                Told::Refused(refusal) if refusal.is_wrong_last() => {}
                Told::Refused(refusal) => return Err(refusal.error()),
                Told::Unknown => return Err(NatsError::Silent),
            }
        }
        Err(NatsError::Silent)
    }

    /// Whether a write in doubt is there. Its numbers alone do not tell: a fence of this process may have taken them whose
    /// answer was lost.
    async fn is_written(&self, doubt: &Doubt, end: u64) -> Result<bool, NatsError> {
        if doubt.last > end {
            return Ok(false);
        }
        let subject = format!(
            "{}.{}",
            self.stream.cached_info().config.name,
            doubt.subject
        );
        match self.stream.get_raw_message(doubt.last).await {
            Ok(message) => Ok(message.subject.as_str() == subject),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(NatsError::GetByLeader(error)),
        }
    }

    /// Who has the store.
    async fn who(&self) -> Result<String, NatsError> {
        let subject = format!("{}.{OWNER}", self.stream.cached_info().config.name);
        match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(Owner::read(&message.payload).holder),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Err(self.taken()),
                RawMessageErrorKind::JetStream(cause) if cause.error_code().0 == NO_STREAM => {
                    Err(self.taken())
                }
                _ => Err(NatsError::GetByLeader(error)),
            },
        }
    }

    fn owner(&self, released: bool) -> Message {
        Owner {
            holder: self.holder.clone(),
            released,
        }
        .message()
    }

    /// This process has the store no more.
    fn taken(&self) -> NatsError {
        if !self.lost.is_cancelled() {
            tracing::error!("another process has the store now: nothing more is written here");
            self.lost.cancel();
        }
        NatsError::Taken
    }

    /// Notes how much room there is.
    pub(super) fn note_room(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }
}

// === impl Head ===

impl Head {
    /// Nobody has said what became of it: if it is written, then behind all that is.
    fn doubt_of(&mut self, unit: Unit) {
        self.unknown = true;
        let behind = self.doubt.last().map_or(self.last, |doubt| doubt.last);
        self.doubt.push(Doubt {
            index: unit.index,
            first: behind + 1,
            last: behind + unit.messages.len() as u64,
            subject: unit
                .messages
                .last()
                .map(|message| message.subject.clone())
                .unwrap_or_default(),
            effects: unit.effects,
        });
    }
}

// === impl Unit ===

impl Unit {
    /// The messages that make these changes, call by call.
    fn of(catalog: &Catalog, index: usize, changes: &[Change], largest: usize) -> Self {
        let mut calls: Vec<(Id, Vec<&Change>)> = Vec::new();
        let mut places: HashMap<Id, usize> = HashMap::new();
        for change in changes {
            let place = *places.entry(change.id).or_insert_with(|| {
                calls.push((change.id, Vec::new()));
                calls.len() - 1
            });
            if let Some((_, changes)) = calls.get_mut(place) {
                changes.push(change);
            }
        }
        let (mut effects, mut messages) = (Vec::new(), Vec::new());
        for (id, changes) in calls {
            if let Some(plan) = Plan::of(catalog, id, &changes, largest) {
                effects.push(plan.effect);
                messages.extend(plan.messages);
            }
        }
        Self {
            index,
            effects,
            messages,
        }
    }

    fn size(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}

fn set(outcomes: &mut Outcomes, index: usize, outcome: Result<(), StoreError>) {
    if let Some(place) = outcomes.get_mut(index) {
        *place = Some(outcome);
    }
}

fn of_refusal(refusal: Refusal) -> StoreError {
    if refusal.is_for_want_of_room() {
        StoreError::Full(Arc::new(refusal.error()))
    } else {
        refusal.error().into()
    }
}
