//! What a row costs on its way through a mapping: columns across the sandbox's boundary, beside no boundary at all and
//! beside JSON across it.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::json;
use tidegate_core::batch::{Batch, Cell, Column, DataType, Values};
use tidegate_core::plugin::{Direction, FieldType, MappingContext};
use tidegate_json_map::{read, write};
use tidegate_plugin_field_map::FieldMap;
use tidegate_sandbox::Plugin;
use tidegate_sdk::Mapping;
use tidegate_tests::native;

use crate::race::{Contender, Course, Spread};
use crate::report::{Figures, Group, Outcome, Scale};
use crate::scene::Scene;

/// The database's side and the CRM's: fifteen texts and five others.
const FIELDS: [(&str, DataType, &str, DataType); 20] = {
    use DataType::{Boolean, Date, Decimal, Integer, Text, Timestamp};
    [
        ("first_name", Text, "FirstName", Text),
        ("last_name", Text, "LastName", Text),
        ("email", Text, "Email", Text),
        ("phone", Text, "Phone", Text),
        ("street", Text, "MailingStreet", Text),
        ("city", Text, "MailingCity", Text),
        ("postcode", Text, "MailingPostalCode", Text),
        ("country", Text, "MailingCountry", Text),
        ("title", Text, "Title", Text),
        ("department", Text, "Department", Text),
        ("website", Text, "Website__c", Text),
        ("language", Text, "Language__c", Text),
        ("source", Text, "LeadSource", Text),
        ("status", Text, "Status__c", Text),
        ("notes", Text, "Description", Text),
        ("score", Decimal, "Score__c", Decimal),
        ("birthdate", Date, "Birthdate", Date),
        ("joined", Timestamp, "Joined__c", Timestamp),
        ("active", Integer, "Active__c", Boolean),
        ("visits", Integer, "Visits__c", Integer),
    ]
};

/// Every field by a rule of its own: thirteen that only rename, seven that look at each value.
fn config() -> String {
    let rules = FIELDS.map(|(left, _, right, _)| {
        let mut rule = json!({ "left": left, "right": right });
        let more = match left {
            "first_name" | "last_name" => ("steps", json!(["trim"])),
            "email" => ("steps", json!(["trim", "lower", "empty-to-null"])),
            "country" => (
                "table",
                json!({ "DE": "Germany", "FR": "France", "JP": "Japan" }),
            ),
            "status" => ("table", json!({ "N": "new", "A": "active", "P": "paused" })),
            "score" => ("rounding", json!("half-even")),
            _ => return rule,
        };
        rule[more.0] = more.1;
        rule
    });
    json!({ "rules": rules }).to_string()
}

fn context() -> MappingContext {
    let field = |name: &str, data_type| FieldType {
        name: name.to_owned(),
        data_type,
        nullable: true,
        length_max: None,
        scale: (data_type == DataType::Decimal).then_some(2),
    };
    MappingContext {
        config: config(),
        left: FIELDS.map(|(name, kind, _, _)| field(name, kind)).into(),
        right: FIELDS.map(|(_, _, name, kind)| field(name, kind)).into(),
    }
}

/// Every seventh row has no phone, every fifth no notes; what is there is as long as such fields are.
fn people(rows: usize) -> Result<Batch> {
    let mut columns = Vec::new();
    for (name, data_type, _, _) in FIELDS {
        let mut column = Column::new(name, data_type);
        for row in 0..rows {
            let number = row as i64;
            let text = match name {
                "first_name" => format!(" Zoë{row}"),
                "last_name" => format!("O'Neil-{row} "),
                "email" => format!("Person.{row}@Example.com"),
                "country" => ["DE", "FR", "JP"][row % 3].to_owned(),
                "status" => ["N", "A", "P"][row % 3].to_owned(),
                "postcode" => format!("{:05}", row % 100_000),
                "notes" => format!("Met at the fair, {row}: wants to be called back in spring. 🎈"),
                "score" => format!("{row}.125"),
                _ => format!("{name} {row}"),
            };
            let cell = match data_type {
                DataType::Text if name == "phone" && row % 7 == 0 => Cell::Null,
                DataType::Text if name == "notes" && row % 5 == 0 => Cell::Null,
                DataType::Text => Cell::Text(&text),
                DataType::Decimal => Cell::Decimal(&text),
                DataType::Date => Cell::Date((row % 30_000) as i32 - 10_000),
                DataType::Timestamp => Cell::Timestamp(number * 1_000_003),
                _ => Cell::Integer(number % 2),
            };
            ensure!(column.push(cell), "{name} takes no such cell");
        }
        columns.push(column);
    }
    Ok(Batch { rows, columns })
}

#[derive(Serialize)]
struct Cost {
    rows: usize,
    columns: usize,
    /// Per batch of `rows` rows, the batch's copy for each turn included.
    native: Spread,
    sandbox: Spread,
    json: Spread,
    /// A batch of one row: what a call costs whatever it carries.
    native_one_row: Spread,
    sandbox_one_row: Spread,
    /// `sandbox` and `json` by row.
    sandbox_us_per_row: f64,
    native_us_per_row: f64,
    json_us_per_row: f64,
}

impl Figures for Cost {
    fn groups(&self) -> Vec<Group> {
        vec![
            Group::new(format!(
                "per row, in batches of {} rows x {} columns",
                self.rows, self.columns
            ))
            .line("native", self.native_us_per_row, "us")
            .line("columns through the sandbox", self.sandbox_us_per_row, "us")
            .aim("<= 2")
            .line("JSON through the sandbox", self.json_us_per_row, "us"),
            Group::new("per call, with one row")
                .line("native", self.native_one_row.median_us, "us")
                .line("through the sandbox", self.sandbox_one_row.median_us, "us"),
        ]
    }
}

/// One side of the race, with all that it needs.
struct Lane<'a> {
    scene: &'a Scene,
    context: &'a MappingContext,
    native_context: tidegate_sdk::MappingContext,
}

impl Lane<'_> {
    fn native(&self, batch: &tidegate_sdk::Batch) -> Result<tidegate_sdk::Batch> {
        let direction = tidegate_sdk::Direction::LeftToRight;
        let mapped = FieldMap::map_batch(&self.native_context, direction, batch.clone());
        let mapped = mapped.map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
        ensure!(mapped.errors.is_empty());
        Ok(black_box(mapped.batch))
    }

    fn sandboxed(&self, plugin: &Plugin, batch: Batch) -> Result<Batch> {
        let direction = Direction::LeftToRight;
        let called = plugin.map_batch(self.context, direction, batch);
        let mapped = self.scene.runtime.block_on(called)?;
        ensure!(mapped.errors.is_empty());
        Ok(black_box(mapped.batch))
    }

    /// As a host would whose boundary is JSON: rows are written, cross, are read, mapped and written inside, cross back
    /// and are read again.
    fn json(&self, plugin: &Plugin, batch: &tidegate_sdk::Batch) -> Result<tidegate_sdk::Batch> {
        let mut document = Column::new("rows", DataType::Json);
        document.push(Cell::Json(&write(batch)?));
        let sent = Batch {
            rows: 1,
            columns: vec![document],
        };
        let answer = self.sandboxed(plugin, sent)?;
        let Some(Values::Json(document)) = answer.columns.first().map(|column| &column.values)
        else {
            anyhow::bail!("no JSON came back");
        };
        Ok(black_box(read(
            document.text(0),
            &self.native_context.right,
        )?))
    }
}

/// Which column comes first is nobody's promise.
fn in_order(mut batch: tidegate_sdk::Batch) -> tidegate_sdk::Batch {
    batch
        .columns
        .sort_by(|one, other| one.name.cmp(&other.name));
    batch
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    let scene = Scene::set(&["field-map", "json-map"])?;
    let (columns, json) = (scene.load("field-map")?, scene.load("json-map")?);
    let context = context();
    let lane = Lane {
        scene: &scene,
        context: &context,
        native_context: native::context(&context),
    };
    let rows = scale.pick(1_000, 10);
    let (batch, one) = (people(rows)?, people(1)?);
    let (native_batch, native_one) = (native::batch(&batch), native::batch(&one));
    let columns_mapped = in_order(native::batch(&lane.sandboxed(&columns, batch.clone())?));
    let json_mapped = in_order(lane.json(&json, &native_batch)?);
    let mapped = in_order(lane.native(&native_batch)?);
    ensure!(
        mapped == columns_mapped && mapped == json_mapped,
        "the three ways differ in what they make of the batch"
    );
    let course = Course {
        rounds: scale.pick(31, 3),
        slice: Duration::from_millis(scale.pick(60, 2)),
    };
    let [native, sandbox, json, native_one_row, sandbox_one_row] = course
        .race([
            Contender::new(|| lane.native(&native_batch).map(drop)),
            Contender::new(|| lane.sandboxed(&columns, batch.clone()).map(drop)),
            Contender::new(|| lane.json(&json, &native_batch).map(drop)),
            Contender::new(|| lane.native(&native_one).map(drop)),
            Contender::new(|| lane.sandboxed(&columns, one.clone()).map(drop)),
        ])
        .context("mapping")?;
    let per_row = |spread: Spread| spread.median_us / rows as f64;
    Outcome::new(&Cost {
        rows,
        columns: FIELDS.len(),
        native_us_per_row: per_row(native),
        sandbox_us_per_row: per_row(sandbox),
        json_us_per_row: per_row(json),
        native,
        sandbox,
        json,
        native_one_row,
        sandbox_one_row,
    })
}
