use std::{
    io,
    path::PathBuf,
    sync::{Mutex as StdMutex, atomic::AtomicBool},
};

use serde_json::json;

use super::*;

/// A file in memory whose disk can be full.
#[derive(Clone, Debug, Default)]
struct Medium {
    bytes: Arc<StdMutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Medium {
    fn check(&self) -> Result<(), io::Error> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl redb::StorageBackend for Medium {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.bytes.lock().unwrap()[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.check()?;
        let len = usize::try_from(len).unwrap();
        self.bytes.lock().unwrap().resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.check()?;
        let start = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn open_medium(medium: &Medium) -> Store {
    let medium = medium.clone();
    let path = PathBuf::from("state.redb");
    let opener = move || redb::Database::builder().create_with_backend(medium.clone());
    let (disk, loaded) = Disk::open_with(&path, Box::new(opener)).unwrap();
    Store::with_disk(&path, disk, loaded).unwrap()
}

fn things() -> Arc<str> {
    Arc::from("things")
}

fn thing(name: &str, value: u64) -> Value {
    json!({"kind": "Thing", "metadata": {"name": name}, "value": value})
}

async fn put(
    store: &Store,
    name: &str,
    value: u64,
    expect: Expect,
) -> Result<Arc<Object>, CommitError<()>> {
    let put = Put::Store(thing(name, value));
    store
        .write(&things(), &Key::new("", name), expect, put, |_, _| Ok(()))
        .await
}

async fn create(store: &Store, name: &str, value: u64) -> Arc<Object> {
    put(store, name, value, Expect::Absent).await.unwrap()
}

fn values(store: &Store, at: Option<u64>) -> Vec<u64> {
    let listing = store.list("things", None, at).unwrap();
    let values = listing.items.iter();
    values
        .map(|(_, object)| object.value()["value"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_writer_has_to_know_the_newest_state() {
    let store = Store::ephemeral();
    let first = create(&store, "a", 1).await;
    assert!(matches!(
        put(&store, "a", 2, Expect::Absent).await,
        Err(CommitError::Stale)
    ));
    let second = put(&store, "a", 2, Expect::Revision(first.revision))
        .await
        .unwrap();
    assert!(second.revision > first.revision);
    assert!(matches!(
        put(&store, "a", 3, Expect::Revision(first.revision)).await,
        Err(CommitError::Stale)
    ));
    assert!(matches!(
        put(&store, "b", 3, Expect::Revision(1)).await,
        Err(CommitError::Stale)
    ));
    assert_eq!(values(&store, None), [2]);
}

#[tokio::test]
async fn a_guard_sees_the_moment_of_the_write_and_can_refuse_it() {
    let store = Store::ephemeral();
    create(&store, "a", 1).await;
    let guard = |state: &State, _: &Value| {
        let count = state.scan("things", None).count();
        if count < 1 { Ok(()) } else { Err(count) }
    };
    let key = Key::new("", "b");
    let refused = store
        .write(
            &things(),
            &key,
            Expect::Absent,
            Put::Store(thing("b", 1)),
            guard,
        )
        .await;
    assert!(matches!(refused, Err(CommitError::Refused(1))));
    assert_eq!(values(&store, None), [1]);
}

#[tokio::test]
async fn older_lists_are_rebuilt_until_their_past_is_forgotten() {
    let store = Store::ephemeral();
    let first = create(&store, "a", 1).await;
    let second = create(&store, "b", 2).await;
    let third = put(&store, "a", 3, Expect::Revision(first.revision))
        .await
        .unwrap();
    let last = Put::Remove(thing("b", 2));
    let key = Key::new("", "b");
    store
        .write(
            &things(),
            &key,
            Expect::Revision(second.revision),
            last,
            |_, _| Ok::<_, ()>(()),
        )
        .await
        .unwrap();
    assert_eq!(values(&store, None), [3]);
    assert_eq!(values(&store, Some(third.revision)), [3, 2]);
    assert_eq!(values(&store, Some(second.revision)), [1, 2]);
    assert_eq!(values(&store, Some(first.revision)), [1]);

    let (events, _) = store.events("things", first.revision, 10).unwrap();
    let changes: Vec<Change> = events.iter().map(|event| event.change).collect();
    assert_eq!(changes, [Change::Added, Change::Modified, Change::Deleted]);

    store.compact(&things());
    assert_eq!(
        store
            .list("things", None, Some(first.revision))
            .unwrap_err(),
        Expired
    );
    assert_eq!(
        store.events("things", first.revision, 10).unwrap_err(),
        Expired
    );
    assert_eq!(values(&store, None), [3], "what is there now stays");
}

#[tokio::test]
async fn a_reopened_store_has_every_answered_write_and_newer_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    let newest = futures::future::join_all((0..200).map(|n| {
        let store = store.clone();
        async move { create(&store, &format!("t{n:03}"), n).await.revision }
    }))
    .await
    .into_iter()
    .max()
    .unwrap();
    let gone = store.get("things", &Key::new("", "t000")).unwrap();
    let removed = store
        .write(
            &things(),
            &Key::new("", "t000"),
            Expect::Revision(gone.revision),
            Put::Remove(Value::clone(&gone.value())),
            |_, _| Ok::<_, ()>(()),
        )
        .await
        .unwrap();
    assert!(removed.revision > newest);
    store.close().await;

    let store = Store::open(&path).unwrap();
    assert_eq!(values(&store, None), (1..200).collect::<Vec<_>>());
    assert!(store.revision() > removed.revision);
    assert_eq!(
        store.events("things", removed.revision, 1).unwrap_err(),
        Expired
    );
    store.close().await;
}

#[tokio::test]
async fn a_store_is_one_process_s_and_a_closed_one_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"));
    store.close().await;
    assert!(matches!(
        put(&store, "a", 1, Expect::Absent).await,
        Err(CommitError::Failed(_))
    ));
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    for content in [
        b"this is no store".repeat(100),
        b"redb".to_vec(),
        vec![0xff; 100_000],
    ] {
        std::fs::write(&path, &content).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("state.redb"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    for n in 0..50 {
        create(&store, &format!("t{n}"), n).await;
    }
    store.close().await;
    let whole = std::fs::read(&path).unwrap();
    for length in [100, 4096, whole.len() / 2, whole.len() - 4096] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(
            matches!(error, OpenError::Corrupt { .. }),
            "{length}: {error}"
        );
        assert_eq!(std::fs::read(&path).unwrap().len(), length);
    }
    std::fs::write(&path, &whole).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(values(&store, None).len(), 50);
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_takes_them_back_and_goes_on_reading() {
    let medium = Medium::default();
    let store = open_medium(&medium);
    let kept = create(&store, "kept", 1).await;
    let mut changed = store.subscribe(&things());
    let before = store.revision();

    medium.full.store(true, Ordering::Relaxed);
    let (changed_write, created) = tokio::join!(
        put(&store, "kept", 2, Expect::Revision(kept.revision)),
        put(&store, "new", 3, Expect::Absent),
    );
    for refused in [changed_write, created] {
        let Err(CommitError::Failed(error)) = refused else {
            panic!("written to a full disk");
        };
        assert!(error.full, "{error}");
        assert!(error.to_string().contains("state.redb"), "{error}");
    }
    assert_eq!(values(&store, None), [1], "memory says what the disk says");
    changed.changed().await.unwrap();
    let (events, _) = store.events("things", before, 10).unwrap();
    let last = |name: &str| {
        let of = |event: &&Arc<Event>| event.key.name == name;
        events.iter().rev().find(of).map(|event| event.change)
    };
    assert_eq!(
        last("kept"),
        Some(Change::Modified),
        "watches see it taken back"
    );
    // Refused before it was shown, or shown and taken back.
    assert!(matches!(last("new"), None | Some(Change::Deleted)));

    let before = store.revision();
    assert!(matches!(
        put(&store, "other", 4, Expect::Absent).await,
        Err(CommitError::Failed(_))
    ));
    assert_eq!(
        store.revision(),
        before,
        "nobody is shown a write that cannot last"
    );

    medium.full.store(false, Ordering::Relaxed);
    create(&store, "after", 5).await;
    store.close().await;
    let store = open_medium(&medium);
    assert_eq!(values(&store, None), [5, 1]);
    store.close().await;
}
