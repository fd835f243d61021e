//! What the disk does not take, and files that are no stores.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicBool, Ordering},
};

use redb::{Database, StorageBackend, backends::InMemoryBackend};

use super::{
    super::backend::Backend,
    conformance::{self, Place, conformance},
    keys::with_key,
    *,
};

/// A file in which rows are kept.
pub(super) struct Path {
    path: PathBuf,
    _dir: TempDir,
}

impl Path {
    pub(super) fn new() -> Self {
        let (dir, path) = file();
        Self { path, _dir: dir }
    }
}

impl Place for Path {
    async fn open(&self) -> Arc<dyn Backend> {
        let mut opened = None;
        std::fs::create_dir_all(self.path.parent().unwrap()).unwrap();
        until("nobody else has the file open", async || {
            opened = match Embedded::open(Some(&self.path)) {
                Ok(embedded) => Some(embedded),
                Err(OpenError::InUse) => None,
                Err(error) => panic!("{error}"),
            };
            opened.is_some()
        })
        .await;
        Arc::new(opened.unwrap())
    }
}

conformance!(Path::new());

/// A disk that can be told to take nothing.
#[derive(Debug)]
struct Failing {
    inner: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[tokio::test]
async fn while_the_disk_takes_nothing_nothing_is_accepted_and_nothing_is_lost() {
    let full = Arc::new(AtomicBool::new(false));
    let (inner, switch) = (Arc::new(InMemoryBackend::new()), full.clone());
    let opener = Box::new(move || {
        Database::builder().create_with_backend(Failing {
            inner: inner.clone(),
            full: switch.clone(),
        })
    });
    let disk = Embedded::open_with(opener, false).unwrap();
    let (store, _active) = Store::of(Arc::new(disk), BOUNDS, Arc::new(Nobody)).unwrap();
    let id = accepted(&store, "shop/orders", "1").await;
    let second = accepted(&store, "shop/orders", "2").await;
    taken(&store, &orders());

    full.store(true, Ordering::SeqCst);
    let refused = with_key(&store, "k1", "3").await;
    assert!(matches!(refused, Err(Refused::Store(_))), "{refused:?}");
    let mut over = invocation("shop/orders", "1");
    over.finish(State::Succeeded, Timestamp::now());
    assert!(store.settle(id, &over, None).await.is_err());
    assert!(store.cancel(second).await.is_err());

    full.store(false, Ordering::SeqCst);
    assert!(matches!(store.get(id).await.unwrap(), Some((known, true)) if !known.is_over()));
    store.settle(id, &over, None).await.unwrap();
    assert_eq!(taken(&store, &orders()), second);
    finished(&store, second, State::Succeeded).await;
    // The key of what was refused is free.
    let third = with_key(&store, "k1", "4").await.unwrap();
    assert_eq!(taken(&store, &orders()), third);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told_and_left_alone() {
    let (_dir, path) = file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "not a store, and not empty").unwrap();
    let error = Store::open(Some(&path), BOUNDS, Arc::new(Nobody)).unwrap_err();
    assert!(
        matches!(error, OpenError::Database(_) | OpenError::Damaged(_)),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"not a store, and not empty");
}

#[tokio::test]
async fn what_is_kept_is_for_its_user_alone() {
    let (_dir, path) = file();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(opened(&path).await);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    // What an earlier version has made is closed as well.
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(opened(&path).await);
    assert_eq!(mode(&path), 0o600);
}
