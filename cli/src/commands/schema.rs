//! `fermata schema`.

use crate::output::{self, Format};

pub(crate) fn run() -> anyhow::Result<()> {
    output::structured(Format::Json, &fermata_crds::schema::function())
}
