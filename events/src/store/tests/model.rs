//! Random calls, attempts and crashes between any two of them: nothing that was accepted is lost, nothing that is over
//! comes again, and each call ends in one state.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    conformance::{Dice, Place},
    embedded::Path,
    *,
};
use crate::invocation::Idempotency;

/// What is done with the store.
#[derive(Clone, Copy, Debug, bolero::generator::TypeGenerator)]
enum Step {
    Accept {
        function: u8,
        keyed: bool,
        line: Option<bool>,
    },
    Take {
        function: u8,
    },
    Succeed,
    Fail,
    Again,
    GiveBack,
    Cancel {
        which: u8,
    },
    Redrive {
        which: u8,
    },
    Crash,
}

/// What has to be true of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expected {
    Waiting,
    Running,
    Over(State),
}

struct Model<'a, P> {
    place: &'a P,
    store: Option<Store>,
    calls: BTreeMap<Id, (Key, Expected)>,
    /// Those that stand in a line, in the order in which they were accepted.
    lines: BTreeMap<(Key, bool), Vec<Id>>,
    /// Those that were called off while they were being made: they end, in their own time.
    told: BTreeSet<Id>,
}

impl<P: Place> Model<'_, P> {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn running(&self) -> Option<Id> {
        let running = |(_, expected): &(Key, Expected)| *expected == Expected::Running;
        self.calls
            .iter()
            .find_map(|(id, call)| running(call).then_some(*id))
    }

    fn set(&mut self, id: Id, expected: Expected) {
        self.calls.get_mut(&id).unwrap().1 = expected;
    }

    fn pick(&self, which: u8) -> Option<Id> {
        let ids: Vec<Id> = self.calls.keys().copied().collect();
        ids.get(usize::from(which) % ids.len().max(1)).copied()
    }

    /// The line in which a call stands.
    fn line(&self, id: Id) -> Option<&(Key, bool)> {
        let mut lines = self.lines.iter();
        let found = lines.find(|(_, ids)| ids.contains(&id));
        found.map(|(line, _)| line)
    }

    /// Those of its line that are not over, but for itself.
    fn beside(&self, id: Id) -> Vec<Id> {
        let line = self.line(id).and_then(|line| self.lines.get(line));
        let beside = line.into_iter().flatten().copied();
        let beside = beside.filter(|other| !matches!(self.calls[other].1, Expected::Over(_)));
        beside.filter(|other| *other != id).collect()
    }

    /// Whether it can be made, by those of its line.
    fn is_free(&self, id: Id) -> bool {
        let mut beside = self.beside(id).into_iter();
        beside.all(|other| self.calls[&other].1 != Expected::Running)
    }

    /// One that is made is the only one of its line, and the first.
    fn check_order(&self, id: Id) {
        let Some(line) = self.line(id) else { return };
        assert!(self.is_free(id), "{id} is made beside another of its line");
        let order = &self.lines[line];
        let at = |id: &Id| order.iter().position(|other| other == id);
        let beside = self.beside(id);
        assert!(beside.iter().all(|other| at(other) > at(&id)), "{id}");
    }

    async fn settle(&mut self, state: State) {
        let Some(id) = self.running() else { return };
        finished(self.store(), id, state).await;
        self.set(id, Expected::Over(state));
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Accept {
                function,
                keyed,
                line,
            } => {
                let function = Key::new("shop", format!("f{}", function % 3));
                let mut call_of = invocation(&format!("shop/{}", function.name), "body");
                let id = new_id();
                call_of.idempotency = keyed.then(|| Idempotency {
                    key: id.to_string().into(),
                    digest: "d".into(),
                });
                call_of.heard = line.map(|line| in_line(&line.to_string()));
                let kept = self.store().accept(id, call_of, call("body")).await;
                match kept {
                    Ok(kept) => {
                        assert_eq!(kept, id);
                        if let Some(line) = line {
                            let line = (function.clone(), line);
                            self.lines.entry(line).or_default().push(id);
                        }
                        self.calls.insert(id, (function, Expected::Waiting));
                    }
                    Err(Refused::NamespaceFull { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Take { function } => {
                let function = Key::new("shop", format!("f{}", function % 3));
                let waits = |(id, call): &(&Id, &(Key, Expected))| {
                    let waits = call.0 == function && call.1 == Expected::Waiting;
                    waits && self.is_free(**id)
                };
                let waiting = self.calls.iter().find(waits).map(|(id, _)| *id);
                match self.store().next(&function) {
                    Next::Take(id, _) => {
                        assert_eq!(self.calls[&id], (function, Expected::Waiting));
                        self.check_order(id);
                        self.set(id, Expected::Running);
                    }
                    _ => assert_eq!(waiting, None),
                }
            }
            Step::Succeed => self.settle(State::Succeeded).await,
            Step::Fail => self.settle(State::Failed).await,
            Step::Again => {
                let Some(id) = self.running() else { return };
                if self.told.contains(&id) {
                    return;
                }
                let mut invocation = self.store().load(id).await.unwrap().unwrap().invocation;
                invocation.attempts += 1;
                self.store().settle(id, &invocation, None).await.unwrap();
                self.set(id, Expected::Waiting);
            }
            Step::GiveBack => {
                let Some(id) = self.running() else { return };
                if self.told.contains(&id) {
                    return;
                }
                let invocation = self.store().load(id).await.unwrap().unwrap().invocation;
                self.store().give_back(id, &invocation, Duration::ZERO);
                self.set(id, Expected::Waiting);
            }
            Step::Cancel { which } => {
                let Some(id) = self.pick(which) else { return };
                let expected = self.calls[&id].1;
                match (self.store().cancel(id).await.unwrap(), expected) {
                    (Changed::Done(_), Expected::Waiting) => {
                        self.set(id, Expected::Over(State::Cancelled));
                    }
                    (Changed::Told(_), Expected::Running) => {
                        self.told.insert(id);
                    }
                    (Changed::Already(_), Expected::Over(_)) => {}
                    (changed, expected) => panic!("{changed:?} of {expected:?}"),
                }
            }
            Step::Redrive { which } => {
                let Some(id) = self.pick(which) else { return };
                let failed = self.calls[&id].1 == Expected::Over(State::Failed);
                match self.store().redrive(id).await {
                    Ok(Changed::Done(_)) => {
                        assert!(failed);
                        self.set(id, Expected::Waiting);
                        // It stands behind the others of its line.
                        for ids in self.lines.values_mut() {
                            if let Some(at) = ids.iter().position(|other| *other == id) {
                                ids.remove(at);
                                ids.push(id);
                            }
                        }
                    }
                    Ok(Changed::Already(_)) => assert!(!failed),
                    Err(Refused::NamespaceFull { .. }) => assert!(failed),
                    other => panic!("{other:?}"),
                }
            }
            Step::Crash => {
                self.store = None;
                self.store = Some(store_in(self.place).await);
                self.told.clear();
                for (_, expected) in self.calls.values_mut() {
                    if *expected == Expected::Running {
                        *expected = Expected::Waiting;
                    }
                }
            }
        }
        self.check().await;
    }

    async fn check(&self) {
        let mut counts: BTreeMap<&Key, (usize, usize)> = BTreeMap::new();
        for (id, (key, expected)) in &self.calls {
            let (known, running) = self.store().get(*id).await.unwrap().unwrap();
            let found = match known.state {
                State::Waiting if running => Expected::Running,
                State::Waiting => Expected::Waiting,
                over => Expected::Over(over),
            };
            assert_eq!(found, *expected, "{id}");
            let count = counts.entry(key).or_default();
            match expected {
                Expected::Waiting => count.0 += 1,
                Expected::Running => count.1 += 1,
                Expected::Over(_) => {}
            }
        }
        let backlogs: BTreeMap<Key, Backlog> = self.store().backlogs().into_iter().collect();
        for (key, (waiting, running)) in counts {
            let found = backlogs.get(key);
            let found = found.map_or((0, 0), |backlog| (backlog.waiting, backlog.running));
            assert_eq!(found, (waiting, running), "{key:?}");
        }
    }
}

/// Any steps, as the fuzzer finds them, with a file.
#[test]
fn nothing_accepted_is_lost_and_nothing_that_is_over_comes_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    bolero::check!()
        .with_iterations(60)
        .with_type::<Vec<Step>>()
        .for_each(|steps: &Vec<Step>| {
            runtime.block_on(async {
                run(&Path::new(), steps.iter().copied()).await;
            });
        });
}

/// The same steps each time, wherever the rows are.
pub(super) async fn any_steps(place: &impl Place) {
    let mut dice = Dice(7);
    let steps = (0..150).map(|_| {
        let which = u8::try_from(dice.below(256)).unwrap();
        match dice.below(12) {
            0..4 => Step::Accept {
                function: which,
                keyed: which.is_multiple_of(2),
                line: [None, Some(false), Some(true)][dice.below(3)],
            },
            4 | 5 => Step::Take { function: which },
            6 => Step::Succeed,
            7 => Step::Fail,
            8 => Step::Again,
            9 => Step::GiveBack,
            10 if which < 100 => Step::Cancel { which },
            10 => Step::Redrive { which },
            _ => Step::Crash,
        }
    });
    run(place, steps).await;
}

async fn run(place: &impl Place, steps: impl Iterator<Item = Step>) {
    let mut model = Model {
        store: Some(store_in(place).await),
        place,
        calls: BTreeMap::new(),
        lines: BTreeMap::new(),
        told: BTreeSet::new(),
    };
    for step in steps {
        model.step(step).await;
    }
}

async fn store_in(place: &impl Place) -> Store {
    let backend = place.open().await;
    Store::of(backend, BOUNDS, Arc::new(Nobody)).unwrap().0
}
