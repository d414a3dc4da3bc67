//! A mapping that is written in the sync's config, without code.
//!
//! The config enters as JSON in [`written`], and every mistake in it is found before it becomes a [`meant::Plan`].
//! A batch enters [`run`], which moves the columns that no rule changes and walks the others: [`words`] for steps
//! on text, [`table`] for value tables, [`join`] for several fields in one, and [`convert`] with [`number`] and
//! [`calendar`] for types that differ. A batch leaves with as many rows, and with an error per rule and row that
//! could not be mapped.
//!
//! Absent: time zones, the clock, and customers' values in errors.

mod meant;
mod written;

mod item;
mod join;
mod run;
mod table;
mod words;

mod calendar;
mod convert;
mod number;

use tidegate_sdk::{Batch, Direction, Fault, Mapped, Mapping, MappingContext, Rule};

/// The mapping; see README.md for its config.
#[derive(Debug)]
pub struct FieldMap;

impl Mapping for FieldMap {
    fn describe(context: &MappingContext) -> Result<Vec<Rule>, Fault> {
        Ok(meant::Plan::read(context)?.describe())
    }

    fn map_batch(
        context: &MappingContext,
        direction: Direction,
        batch: Batch,
    ) -> Result<Mapped, Fault> {
        let plan = meant::Plan::read_for(context, &[direction])?;
        Ok(run::run(&plan, direction, batch))
    }
}

#[cfg(feature = "component")]
tidegate_sdk::export_mapping!(FieldMap);
