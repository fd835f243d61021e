//! How many connections a listener takes, from whom, and which of them goes first; and, for those that are not
//! the public's, by which names it is asked.
//!
//! A connection costs a file descriptor for as long as its client likes. [`files`] finds out how many
//! there can be, [`Seats`] gives each connection its place and takes it from the one that has been idle
//! longest when another needs it, and [`Listener`] accepts under that rule.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
mod attended;
pub mod files;
pub mod host;
mod listener;
mod seats;
mod seldom;

pub use address::{NotAnAddress, address};
pub use attended::Attended;
pub use listener::{Accepted, Listener};
pub use seats::{AddressFull, Bounds, Busy, Seat, Seats};
pub use seldom::Seldom;
