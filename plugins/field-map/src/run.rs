//! A batch through the routes of one direction.

use std::borrow::Cow;

use tidegate_sdk::{Batch, Column, DataType, Direction, Mapped, RowError, Value};

use crate::convert::{self, Aim};
use crate::item::{Item, Trouble};
use crate::join;
use crate::meant::{Plan, Route, Work};
use crate::words;

pub(crate) fn run(plan: &Plan, direction: Direction, mut batch: Batch) -> Mapped {
    let routes = plan.routes(direction);
    let mut columns = Vec::with_capacity(routes.len());
    let mut errors = Vec::new();
    let (idle, busy): (Vec<&Route>, Vec<&Route>) =
        routes.iter().partition(|route| is_idle(route, &batch));
    for route in busy {
        walk(route, &batch, &mut columns, &mut errors);
    }
    // Only now may columns be taken out of the batch.
    for (index, route) in idle.iter().enumerate() {
        let input = &route.inputs[0];
        let again = idle[index + 1..]
            .iter()
            .any(|later| later.inputs[0] == *input);
        let column = if again {
            batch.column(input).cloned()
        } else {
            batch.take(input)
        };
        columns.extend(column.map(|column| Column {
            name: route.outputs[0].clone(),
            ..column
        }));
    }
    Mapped {
        batch: Batch {
            rows: batch.rows,
            columns,
        },
        errors,
    }
}

/// Whether the column passes as it is, whatever its rows hold.
fn is_idle(route: &Route, batch: &Batch) -> bool {
    let plain = matches!(route.work, Work::One) && route.steps.is_empty() && route.table.is_none();
    plain
        && batch.column(&route.inputs[0]).is_none_or(|column| {
            route.aims[0].is_idle(column.data_type())
                && (route.default.is_none() || column.is_full())
        })
}

/// One output column while its rows are being made; its type may only become known with its first value.
struct Output<'r> {
    name: &'r str,
    data_type: Option<DataType>,
    column: Column,
}

impl<'r> Output<'r> {
    fn new(name: &'r str, aim: &Aim, fallback: DataType) -> Self {
        Self {
            name,
            data_type: aim.data_type,
            column: Column::new(name, aim.data_type.unwrap_or(fallback)),
        }
    }

    fn push(&mut self, item: &Item<'_>) -> Result<(), Trouble> {
        let value = item.value();
        if let Some(found) = value.data_type()
            && self.data_type.is_none()
        {
            self.data_type = Some(found);
            if found != self.column.data_type() {
                self.retype(found);
            }
        }
        self.column.push(value).map_err(|wrong| {
            Trouble::new(
                "mixed-types",
                format!(
                    "this value would be {}, and others of this field are {}; say {}",
                    wrong.found, wrong.expected, "its type in the rule"
                ),
            )
        })
    }

    /// No row has a value yet, so only the states are carried over.
    fn retype(&mut self, data_type: DataType) {
        let mut column = Column::new(self.name, data_type);
        for value in self.column.iter() {
            match value {
                Value::Null => column.push_null(),
                _ => column.push_unset(),
            }
        }
        self.column = column;
    }

    fn push_unset(&mut self) {
        self.column.push_unset();
    }
}

fn walk(route: &Route, batch: &Batch, columns: &mut Vec<Column>, errors: &mut Vec<RowError>) {
    let Some(inputs) = route
        .inputs
        .iter()
        .map(|name| batch.column(name))
        .collect::<Option<Vec<&Column>>>()
    else {
        return;
    };
    let fallback = inputs
        .first()
        .map_or(DataType::Text, |column| column.data_type());
    let mut outputs: Vec<Output<'_>> = route
        .outputs
        .iter()
        .zip(&route.aims)
        .map(|(name, aim)| Output::new(name, aim, fallback))
        .collect();
    for row in 0..batch.len() {
        if let Err((field, trouble)) = map_row(route, &inputs, row, &mut outputs) {
            errors.push(RowError {
                row: row as u32,
                field,
                rule: route.place.clone(),
                code: trouble.code.to_owned(),
                message: trouble.message,
            });
        }
        for output in &mut outputs {
            if output.column.len() == row {
                output.push_unset();
            }
        }
    }
    columns.extend(outputs.into_iter().map(|output| output.column));
}

/// Leaves an output that gets nothing without the row.
fn map_row(
    route: &Route,
    inputs: &[&Column],
    row: usize,
    outputs: &mut [Output<'_>],
) -> Result<(), (String, Trouble)> {
    let first_input = || route.inputs.first().cloned().unwrap_or_default();
    let blame = |trouble| (first_input(), trouble);
    match &route.work {
        Work::Constant(item) => outputs[0].push(item).map_err(blame),
        Work::One => {
            let Some(item) = Item::of(inputs[0].value(row)) else {
                return Ok(());
            };
            let item = one(route, item).map_err(blame)?;
            outputs[0].push(&item).map_err(blame)
        }
        Work::Join {
            separator,
            both_ways,
        } => {
            let Some(item) = joined(route, inputs, row, separator, *both_ways)? else {
                return Ok(());
            };
            outputs[0].push(&item).map_err(blame)
        }
        Work::Split { separator } => {
            split(route, inputs[0].value(row), separator, outputs).map_err(blame)
        }
    }
}

fn one<'a>(route: &'a Route, item: Item<'a>) -> Result<Item<'a>, Trouble> {
    let item = words::apply(&route.steps, item)?;
    let item = match (&item, &route.table) {
        (Item::Null, _) | (_, None) => route.aims[0].convert(item)?,
        (_, Some(table)) => match table.find(&item)? {
            Some(found) => found.clone(),
            None => route.aims[0].convert(item)?,
        },
    };
    Ok(or_default(route, item))
}

fn or_default<'a>(route: &'a Route, item: Item<'a>) -> Item<'a> {
    match (item, &route.default) {
        (Item::Null, Some(default)) => default.clone(),
        (item, _) => item,
    }
}

/// `None` when a part is unset: then nothing can be said of the whole.
fn joined<'a>(
    route: &'a Route,
    inputs: &[&'a Column],
    row: usize,
    separator: &str,
    both_ways: bool,
) -> Result<Option<Item<'a>>, (String, Trouble)> {
    let mut parts: Vec<Option<Cow<'_, str>>> = Vec::with_capacity(inputs.len());
    for (name, column) in route.inputs.iter().zip(inputs) {
        let blame = |trouble| (name.clone(), trouble);
        let Some(item) = Item::of(column.value(row)) else {
            return Ok(None);
        };
        let item = words::apply(&route.steps, item).map_err(blame)?;
        let text = convert::text(&item, &route.aims[0].target).map_err(blame)?;
        if both_ways && text.contains(separator) {
            let trouble = join::join(&[Some(text)], separator, true);
            return trouble.map(|_| None).map_err(blame);
        }
        parts.push((item != Item::Null).then(|| text.into_owned().into()));
    }
    let blame = |trouble| (route.inputs[0].clone(), trouble);
    let text = join::join(&parts, separator, both_ways).map_err(blame)?;
    let item = text.map_or(Item::Null, |text| Item::Text(text.into()));
    let item = route.aims[0].convert(item).map_err(blame)?;
    Ok(Some(or_default(route, item)))
}

fn split(
    route: &Route,
    value: Value<'_>,
    separator: &str,
    outputs: &mut [Output<'_>],
) -> Result<(), Trouble> {
    let parts = match value {
        Value::Unset => return Ok(()),
        Value::Null => vec![None; outputs.len()],
        Value::Text(text) => join::split(text, separator, outputs.len())?,
        other => {
            let message = format!("only text can be split, not {}", other.kind());
            return Err(Trouble::new("not-text", message));
        }
    };
    // All parts first, so that a row is split whole or not at all.
    let mut items = Vec::with_capacity(parts.len());
    for (part, aim) in parts.into_iter().zip(&route.aims) {
        let item = part.map_or(Item::Null, |text| Item::Text(text.into()));
        items.push(aim.convert(words::apply(&route.steps, item)?)?);
    }
    for (item, output) in items.iter().zip(outputs) {
        output.push(item)?;
    }
    Ok(())
}
