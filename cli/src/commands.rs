//! The commands, one a file.

pub(crate) mod build;
pub(crate) mod completion;
pub(crate) mod delete;
pub(crate) mod deploy;
pub(crate) mod describe;
pub(crate) mod init;
pub(crate) mod invocations;
pub(crate) mod invoke;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod restart;
pub(crate) mod schema;
pub(crate) mod test;
pub(crate) mod topics;
pub(crate) mod version;
