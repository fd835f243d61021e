//! What rows have to do, wherever they are kept.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::backend::{Backend, Change, Rows},
    *,
};

/// Where rows are kept, for as long as nobody removes them.
pub(super) trait Place {
    /// Has the rows as soon as nobody else does.
    async fn open(&self) -> Arc<dyn Backend>;
}

/// The tests of a kind of place.
macro_rules! conformance {
    ($place:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn what_is_written_is_there_and_what_is_removed_is_not() {
            conformance::written_and_removed(&$place).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn large_rows_come_back_as_they_were() {
            conformance::large(&$place).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn calls_come_back_in_the_order_of_their_names() {
            conformance::in_order(&$place).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn many_writes_at_once_are_all_made() {
            conformance::many(&$place).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn rows_are_what_they_were_made_last_whatever_was_done_before() {
            conformance::anything(&$place).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn nothing_accepted_is_lost_and_nothing_that_is_over_comes_again() {
            model::any_steps(&$place).await;
        }
    };
}
pub(super) use conformance;

/// What blocks is done where it may.
async fn with<T: Send + 'static>(
    backend: &Arc<dyn Backend>,
    work: impl FnOnce(&dyn Backend) -> T + Send + 'static,
) -> T {
    let backend = backend.clone();
    let worked = tokio::task::spawn_blocking(move || work(&*backend)).await;
    worked.unwrap()
}

async fn write(backend: &Arc<dyn Backend>, writes: Vec<Vec<Change>>) {
    let written = with(backend, move |backend| backend.write(&writes)).await;
    for written in written {
        written.unwrap();
    }
}

async fn get(backend: &Arc<dyn Backend>, table: Rows, id: Id) -> Option<Vec<u8>> {
    with(backend, move |backend| backend.get(table, id).unwrap()).await
}

fn put(table: Rows, id: Id, row: &[u8]) -> Change {
    change(table, id, Some(row.to_vec()))
}

/// A row of what is known of a call.
fn known(function: &str) -> Vec<u8> {
    serde_json::to_vec(&invocation(function, "body")).unwrap()
}

pub(super) async fn written_and_removed(place: &impl Place) {
    let backend = place.open().await;
    let (one, other) = (new_id(), new_id());
    let known = known("shop/orders");
    write(
        &backend,
        vec![
            vec![
                put(Rows::Invocations, one, &known),
                put(Rows::Calls, one, b"sent"),
            ],
            vec![
                put(Rows::Invocations, other, &known),
                put(Rows::Calls, other, b""),
                put(Rows::Answers, other, b"answered"),
            ],
        ],
    )
    .await;
    assert_eq!(get(&backend, Rows::Calls, one).await.unwrap(), b"sent");
    assert_eq!(get(&backend, Rows::Answers, one).await, None);
    assert_eq!(get(&backend, Rows::Calls, other).await.unwrap(), b"");
    let ids = vec![one, new_id(), other];
    let rows = with(&backend, move |backend| {
        backend.rows(Rows::Invocations, &ids).unwrap()
    });
    assert_eq!(rows.await, [(one, known.clone()), (other, known.clone())]);

    // The later of two changes counts, and to remove what is not there is nothing.
    let changes = vec![
        put(Rows::Answers, one, b"first"),
        put(Rows::Answers, one, b"second"),
        change(Rows::Calls, one, None),
        change(Rows::Calls, new_id(), None),
    ];
    let nothing = vec![change(Rows::Answers, new_id(), None)];
    write(&backend, vec![changes, nothing, Vec::new()]).await;
    drop(backend);

    let backend = place.open().await;
    assert_eq!(get(&backend, Rows::Calls, one).await, None);
    assert_eq!(get(&backend, Rows::Answers, one).await.unwrap(), b"second");
    let all = [Rows::Invocations, Rows::Calls, Rows::Answers];
    let removed = all.map(|table| change(table, one, None)).to_vec();
    write(&backend, vec![removed]).await;
    drop(backend);

    let backend = place.open().await;
    for table in all {
        assert_eq!(get(&backend, table, one).await, None);
    }
    let left = with(&backend, |backend| backend.invocations().unwrap());
    let left: Vec<Id> = left.await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, [other]);
}

pub(super) async fn large(place: &impl Place) {
    let backend = place.open().await;
    let bytes = |count: usize, from: usize| -> Vec<u8> {
        (from..from + count)
            .map(|number| u8::try_from(number % 251).unwrap())
            .collect()
    };
    let one = new_id();
    let mut large = invocation("shop/orders", "body");
    large.message = Some("m".repeat(100_000));
    let row = serde_json::to_vec(&large).unwrap();
    let (call, answer) = (bytes(1024 * 1024 + 5000, 0), bytes(3 * 1024 * 1024, 7));
    let changes = vec![
        put(Rows::Invocations, one, &row),
        put(Rows::Calls, one, &call),
        put(Rows::Answers, one, &answer),
    ];
    write(&backend, vec![changes]).await;
    assert_eq!(get(&backend, Rows::Calls, one).await.unwrap(), call);
    drop(backend);

    let backend = place.open().await;
    assert_eq!(get(&backend, Rows::Calls, one).await.unwrap(), call);
    assert_eq!(get(&backend, Rows::Answers, one).await.unwrap(), answer);
    let found = with(&backend, |backend| backend.invocations().unwrap()).await;
    assert_eq!(found, [(one, large)]);
    // One that is small again.
    let small = vec![
        put(Rows::Answers, one, b"small"),
        change(Rows::Calls, one, None),
    ];
    write(&backend, vec![small]).await;
    assert_eq!(get(&backend, Rows::Answers, one).await.unwrap(), b"small");
    drop(backend);
    let backend = place.open().await;
    assert_eq!(get(&backend, Rows::Answers, one).await.unwrap(), b"small");
    assert_eq!(get(&backend, Rows::Calls, one).await, None);
    assert_eq!(get(&backend, Rows::Invocations, one).await.unwrap(), row);
}

pub(super) async fn in_order(place: &impl Place) {
    let backend = place.open().await;
    let mut ids: Vec<Id> = (0..50).map(|_| new_id()).collect();
    for id in ids.iter().rev() {
        let name = known("shop/orders");
        write(&backend, vec![vec![put(Rows::Invocations, *id, &name)]]).await;
    }
    drop(backend);
    let backend = place.open().await;
    let found = with(&backend, |backend| backend.invocations().unwrap()).await;
    ids.sort();
    let found: Vec<Id> = found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, ids);
}

pub(super) async fn many(place: &impl Place) {
    let backend = place.open().await;
    // Alone, and several calls together; more than are sent at once.
    let mut writes = Vec::new();
    let mut ids = BTreeSet::new();
    for number in 0..700 {
        let count = if number % 5 == 0 { 7 } else { 1 };
        let mut changes = Vec::new();
        for _ in 0..count {
            let id = new_id();
            changes.push(put(Rows::Invocations, id, &known("shop/orders")));
            changes.push(put(Rows::Calls, id, id.to_string().as_bytes()));
            ids.insert(id);
        }
        writes.push(changes);
    }
    // A call that an earlier one of them has made.
    let again = writes[0][0].id;
    writes.push(vec![put(Rows::Answers, again, b"again")]);
    write(&backend, writes).await;
    assert_eq!(get(&backend, Rows::Answers, again).await.unwrap(), b"again");
    drop(backend);

    let backend = place.open().await;
    let found = with(&backend, |backend| backend.invocations().unwrap()).await;
    let found: BTreeSet<Id> = found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, ids);
    let asked: Vec<Id> = ids.iter().copied().collect();
    let rows = with(&backend, move |backend| {
        backend.rows(Rows::Calls, &asked).unwrap()
    });
    for (id, row) in rows.await {
        assert_eq!(row, id.to_string().as_bytes());
    }
    // All of them go at once, as is done with what is over.
    let all = [Rows::Invocations, Rows::Calls, Rows::Answers];
    for some in ids.iter().collect::<Vec<_>>().chunks(256) {
        let gone = some
            .iter()
            .flat_map(|id| all.map(|table| change(table, **id, None)));
        write(&backend, vec![gone.collect()]).await;
    }
    drop(backend);
    let backend = place.open().await;
    let found = with(&backend, |backend| backend.invocations().unwrap()).await;
    assert_eq!(found, []);
}

/// Anything is done with few calls, and compared with what a map says.
pub(super) async fn anything(place: &impl Place) {
    let mut dice = Dice(20_261_128);
    let ids: Vec<Id> = (0..6).map(|_| new_id()).collect();
    let mut expected: BTreeMap<(Id, u8), Vec<u8>> = BTreeMap::new();
    let mut backend = place.open().await;
    for step in 0..120 {
        let mut writes = Vec::new();
        for _ in 0..=dice.below(4) {
            let mut changes = Vec::new();
            for _ in 0..=dice.below(4) {
                let id = ids[dice.below(ids.len())];
                let table = [Rows::Invocations, Rows::Calls, Rows::Answers][dice.below(3)];
                // What is sent or answered is there with what is known alone.
                let is_known = expected.contains_key(&(id, Rows::Invocations as u8));
                let row = match (dice.below(4), table) {
                    (0, _) => None,
                    (_, Rows::Invocations) => Some(known(&format!("shop/f{}", dice.below(9)))),
                    _ if !is_known => None,
                    (1, _) => Some(vec![b'x'; 70_000 + dice.below(9)]),
                    _ => Some(vec![b'y'; dice.below(200)]),
                };
                let tables: &[Rows] = match (&row, table) {
                    (None, Rows::Invocations) => &[Rows::Invocations, Rows::Calls, Rows::Answers],
                    (_, Rows::Invocations) => &[Rows::Invocations],
                    (_, Rows::Calls) => &[Rows::Calls],
                    (_, Rows::Answers) => &[Rows::Answers],
                };
                for table in tables {
                    match &row {
                        Some(row) => expected.insert((id, *table as u8), row.clone()),
                        None => expected.remove(&(id, *table as u8)),
                    };
                    changes.push(change(*table, id, row.clone()));
                }
            }
            writes.push(changes);
        }
        write(&backend, writes).await;
        if dice.below(8) == 0 || step == 119 {
            drop(backend);
            backend = place.open().await;
            let found = with(&backend, |backend| backend.invocations().unwrap()).await;
            let found: Vec<Id> = found.into_iter().map(|(id, _)| id).collect();
            let known = expected.keys();
            let known = known.filter(|(_, table)| *table == Rows::Invocations as u8);
            assert_eq!(found, known.map(|(id, _)| *id).collect::<Vec<_>>());
        }
        for id in &ids {
            for table in [Rows::Invocations, Rows::Calls, Rows::Answers] {
                let row = get(&backend, table, *id).await;
                let expected = expected.get(&(*id, table as u8));
                assert_eq!(row.as_ref(), expected, "{table:?} of {id} at {step}");
            }
        }
    }
}

/// Numbers that look random, and are the same each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}
