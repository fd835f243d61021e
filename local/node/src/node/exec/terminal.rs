//! A pseudo-terminal, from the side of whoever looks at it.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags, open},
    io::ioctl_fionbio,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::net::unix::pipe;

/// The size of a terminal's window can be changed as long as this is there.
pub(super) struct Window(OwnedFd);

/// A terminal.
pub(super) struct Terminal {
    /// What is typed.
    pub(super) keyboard: pipe::Sender,
    /// What is shown. When the program has ended, reading fails with EIO (pty(7)).
    pub(super) screen: pipe::Receiver,
    pub(super) window: Window,
    /// For the program that runs in it.
    pub(super) user: OwnedFd,
}

// === impl Terminal ===

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        let name = ptsname(&own, Vec::new())?;
        let user = open(
            name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        ioctl_fionbio(&own, true)?;
        // It is no pipe, but a descriptor that is read, written and waited for in the same way.
        Ok(Self {
            keyboard: pipe::Sender::from_owned_fd_unchecked(own.try_clone()?)?,
            screen: pipe::Receiver::from_owned_fd_unchecked(own.try_clone()?)?,
            window: Window(own),
            user,
        })
    }
}

// === impl Window ===

impl Window {
    pub(super) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        if let Err(error) = tcsetwinsize(&self.0, size) {
            tracing::debug!(error = %error, "cannot change the size of a terminal");
        }
    }
}
