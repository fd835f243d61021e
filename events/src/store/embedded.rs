//! Rows in a file of this machine: a redb database with a row for each call, one for what is sent and one for what was answered.

use std::{
    fmt,
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use super::backend::{Backend, Change, Rows};
use crate::{
    error::{OpenError, StoreError},
    id::Id,
    invocation::Invocation,
};
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, WriteTransaction,
    backends::{FileBackend, InMemoryBackend},
};

type Table = TableDefinition<'static, &'static [u8; 16], &'static [u8]>;

const INVOCATIONS: Table = TableDefinition::new("invocations");
const CALLS: Table = TableDefinition::new("calls");
const ANSWERS: Table = TableDefinition::new("answers");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The way in which rows are written.
const FORMAT: u64 = 1;

/// Pages that are kept in memory, in bytes.
const CACHE: usize = 12 * 1024 * 1024;

/// A file that is larger is made as small as what is in it when it is opened.
const LARGE: u64 = 64 * 1024 * 1024;

/// What stays free on the file system, in bytes, or a tenth of it if that is less.
const RESERVED: u64 = 64 * 1024 * 1024;

/// Opens the database, again after an error too.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The database. After an error of the disk it is opened anew, since it takes no more writes.
pub(super) struct Embedded {
    open: Opener,
    /// Where the file is, if there is one.
    folder: Option<PathBuf>,
    database: RwLock<Option<Database>>,
}

// === impl Embedded ===

impl Embedded {
    /// Opens the file, and makes it if there is none; without one everything is in memory.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, OpenError> {
        let large = path.and_then(|path| path.metadata().ok());
        let large = large.is_some_and(|file| file.len() > LARGE);
        let path = path.map(ToOwned::to_owned);
        let folder = path
            .as_deref()
            .and_then(Path::parent)
            .map(ToOwned::to_owned);
        let opener = Box::new(move || match &path {
            Some(path) => {
                let file = private(path).map_err(StorageError::Io)?;
                let backend = FileBackend::new(file)?;
                Database::builder()
                    .set_cache_size(CACHE)
                    .create_with_backend(backend)
            }
            None => Database::builder().create_with_backend(InMemoryBackend::new()),
        });
        let mut embedded = Self::open_with(opener, large)?;
        embedded.folder = folder;
        Ok(embedded)
    }

    /// Opens it in this way, and makes it as small as what is in it if it is large.
    pub(super) fn open_with(open: Opener, large: bool) -> Result<Self, OpenError> {
        let mut database = open().map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
            error => refused(error),
        })?;
        if large && let Err(error) = database.compact() {
            // There may be no room to move things to; what is there can be used all the same.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the store is not made smaller");
            drop(database);
            database = open().map_err(refused)?;
        }
        let found = begin(&database).map_err(refused)?;
        if found != FORMAT {
            return Err(OpenError::Format {
                found,
                known: FORMAT,
            });
        }
        Ok(Self {
            open,
            folder: None,
            database: RwLock::new(Some(database)),
        })
    }

    /// It is opened anew by whoever needs it next.
    fn close(&self) {
        let database = self.database.write();
        *database.unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn try_write(&self, writes: &[Vec<Change>]) -> Result<(), redb::Error> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            apply(&transaction, writes)?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// Works with the database, which is opened anew if it has failed. What is in memory alone does not fail.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = &*database {
                return work(database);
            }
        }
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let database = match &mut *database {
            Some(database) => database,
            closed => closed.insert((self.open)()?),
        };
        work(database)
    }
}

impl Backend for Embedded {
    fn is_short(&self) -> bool {
        let space = self.folder.as_deref().map(rustix::fs::statvfs);
        // Where it cannot be told a write will tell.
        space.and_then(Result::ok).is_some_and(|space| {
            let size = space.f_blocks.saturating_mul(space.f_frsize);
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            free < RESERVED.min(size / 10)
        })
    }

    fn invocations(&self) -> Result<Vec<(Id, Invocation)>, OpenError> {
        let mut invocations = Vec::new();
        let mut damaged = None;
        let read = self.with(|database| {
            for entry in database.begin_read()?.open_table(INVOCATIONS)?.iter()? {
                let (id, row) = entry?;
                let id = Id::of(*id.value());
                match serde_json::from_slice(row.value()) {
                    Ok(invocation) => invocations.push((id, invocation)),
                    Err(source) => {
                        damaged.get_or_insert(OpenError::Row {
                            row: id.to_string(),
                            source,
                        });
                    }
                }
            }
            Ok(())
        });
        read.map_err(OpenError::Database)?;
        damaged.map_or(Ok(invocations), Err)
    }

    fn rows(&self, table: Rows, ids: &[Id]) -> Result<Vec<(Id, Vec<u8>)>, StoreError> {
        let read = self.with(|database| {
            let table = database.begin_read()?.open_table(table_of(table))?;
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.extend(
                    table
                        .get(&id.bytes())?
                        .map(|row| (*id, row.value().to_vec())),
                );
            }
            Ok(rows)
        });
        if read.is_err() {
            self.close();
        }
        read.map_err(|error| StoreError::Read(Arc::new(error)))
    }

    fn get(&self, table: Rows, id: Id) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.with(|database| {
            let table = database.begin_read()?.open_table(table_of(table))?;
            Ok(table.get(&id.bytes())?.map(|row| row.value().to_vec()))
        });
        if read.is_err() {
            self.close();
        }
        read.map_err(|error| StoreError::Read(Arc::new(error)))
    }

    /// All of the writes in one transaction, with one sync.
    fn write(&self, writes: &[Vec<Change>]) -> Vec<Result<(), StoreError>> {
        let written = self.try_write(writes);
        if written.is_err() {
            self.close();
        }
        let written = written.map_err(|error| StoreError::Write(Arc::new(error)));
        vec![written; writes.len()]
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Embedded").finish_non_exhaustive()
    }
}

/// The table of a kind of rows.
fn table_of(rows: Rows) -> Table {
    match rows {
        Rows::Invocations => INVOCATIONS,
        Rows::Calls => CALLS,
        Rows::Answers => ANSWERS,
    }
}

/// The file, which is for this user alone: in it are bodies, credentials, and the ids that are the keys to answers.
fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // One that an earlier version has made may be anybody's.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Makes the tables, and tells the format of what is there.
fn begin(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let format = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        if found.is_none() {
            meta.insert("format", FORMAT)?;
        }
        for table in [INVOCATIONS, CALLS, ANSWERS] {
            transaction.open_table(table)?;
        }
        found.unwrap_or(FORMAT)
    };
    transaction.commit()?;
    Ok(format)
}

fn apply(transaction: &WriteTransaction, writes: &[Vec<Change>]) -> Result<(), redb::Error> {
    for rows in [Rows::Invocations, Rows::Calls, Rows::Answers] {
        let mut table = transaction.open_table(table_of(rows))?;
        for change in writes.iter().flatten() {
            if change.table != rows {
                continue;
            }
            let id = change.id.bytes();
            match &change.row {
                Some(row) => table.insert(&id, row.as_slice())?,
                None => table.remove(&id)?,
            };
        }
    }
    Ok(())
}

fn refused(error: impl Into<redb::Error>) -> OpenError {
    match error.into() {
        error @ redb::Error::Corrupted(_) => OpenError::Damaged(error),
        error => OpenError::Database(error),
    }
}
