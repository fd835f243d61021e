//! What the platform's processes take, from /proc.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::interval};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// The programs of a cluster, which run on this machine.
const PROGRAMS: [&str; 2] = ["fermata-gateway", "fermata-operator"];

/// How much more the last quarter may have than the second: so many percent, and so much.
const PERCENT: u64 = 20;
const KIB: u64 = 8 * 1024;
const DESCRIPTORS: u64 = 64;

/// What one process takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sample {
    /// Resident memory, in KiB.
    pub(crate) resident: u64,
    /// The part of it that is no file's.
    pub(crate) anonymous: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

/// What the processes of one program took over the time, the largest of them at each look.
type Samples = BTreeMap<String, Vec<Sample>>;

/// A look every few seconds. It ends with this value.
#[derive(Debug)]
pub(crate) struct Usage {
    samples: Arc<Mutex<Samples>>,
    looking: JoinHandle<()>,
}

/// What a program took in the second and in the last quarter of the time: the most.
#[derive(Clone, Debug)]
pub(crate) struct Trend {
    pub(crate) program: String,
    pub(crate) early: Sample,
    pub(crate) late: Sample,
}

// === impl Usage ===

impl Usage {
    /// Watches one process, or those of a cluster.
    pub(crate) fn watch(process: Option<u32>) -> Self {
        let samples = Arc::new(Mutex::new(Samples::new()));
        let noted = samples.clone();
        let looking = tokio::spawn(async move {
            let mut ticks = interval(PAUSE);
            loop {
                ticks.tick().await;
                let mut samples = noted.lock().unwrap_or_else(PoisonError::into_inner);
                for (program, sample) in look(process) {
                    samples.entry(program).or_default().push(sample);
                }
            }
        });
        Self { samples, looking }
    }

    /// Ends it: the trend of each program that was seen often enough to have one.
    pub(crate) fn end(self) -> Vec<Trend> {
        self.looking.abort();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples
            .iter()
            .filter_map(|(program, samples)| trend(program, samples))
            .collect()
    }
}

fn look(process: Option<u32>) -> BTreeMap<String, Sample> {
    let mut all: BTreeMap<String, Sample> = BTreeMap::new();
    let mut note = |program: String, folder: &Path| {
        // It may end while it is looked at.
        if let Some(sample) = Sample::of(folder) {
            let most = all.entry(program).or_default();
            *most = most.max(sample);
        }
    };
    if let Some(process) = process {
        note(
            "fermata up".to_owned(),
            Path::new(&format!("/proc/{process}")),
        );
        return all;
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(program) = fs::read_link(entry.path().join("exe")) else {
            continue;
        };
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        if PROGRAMS.contains(&&*name) {
            note(name.into_owned(), &entry.path());
        }
    }
    all
}

fn trend(program: &str, samples: &[Sample]) -> Option<Trend> {
    let quarter = samples.len() / 4;
    let most = |samples: &[Sample]| samples.iter().copied().reduce(Sample::max);
    Some(Trend {
        program: program.to_owned(),
        early: most(samples.get(quarter..2 * quarter)?)?,
        late: most(samples.get(samples.len() - quarter..)?)?,
    })
}

// === impl Sample ===

impl Sample {
    /// What the process of a folder of /proc takes, if it runs.
    fn of(folder: &Path) -> Option<Self> {
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
            descriptors: fs::read_dir(folder.join("fd")).ok()?.count() as u64,
        })
    }

    fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            anonymous: self.anonymous.max(other.anonymous),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

// === impl Trend ===

impl Trend {
    /// Whether it took no more at the end, within what comes and goes.
    pub(crate) fn is_flat(&self) -> bool {
        let within =
            |early: u64, late: u64, room: u64| late <= early + early * PERCENT / 100 + room;
        let (early, late) = (self.early, self.late);
        within(early.anonymous, late.anonymous, KIB)
            && within(early.resident, late.resident, KIB)
            && within(early.descriptors, late.descriptors, DESCRIPTORS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(mebibytes: u64, descriptors: u64) -> Sample {
        Sample {
            resident: mebibytes * 1024,
            anonymous: mebibytes * 1024,
            descriptors,
        }
    }

    #[test]
    fn what_grows_until_the_end_is_not_flat() {
        let steady: Vec<Sample> = (0..40)
            .map(|at| sample(if at < 5 { 10 } else { 50 }, 100))
            .collect();
        assert!(trend("a", &steady).unwrap().is_flat());
        let memory: Vec<Sample> = (0..40).map(|at| sample(10 + 3 * at, 100)).collect();
        assert!(!trend("a", &memory).unwrap().is_flat());
        let descriptors: Vec<Sample> = (0..40).map(|at| sample(10, 10 * at)).collect();
        assert!(!trend("a", &descriptors).unwrap().is_flat());
        assert!(trend("a", &steady[..3]).is_none());
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let own = look(Some(std::process::id()));
        let own = own["fermata up"];
        assert!(own.resident >= own.anonymous && own.anonymous > 0 && own.descriptors > 2);
    }
}
