//! Making and removing what [`crate::outbox`] describes. The difference between what is there and what
//! should be is computed first; it is the plan that the operator reads and the one transaction that is done.

use std::collections::BTreeMap;

use tidegate_sdk::{Demand, Fault, FaultKind, PrepareMode};

use crate::database::{Class, Database, Statement, Value, fetch_one, write_all};
use crate::lookup::{no_key, no_table};
use crate::outbox;
use crate::quoting::{literal, name};
use crate::schema::{self, Table};
use crate::settings::Settings;

/// Something that must exist, or be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub id: String,
    /// The statements, as they are executed.
    pub statements: Vec<String>,
    pub done: bool,
}

/// Our own part of the database as it is.
#[derive(Debug, Default)]
pub(crate) struct Installed {
    /// Names of our tables and index.
    parts: Vec<String>,
    /// Statement by name of trigger.
    triggers: BTreeMap<String, String>,
    /// `identity`, and the tables' numbers.
    meta: BTreeMap<String, String>,
}

impl Installed {
    fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|found| found == part)
    }

    fn number(&self, table: &str) -> Option<i64> {
        self.meta.get(&outbox::number_key(table))?.parse().ok()
    }
}

pub fn prepare(
    database: &dyn Database,
    settings: &Settings,
    demands: &[Demand],
    mode: PrepareMode,
) -> Result<Vec<Step>, Fault> {
    let installed = installed(database, settings)?;
    let mut steps = match mode {
        PrepareMode::Remove => removal(settings, &installed),
        PrepareMode::Plan | PrepareMode::Apply => {
            let wanted = wanted(database, settings, demands)?;
            let mut steps = installation(settings, &installed, &wanted)?;
            steps.extend(outdated(settings, &installed, &wanted));
            steps
        }
    };
    if mode != PrepareMode::Plan {
        perform(database, &mut steps)?;
    }
    Ok(steps)
}

/// Puts back what is missing for these tables, and touches nothing else. For a table that was made anew under
/// its old name: its triggers went with the old one.
pub(crate) fn repair(
    database: &dyn Database,
    settings: &Settings,
    wanted: &[(Table, Vec<String>)],
) -> Result<(), Fault> {
    let installed = installed(database, settings)?;
    let mut steps = installation(settings, &installed, wanted)?;
    perform(database, &mut steps)
}

fn perform(database: &dyn Database, steps: &mut [Step]) -> Result<(), Fault> {
    let statements: Vec<Statement> = steps
        .iter()
        .filter(|step| !step.done)
        .flat_map(|step| &step.statements)
        .map(|sql| Statement {
            transaction: Some(1),
            ..Statement::once(sql.as_str(), vec![], &[])
        })
        .collect();
    if !statements.is_empty() {
        write_all(database, statements)?;
    }
    for step in steps {
        step.done = true;
    }
    Ok(())
}

fn installed(database: &dyn Database, settings: &Settings) -> Result<Installed, Fault> {
    let prefix = outbox::trigger_prefix(settings);
    let parts = [
        settings.outbox.clone(),
        settings.meta(),
        settings.lives(),
        outbox::index_name(settings),
    ];
    let statement = Statement::once(
        "SELECT type, name, sql FROM sqlite_master WHERE name IN (?1, ?2, ?3, ?4) \
         OR (type = 'trigger' AND substr(name, 1, length(?5)) = ?5)",
        parts
            .iter()
            .chain([&prefix])
            .map(|part| Value::from(part.as_str()))
            .collect(),
        &[Class::Text, Class::Text, Class::Text],
    );
    let mut installed = Installed::default();
    for row in fetch_one(database, statement)?.rows {
        let (kind, name, sql) = (row[0].text(), row[1].text(), row[2].text());
        if kind == "trigger" {
            installed.triggers.insert(name.to_owned(), sql.to_owned());
        } else {
            installed.parts.push(name.to_owned());
        }
    }
    if installed.has(&settings.meta()) {
        let statement = Statement::once(
            format!("SELECT key, value FROM {}", name(&settings.meta())),
            vec![],
            &[Class::Text, Class::Text],
        );
        for row in fetch_one(database, statement)?.rows {
            let (key, value) = (row[0].text().to_owned(), row[1].text().to_owned());
            installed.meta.insert(key, value);
        }
    }
    Ok(installed)
}

/// The captured tables with the fields that any sync wants of them.
fn wanted(
    database: &dyn Database,
    settings: &Settings,
    demands: &[Demand],
) -> Result<Vec<(Table, Vec<String>)>, Fault> {
    let objects: Vec<String> = demands.iter().map(|demand| demand.object.clone()).collect();
    let tables = schema::describe(database, settings, &objects)?;
    for demand in demands {
        let table = tables.iter().find(|table| table.name == demand.object);
        let table = table.ok_or_else(|| no_table(&demand.object))?;
        if table.key.is_none() {
            return Err(no_key(&demand.object));
        }
        if let Some(field) = demand
            .fields
            .iter()
            .find(|field| table.column(field).is_none())
        {
            return Err(Fault::config(
                "no-such-column",
                format!("table {} has no column {field}", table.name),
            ));
        }
    }
    let captured = |table: Table| {
        let mine = || {
            demands
                .iter()
                .filter(|demand| demand.captured && demand.object == table.name)
        };
        mine().next()?;
        let fields = mine().flat_map(|demand| demand.fields.clone()).collect();
        Some((table, fields))
    };
    Ok(tables.into_iter().filter_map(captured).collect())
}

fn installation(
    settings: &Settings,
    installed: &Installed,
    wanted: &[(Table, Vec<String>)],
) -> Result<Vec<Step>, Fault> {
    let step = |id: String, sql: String, done: bool| Step {
        id,
        statements: vec![sql],
        done,
    };
    let (table, index, meta, lives) = (
        settings.outbox.as_str(),
        outbox::index_name(settings),
        settings.meta(),
        settings.lives(),
    );
    let mut steps = vec![
        step(
            format!("table:{table}"),
            outbox::create_outbox(settings),
            installed.has(table),
        ),
        step(
            format!("index:{index}"),
            outbox::create_index(settings),
            installed.has(&index),
        ),
        step(
            format!("table:{meta}"),
            outbox::create_meta(settings),
            installed.has(&meta),
        ),
        step(
            format!("table:{lives}"),
            outbox::create_lives(settings),
            installed.has(&lives),
        ),
        step(
            "identity".to_owned(),
            outbox::insert_identity(settings),
            installed.meta.contains_key("identity"),
        ),
    ];
    let numbers = installed
        .meta
        .iter()
        .filter(|(key, _)| key.starts_with(outbox::NUMBER_PREFIX));
    let mut number_max = numbers
        .filter_map(|(_, value)| value.parse().ok())
        .max()
        .unwrap_or(0);
    for (table, fields) in wanted {
        let known = installed.number(&table.name);
        let number = known.unwrap_or_else(|| {
            number_max += 1;
            number_max
        });
        steps.push(step(
            format!("number:{}", table.name),
            outbox::insert_number(settings, &table.name, number),
            known.is_some(),
        ));
        let key = table.key.as_ref().ok_or_else(|| no_key(&table.name))?;
        for trigger in outbox::triggers(settings, number, table, key, fields) {
            steps.push(trigger_step(installed, table, &trigger));
        }
    }
    Ok(steps)
}

fn trigger_step(installed: &Installed, table: &Table, trigger: &outbox::Trigger) -> Step {
    let found = installed.triggers.get(&trigger.name);
    let mut statements = vec![trigger.sql.clone()];
    if found.is_some() {
        statements.insert(0, drop_trigger(&trigger.name));
    }
    Step {
        id: format!("trigger:{}:{}", table.name, trigger.event),
        statements,
        done: found == Some(&trigger.sql),
    }
}

/// Triggers of tables that no sync captures any more, and their rows in the outbox: no stream would take
/// them away, and one that comes back must see that it has missed something.
fn outdated(
    settings: &Settings,
    installed: &Installed,
    wanted: &[(Table, Vec<String>)],
) -> Vec<Step> {
    let kept: Vec<String> = wanted
        .iter()
        .filter_map(|(table, _)| installed.number(&table.name))
        .flat_map(|number| {
            outbox::EVENTS.map(|event| outbox::trigger_name(settings, number, event))
        })
        .collect();
    installed
        .triggers
        .keys()
        .filter(|name| !kept.contains(name))
        .map(|name| {
            let mut step = drop_step(name);
            step.statements.extend(clearing(settings, name));
            step
        })
        .collect()
}

/// Takes the rows that this trigger made from the outbox.
fn clearing(settings: &Settings, trigger: &str) -> Option<String> {
    let number = trigger.strip_prefix(&outbox::trigger_prefix(settings))?;
    let number: i64 = number.split(':').next()?.parse().ok()?;
    Some(format!(
        "DELETE FROM {} WHERE object = {number}",
        name(&settings.outbox)
    ))
}

fn removal(settings: &Settings, installed: &Installed) -> Vec<Step> {
    let mut steps: Vec<Step> = installed
        .triggers
        .keys()
        .map(|name| drop_step(name))
        .collect();
    for table in [settings.outbox.clone(), settings.meta(), settings.lives()] {
        if installed.has(&table) {
            steps.push(Step {
                id: format!("drop:{table}"),
                statements: vec![format!("DROP TABLE {}", name(&table))],
                done: false,
            });
        }
    }
    steps
}

fn drop_step(trigger: &str) -> Step {
    Step {
        id: format!("drop:{trigger}"),
        statements: vec![drop_trigger(trigger)],
        done: false,
    }
}

fn drop_trigger(trigger: &str) -> String {
    format!("DROP TRIGGER {}", name(trigger))
}

/// The database's own name for good. Before `apply` there is only a derived one, which changes with
/// the tables' names: remember the identity that is seen after it.
pub fn identity(database: &dyn Database, settings: &Settings) -> Result<String, Fault> {
    let statement = Statement::once(
        format!(
            "SELECT value FROM {} WHERE key = {}",
            name(&settings.meta()),
            literal("identity")
        ),
        vec![],
        &[Class::Text],
    );
    match fetch_one(database, statement) {
        Ok(rows) => Ok(rows
            .rows
            .first()
            .map_or_else(String::new, |row| row[0].text().to_owned())),
        Err(fault) if fault.kind == FaultKind::Missing => {
            let names = schema::names(database, settings)?;
            let text: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            Ok(format!("unprepared-{:016x}", digest(&text.join("\n"))))
        }
        Err(fault) => Err(fault),
    }
}

/// FNV-1a: the same in every version of this plugin.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
