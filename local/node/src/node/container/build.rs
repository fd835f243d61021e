//! An init container whose result is kept: it runs only if no pod has run the same before.

use std::{collections::BTreeMap, io, path::Path};

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    super::{
        build_cache::{self, BuildCache, BuildLock, Recipe},
        process::Plan,
        sentence, status,
    },
    Blocked, Runner, Stop,
};

/// Where programs keep what is their user's.
const HOME: &str = "HOME";

// === impl Runner ===

impl Runner {
    /// One run of the container, or an earlier result in its place; gives the exit code.
    pub(super) async fn run_or_reuse(
        &mut self,
        plan: &Plan,
        restarts: i32,
    ) -> Result<i32, Blocked> {
        let cache = self.shared.build_cache.clone();
        let recipe = cache
            .as_ref()
            .and_then(|cache| Recipe::of(cache.keep(), &self.pod, &self.container, &plan.declared));
        match cache.zip(recipe) {
            Some((cache, recipe)) => self.build(&cache, recipe, plan, restarts).await,
            None => self.run_once(plan, restarts).await,
        }
    }

    /// Leaves a container whose result is kept the user's own home, so that its tools find their caches.
    pub(super) fn keep_home(&self, declared: &mut BTreeMap<String, String>) {
        let keep = self.shared.options.keep.as_ref();
        let keeps = keep
            .and_then(|keep| Recipe::of(keep, &self.pod, &self.container, declared))
            .is_some();
        let has_own = self.shared.options.env.iter().any(|(name, _)| name == HOME);
        let mut mounts = self.container.volume_mounts.iter().flatten();
        // A home that is none of the pod's folders was chosen by somebody.
        let is_scratch = mounts.any(|mount| declared.get(HOME) == Some(&mount.mount_path));
        if keeps && has_own && is_scratch {
            declared.remove(HOME);
        }
    }

    async fn build(
        &mut self,
        cache: &BuildCache,
        recipe: Recipe,
        plan: &Plan,
        restarts: i32,
    ) -> Result<i32, Blocked> {
        let recipe = recipe
            .read(&self.container, &plan.mounts)
            .map_err(|error| unreadable(&error))?;
        let (key, name) = (recipe.key(), recipe.name());
        let Some(lock) = self.lock(cache, &key).await else {
            // It stops, and nobody looks at the code.
            return Ok(0);
        };
        let pod = self.pod.uid().unwrap_or_default();
        if let Some(folder) = lock.kept(&pod, &name)? {
            self.use_result(cache, &folder)?;
            let now = Timestamp::now();
            self.state.update(self.name(), |report| {
                report.enter(status::terminated(0, now, now, None, None));
            });
            return Ok(0);
        }
        let part = lock.begin(&name).await?;
        self.use_result(cache, &part)?;
        let code = self.run_once(plan, restarts).await?;
        if code == 0 && !self.stopping() {
            let folder = lock.finish(&pod, &name).await?;
            self.use_result(cache, &folder)?;
        } else {
            lock.discard().await?;
        }
        Ok(code)
    }

    /// The lock at a result, for which the pod may have to wait; `None` if it stops meanwhile.
    async fn lock(&self, cache: &BuildCache, key: &str) -> Option<BuildLock> {
        if let Some(lock) = cache.try_lock(key) {
            return Some(lock);
        }
        self.state.update(self.name(), |report| {
            let message = "another pod makes what this one needs; it is used when it is there";
            report.enter(status::waiting("PodInitializing", Some(message.to_owned())));
        });
        let mut stop = self.stop.clone();
        tokio::select! {
            lock = cache.lock(key) => Some(lock),
            _ = stop.wait_for(|stop| !matches!(stop, Stop::No)) => None,
        }
    }

    /// The pod's volume is this folder.
    fn use_result(&self, cache: &BuildCache, folder: &Path) -> Result<(), Blocked> {
        let volume = self.dir.join("volumes").join(&cache.keep().volume);
        build_cache::lead_to(&volume, folder).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &io::Error) -> Blocked {
    Blocked {
        reason: "CreateContainerError",
        message: format!("the volumes cannot be used: {error}"),
    }
}

impl From<build_cache::Error> for Blocked {
    fn from(error: build_cache::Error) -> Self {
        Self {
            reason: "CreateContainerError",
            message: sentence(&error),
        }
    }
}
