//! How objects are watched: in what portions they are listed and in which namespaces, what becomes of one
//! that cannot be read, and how long a watch that broke waits before it begins again.
//!
//! [`Watch`] gives streams of [`WatchEvent`], which never end; [`Watch::hand`] gives each to who takes it in.

mod event;
mod guard;
mod key;
mod kinds;
mod listed;
mod names_of;
mod places;
mod waits;

use kube::runtime::watcher::Config;

pub use event::{Names, WatchEvent};
pub use guard::{Guarded, Panicked, Unreadable, without_panic};
pub use key::Key;
pub use kinds::Watch;
pub use listed::Listed;
pub use places::{NotANamespace, Place, Places, namespace};

/// Objects that are listed at once. All of a page are in memory, as text and as objects, before the
/// first is taken in; what takes in little of each would else need most of its memory for that.
const PAGE: u32 = 50;

/// A directive for logs: kube would warn of each refused list, again and again, which is said once here.
pub const QUIET: &str = "kube_runtime::watcher=off";

/// A watch of all objects of a kind.
#[must_use]
pub fn all() -> Config {
    Config::default().page_size(PAGE)
}
