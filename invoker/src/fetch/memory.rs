//! How much memory processes take.

use std::{fs, path::Path};

/// What the processes of a group have written into memory together, in bytes, as far as the kernel tells it
/// (proc(5)). Files that they have mapped do not count: those are somewhere else as well.
pub(super) fn of_group(group: i32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let processes = processes.flatten().map(|process| process.path());
    let own = processes.filter(|process| {
        let stat = fs::read_to_string(process.join("stat"));
        stat.is_ok_and(|stat| group_of(&stat) == Some(group))
    });
    own.filter_map(|process| written(&process)).sum()
}

/// The group of a process.
fn group_of(stat: &str) -> Option<i32> {
    // A name may have spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(2)?.parse().ok()
}

fn written(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_group_is_found() {
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        assert!(of_group(own) > 0);
        assert_eq!(group_of("12 (a) b) S 1 7 8 0 -1"), Some(7));
        assert_eq!(group_of("12"), None);
    }
}
