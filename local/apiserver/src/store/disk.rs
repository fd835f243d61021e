//! The store's file: a redb database with one row per object.

use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition,
};

use super::{Key, Object, OpenError, WriteFailed, entry::Entry, first_revision};

/// `resource NUL namespace NUL name` to the object as JSON.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");

/// `revision` (the newest one written) and `format`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The layout of the rows; a file of another layout is refused.
const FORMAT: u64 = 1;

/// Revisions skipped at a start, so that none that a watch has seen is used twice: the changes
/// of the last moments before a crash were seen by watches but perhaps not written.
const RESTART_GAP: u64 = 100_000;

type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The open file. redb wants to be opened again after a failed write; until then it is `None`.
pub(crate) struct Disk {
    path: PathBuf,
    open: Opener,
    database: Option<Database>,
}

/// What a start found on disk.
pub(crate) struct Loaded {
    pub(crate) revision: u64,
    pub(crate) objects: Vec<(String, Key, Object)>,
}

// === impl Disk ===

impl Disk {
    /// Opens the file at `path`, making it if it is absent. It is locked against other processes.
    pub(crate) fn open(path: &Path) -> Result<(Self, Loaded), OpenError> {
        let file = path.to_owned();
        Self::open_with(
            path,
            Box::new(move || Database::builder().set_cache_size(CACHE).create(&file)),
        )
    }

    pub(super) fn open_with(path: &Path, open: Opener) -> Result<(Self, Loaded), OpenError> {
        let refuse = |error| OpenError::from_database(path, error);
        let database = open().map_err(refuse)?;
        let loaded = load(&database).map_err(|error| match error {
            LoadError::Redb(error) => refuse(error),
            LoadError::Row(what) => OpenError::Corrupt {
                path: path.to_owned(),
                what,
            },
        })?;
        let disk = Self {
            path: path.to_owned(),
            open,
            database: Some(database),
        };
        Ok((disk, loaded))
    }

    /// Writes a batch in one transaction with one sync.
    pub(crate) fn write(&mut self, batch: &[Entry], revision: u64) -> Result<(), WriteFailed> {
        let result = self.try_write(batch, revision);
        if result.is_err() {
            self.database = None;
        }
        result.map_err(|error| WriteFailed::new(&self.path, &error))
    }

    fn try_write(&mut self, batch: &[Entry], revision: u64) -> Result<(), redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert((self.open)()?),
        };
        let transaction = database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            for entry in batch {
                let Entry::Change {
                    resource,
                    key,
                    after,
                    ..
                } = entry
                else {
                    continue;
                };
                let row = row(resource, key);
                match after {
                    Some(object) => objects.insert(row.as_slice(), object.json.as_ref())?,
                    None => objects.remove(row.as_slice())?,
                };
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert("revision", revision)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Bytes of the file that redb may keep in memory. All objects are in memory already; this only
/// has to hold the pages of a few transactions.
const CACHE: usize = 4 * 1024 * 1024;

enum LoadError {
    Redb(DatabaseError),
    Row(String),
}

impl<E: Into<redb::Error>> From<E> for LoadError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(what) => Self::Redb(StorageError::Corrupted(what).into()),
            redb::Error::Io(error) => Self::Redb(StorageError::Io(error).into()),
            other => Self::Row(other.to_string()),
        }
    }
}

/// Reads everything and moves the revision on. Doing the latter at once also shows early whether
/// the file can be written to.
fn load(database: &Database) -> Result<Loaded, LoadError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value());
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            return Err(LoadError::Row(format!(
                "it has format {format}, this version reads format {FORMAT}"
            )));
        }
        let revision = meta.get("revision")?.map_or(0, |revision| revision.value());
        meta.insert("format", FORMAT)?;
        let revision = first_revision().max(revision + RESTART_GAP);
        meta.insert("revision", revision)?;
        transaction.open_table(OBJECTS)?;
    }
    transaction.commit()?;

    let transaction = database.begin_read()?;
    let revision = transaction
        .open_table(META)?
        .get("revision")?
        .map_or_else(first_revision, |revision| revision.value());
    let mut objects = Vec::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = entry?;
        objects.push(parse(key.value(), value.value())?);
    }
    Ok(Loaded { revision, objects })
}

fn row(resource: &str, key: &Key) -> Vec<u8> {
    format!("{resource}\0{}\0{}", key.namespace, key.name).into_bytes()
}

fn parse(row: &[u8], json: &[u8]) -> Result<(String, Key, Object), LoadError> {
    let shown = || String::from_utf8_lossy(row).replace('\0', "/");
    let text = std::str::from_utf8(row)
        .map_err(|_| LoadError::Row(format!("the key {} is not text", shown())))?;
    let mut parts = text.splitn(3, '\0');
    let (Some(resource), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(LoadError::Row(format!("the key {} has no name", shown())));
    };
    let object = Object::parse(json)
        .ok_or_else(|| LoadError::Row(format!("the object {} is not readable", shown())))?;
    Ok((resource.to_owned(), Key::new(namespace, name), object))
}
