//! The note of a push that is under way: who is killed in the middle of it has applied something that no branch has.

use std::{
    fs::{self, File},
    io::{self, Write as _},
};

use super::{Repository, output, remove_file};

/// The file in a repository.
const NOTE: &str = "fermata.pushing";

/// A push that was begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Pushing {
    /// The branch that is to lead elsewhere.
    pub(in super::super) reference: String,
    /// The commit that is deployed for it.
    pub(in super::super) new: String,
    /// The branch that ran before, which may be another one.
    pub(in super::super) ran: String,
}

// === impl Repository ===

impl Repository {
    /// Notes, before anything is applied, that a push is under way. The note outlives the machine.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(in super::super) fn begin_push(&self, pushing: &Pushing) -> io::Result<()> {
        let note = self.dir.join(NOTE);
        let new = note.with_added_extension("new");
        let mut file = File::create(&new)?;
        writeln!(
            file,
            "{} {} {}",
            pushing.new, pushing.reference, pushing.ran
        )?;
        file.sync_all()?;
        fs::rename(&new, &note)?;
        File::open(&self.dir)?.sync_all()
    }

    /// The push that was begun and has not ended, if there is one.
    pub(in super::super) fn pushing(&self) -> Option<Pushing> {
        let note = fs::read_to_string(self.dir.join(NOTE)).ok()?;
        let mut fields = note.split_whitespace();
        let (new, reference) = (fields.next()?, fields.next()?);
        Some(Pushing {
            reference: reference.to_owned(),
            new: new.to_owned(),
            // Earlier releases knew of one branch.
            ran: fields.next().unwrap_or(reference).to_owned(),
        })
    }

    /// Forgets it: git has taken it, or what ran before is applied again.
    ///
    /// # Errors
    ///
    /// When the note cannot be removed.
    pub(in super::super) fn end_push(&self) -> io::Result<()> {
        remove_file(&self.dir.join(NOTE))
    }

    /// The branch that runs: clones begin with it. It may not be there yet.
    ///
    /// # Errors
    ///
    /// When git cannot say so.
    pub(in super::super) fn head(&self) -> anyhow::Result<String> {
        let mut git = self.git();
        git.arg("--git-dir").arg(&self.dir);
        let head = output(git.args(["symbolic-ref", "HEAD"]))?;
        Ok(String::from_utf8_lossy(&head).trim().to_owned())
    }

    /// Notes which branch runs, and lets clones begin with it.
    ///
    /// # Errors
    ///
    /// When git cannot write it.
    pub(in super::super) fn set_head(&self, reference: &str) -> anyhow::Result<()> {
        let mut git = self.git();
        git.arg("--git-dir").arg(&self.dir);
        output(git.args(["symbolic-ref", "HEAD", reference])).map(drop)
    }

    /// Where a branch leads to, if it is there.
    ///
    /// # Errors
    ///
    /// When git cannot say so.
    pub(in super::super) fn branch(&self, reference: &str) -> anyhow::Result<Option<String>> {
        let mut list = self.git();
        list.arg("--git-dir").arg(&self.dir);
        let listed = output(list.args(["for-each-ref", "--format=%(objectname)", reference]))?;
        let commit = String::from_utf8_lossy(&listed).trim().to_owned();
        Ok(Some(commit).filter(|commit| !commit.is_empty()))
    }
}
