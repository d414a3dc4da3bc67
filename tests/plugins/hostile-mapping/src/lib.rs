//! A mapping that misbehaves as its config says; else it passes `name` on, both ways.

use tidegate_sdk::{
    Batch, Column, DataType, Direction, Fault, Mapped, Mapping, MappingContext, RowError, Rule,
    Value,
};
use tidegate_test_misdeeds::{Plot, commit, huge_text};

const FIELD: &str = "name";

/// The mapping that the component exports.
#[derive(Debug)]
pub struct Hostile;

impl Mapping for Hostile {
    fn describe(context: &MappingContext) -> Result<Vec<Rule>, Fault> {
        let misdeed = context.config::<Plot>()?;
        let misdeed = misdeed.strikes("describe", []).unwrap_or_default();
        commit(misdeed);
        let rule = |direction, outputs: &[&str]| Rule {
            direction,
            inputs: vec![FIELD.to_owned()],
            outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        };
        let outputs: &[&str] = match misdeed {
            "empty-rule" => &[],
            "same-output" => &[FIELD, FIELD],
            _ => &[FIELD],
        };
        Ok(vec![
            rule(Direction::LeftToRight, outputs),
            rule(Direction::RightToLeft, &[FIELD]),
        ])
    }

    fn map_batch(
        context: &MappingContext,
        _direction: Direction,
        mut batch: Batch,
    ) -> Result<Mapped, Fault> {
        let plot = context.config::<Plot>()?;
        let misdeed = plot.strikes("map-batch", [&batch]).unwrap_or_default();
        commit(misdeed);
        let mut errors = Vec::new();
        match misdeed {
            "lost-row" => batch.rows -= 1,
            "ragged-column" => batch.columns.iter_mut().for_each(Column::push_null),
            "twin-column" => batch.columns.extend(batch.columns.clone()),
            "row-not-given" => errors.push(RowError {
                row: batch.rows,
                field: FIELD.to_owned(),
                rule: "none".to_owned(),
                code: "invented".to_owned(),
                message: "there is no such row".to_owned(),
            }),
            "huge-answer" => batch.columns.push(huge_column(batch.len())),
            _ => {}
        }
        Ok(Mapped { batch, errors })
    }
}

fn huge_column(rows: usize) -> Column {
    let text = huge_text();
    let values = (0..rows).map(|_| Value::Text(&text));
    // Text fits a column of text.
    Column::collect("huge", DataType::Text, values)
        .unwrap_or_else(|_| Column::unset("huge", DataType::Text, rows))
}

tidegate_sdk::export_mapping!(Hostile);
