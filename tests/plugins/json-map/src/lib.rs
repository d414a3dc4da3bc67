//! field-map behind JSON: what a boundary of JSON would cost where columns cross now.
//!
//! A batch of one row enters, whose only column holds all rows as one JSON document; [`read`] makes columns of it,
//! field-map maps them, [`write`] makes a document again. The host's side of the bench uses the same two. Only for
//! measuring: trouble with a row is a fault of the whole.

mod rows;

use std::fmt::Display;

use tidegate_plugin_field_map::FieldMap;
use tidegate_sdk::{
    Batch, Column, DataType, Direction, Fault, Mapped, Mapping, MappingContext, Rule, Value,
};

pub use rows::{read, write};

/// The mapping.
#[derive(Debug)]
pub struct JsonMap;

fn fault(error: impl Display) -> Fault {
    Fault::broken("json-rows", error.to_string())
}

impl Mapping for JsonMap {
    fn describe(_context: &MappingContext) -> Result<Vec<Rule>, Fault> {
        Ok(Vec::new())
    }

    fn map_batch(
        context: &MappingContext,
        direction: Direction,
        batch: Batch,
    ) -> Result<Mapped, Fault> {
        let [column] = batch.columns.as_slice() else {
            return Err(fault("not exactly one column"));
        };
        let Value::Json(document) = column.value(0) else {
            return Err(fault("the column holds no JSON"));
        };
        let (source, _) = context.sides(direction);
        let rows = read(document, source).map_err(fault)?;
        let mapped = FieldMap::map_batch(context, direction, rows)?;
        if let Some(error) = mapped.errors.first() {
            return Err(fault(&error.code));
        }
        let document = write(&mapped.batch).map_err(fault)?;
        let column = Column::collect("rows", DataType::Json, [Value::Json(&document)]);
        Ok(Mapped {
            batch: Batch::from_columns(1, vec![column.map_err(fault)?]).map_err(fault)?,
            errors: Vec::new(),
        })
    }
}

tidegate_sdk::export_mapping!(JsonMap);
