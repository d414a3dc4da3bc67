//! From writes to pushes: the cheapest method that the connector's table offers, within its bounds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::batch::{Column, Packed, Values};
use crate::manifest::{Method, MethodKind};
use crate::merge::Write;
use crate::model::Model;
use crate::pace::{Lane, Level};
use crate::plugin::{Group, OperationKind, Operations};
use crate::record::{FieldId, LinkId, Reason, Token};
use crate::sync::Side;
use crate::value::Value;

/// One call of a connector's `push`.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    pub target: Side,
    pub method: String,
    pub rows: Vec<(LinkId, Write)>,
}

/// What the writes become, and those that no method can carry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub pushes: Vec<Push>,
    pub refused: Vec<(LinkId, Write, Reason)>,
}

/// Rows of one job at most, whatever the vendor takes: a round holds them in memory, several times over.
const JOB_ROWS_MAX: usize = 10_000;

/// Why a lane's rows may not take a method now. A job's outcomes come late, and one row of it waits for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Barred {
    /// What is critical never waits for a job.
    Late,
    /// The normal lane waits for one only when an allowance runs out.
    Plenty,
}

pub fn barred(method: &Method, lane: Lane, level: Level) -> Option<Barred> {
    match (method.kind, lane) {
        (MethodKind::Interactive, _) | (MethodKind::Job, Lane::Backfill) => None,
        (MethodKind::Job, Lane::Critical) => Some(Barred::Late),
        (MethodKind::Job, Lane::Normal) => (level < Level::Stretch).then_some(Barred::Plenty),
    }
}

/// Methods that a lane's rows may take. The level is asked for only where it decides.
pub fn usable(methods: &[Method], lane: Lane, level: impl FnOnce() -> Level) -> Vec<&Method> {
    let offers = methods.iter().any(|method| method.kind == MethodKind::Job);
    let level = match lane {
        Lane::Normal if offers => level(),
        _ => Level::default(),
    };
    methods
        .iter()
        .filter(|method| barred(method, lane, level).is_none())
        .collect()
}

/// Rows worth taking for one round, of so many that are ready: a full job where that is cheapest, else two full uses
/// of the widest other method.
pub fn round_rows(usable: &[&Method], ready: usize) -> usize {
    let job = widest(usable, MethodKind::Job).map(|most| most.min(JOB_ROWS_MAX).min(ready));
    let job = job.filter(|rows| {
        cheapest(usable, *rows).is_some_and(|method| method.kind == MethodKind::Job)
    });
    job.unwrap_or_else(|| two_uses(usable))
}

/// Rows of a round that more would not make cheaper.
pub fn full_round(usable: &[&Method]) -> usize {
    let job = widest(usable, MethodKind::Job).unwrap_or_default();
    job.min(JOB_ROWS_MAX).max(two_uses(usable))
}

fn two_uses(usable: &[&Method]) -> usize {
    2 * widest(usable, MethodKind::Interactive).unwrap_or(1)
}

fn widest(usable: &[&Method], kind: MethodKind) -> Option<usize> {
    let methods = usable.iter().filter(|method| method.kind == kind);
    methods.map(|method| method.rows_max as usize).max()
}

/// The rounds that so many rows become which are all ready: rows of a round, and how many rounds have as many.
pub fn rounds(usable: &[&Method], mut rows: u64) -> Vec<(usize, u64)> {
    let mut rounds = Vec::new();
    while rows > 0 {
        let ready = usize::try_from(rows).unwrap_or(usize::MAX);
        let round = round_rows(usable, ready).clamp(1, ready);
        // More rows than any job takes are as good as any number of them.
        let beyond = rows.saturating_sub(JOB_ROWS_MAX as u64);
        let times = (beyond / round as u64).max(1);
        rounds.push((round, times));
        rows -= round as u64 * times;
    }
    rounds
}

/// What so many rows of one operation become, each of so many bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses<'a> {
    /// A method, and the rows of one push by it.
    pub pushes: Vec<(&'a Method, usize)>,
    /// Rows that no method can carry.
    pub refused: usize,
}

/// As [`plan`] does it with rows of which nothing else is known.
pub fn uses<'a>(offered: &[&'a Method], mut rows: usize, row_bytes: u64) -> Uses<'a> {
    let mut uses = Uses::default();
    while rows > 0 {
        let Some(method) = cheapest(offered, rows) else {
            uses.refused += rows;
            break;
        };
        let fitting = usize::try_from(method.bytes_max / row_bytes.max(1)).unwrap_or(usize::MAX);
        let taken = rows.min(method.rows_max as usize).min(fitting);
        match taken {
            0 => uses.refused += 1,
            taken => uses.pushes.push((method, taken)),
        }
        rows -= taken.max(1);
    }
    uses
}

/// Those that carry an operation.
pub fn offered<'a>(methods: &[&'a Method], operation: OperationKind) -> Vec<&'a Method> {
    let mut offered = methods.to_vec();
    offered.retain(|method| method.carries(operation));
    offered
}

/// Writes of one sync to one side. Operations travel apart, and together where that is cheaper.
pub fn plan(
    model: &Model,
    target: Side,
    methods: &[&Method],
    writes: Vec<(LinkId, Write)>,
) -> Plan {
    let mut plan = Plan::default();
    let mut kinds: BTreeMap<OperationKind, Vec<(LinkId, Write)>> = BTreeMap::new();
    for (link, write) in writes {
        kinds
            .entry(write.operation)
            .or_default()
            .push((link, write));
    }
    for (operation, mut rows) in kinds {
        beside_siblings(model, target, &mut rows);
        let offered = offered(methods, operation);
        while !rows.is_empty() {
            let Some(method) = cheapest(&offered, rows.len()) else {
                refuse_all(model, target, operation, &mut rows, &mut plan);
                break;
            };
            let taken = take(model, target, method, &mut rows);
            if taken.is_empty() {
                let (link, write) = rows.remove(0);
                let reason = too_large(model, target, method);
                plan.refused.push((link, write, reason));
                continue;
            }
            plan.pushes.push(Push {
                target,
                method: method.name.clone(),
                rows: taken,
            });
        }
    }
    plan.pushes = mixed(methods, plan.pushes);
    plan
}

/// Few rows of several operations take a call each, or one by a method that carries them all.
fn mixed(methods: &[&Method], pushes: Vec<Push>) -> Vec<Push> {
    let mut mixed: Vec<Push> = Vec::new();
    for push in pushes {
        let joined = mixed
            .iter_mut()
            .find_map(|known| Some((carrier(methods, known, &push)?, known)));
        match joined {
            Some((method, known)) => {
                known.method.clone_from(&method.name);
                known.rows.extend(push.rows);
            }
            None => mixed.push(push),
        }
    }
    mixed
}

/// The method that carries both in one use, for less than they cost apart. Jobs are never joined.
fn carrier<'a>(methods: &[&'a Method], one: &Push, other: &Push) -> Option<&'a Method> {
    let calls = |push: &Push| {
        let mut methods = methods.iter();
        let method = methods.find(|method| method.name == push.method)?;
        let calls = u64::from(method.calls);
        (method.kind == MethodKind::Interactive).then_some(calls)
    };
    let apart = calls(one)? + calls(other)?;
    let rows = || one.rows.iter().chain(&other.rows).map(|(_, write)| write);
    let operations: BTreeSet<OperationKind> = rows().map(|write| write.operation).collect();
    let count = one.rows.len() + other.rows.len();
    let fits = |method: &&&'a Method| {
        method.kind == MethodKind::Interactive
            && (2..=method.operations_max as usize).contains(&operations.len())
            && operations
                .iter()
                .all(|operation| method.carries(*operation))
            && count <= method.rows_max as usize
            && rows().map(bytes_of).sum::<u64>() <= method.bytes_max
            && u64::from(method.calls) < apart
    };
    methods.iter().find(fits).copied()
}

/// Children of one parent travel together: vendors lock the parent while they write a child, so two batches with
/// children of one would get in each other's way.
fn beside_siblings(model: &Model, target: Side, rows: &mut [(LinkId, Write)]) {
    if let Some(reference) = model.references.first() {
        let field = reference[target];
        rows.sort_by_cached_key(|(_, write)| parent(write, field).map(str::to_owned));
    }
}

fn parent(write: &Write, field: FieldId) -> Option<&str> {
    let value = write.values.iter().find(|(known, _)| *known == field);
    match value {
        Some((_, Value::Text(id))) => Some(id),
        _ => None,
    }
}

/// Fewest calls for so many rows; among equals the one that answers at once, then the one that ties rows together
/// least, then the smaller one.
pub fn cheapest<'a>(offered: &[&'a Method], rows: usize) -> Option<&'a Method> {
    let priced = offered
        .iter()
        .filter_map(|method| Some((calls(method, rows)?, *method)));
    let cheapest = priced.min_by_key(|(calls, method)| {
        (
            *calls,
            method.kind == MethodKind::Job,
            method.references,
            method.rows_max,
        )
    });
    cheapest.map(|(_, method)| method)
}

/// Calls that so many rows cost by a method alone; `None` where they are too few for it.
pub fn calls(method: &Method, rows: usize) -> Option<u64> {
    let uses = rows.div_ceil(method.rows_max.max(1) as usize) as u64;
    (rows >= method.rows_min as usize).then(|| uses * u64::from(method.calls))
}

/// As many of the first rows as the method holds.
fn take(
    model: &Model,
    target: Side,
    method: &Method,
    rows: &mut Vec<(LinkId, Write)>,
) -> Vec<(LinkId, Write)> {
    let mut bytes = 0;
    let fitting = rows
        .iter()
        .take(method.rows_max as usize)
        .take_while(|(_, write)| {
            bytes += bytes_of(write);
            bytes <= method.bytes_max
        })
        .count();
    rows.drain(..before_siblings(model, target, rows, fitting))
        .collect()
}

/// Where to cut so that no parent's children are parted, unless they fill most of the batch.
fn before_siblings(model: &Model, target: Side, rows: &[(LinkId, Write)], fitting: usize) -> usize {
    let Some(reference) = model.references.first() else {
        return fitting;
    };
    let parent = |row: usize| parent(&rows[row].1, reference[target]);
    if fitting == rows.len() || fitting == 0 || parent(fitting).is_none() {
        return fitting;
    }
    let cut = (0..fitting)
        .rev()
        .find(|row| parent(*row) != parent(fitting));
    match cut.map(|row| row + 1) {
        Some(cut) if cut > fitting / 2 => cut,
        _ => fitting,
    }
}

/// A row's and each value's name and quotes.
const OVERHEAD: usize = 64;
/// A value of which nothing is known: as much as a number or a moment takes.
const VALUE_BYTES: usize = 28;

/// About as much as a row with so many fields takes whose values are not known.
pub fn row_bytes(fields: usize) -> u64 {
    (OVERHEAD + fields * (OVERHEAD + VALUE_BYTES)) as u64
}

/// A row with its field names and quotes, as a text format would carry it, with room for escapes.
fn bytes_of(write: &Write) -> u64 {
    let values: usize = write
        .values
        .iter()
        .map(|(_, value)| OVERHEAD + value_bytes(value))
        .sum();
    (OVERHEAD + values) as u64
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Boolean(_) => 5,
        Value::Integer(_) | Value::Float(_) | Value::Timestamp(_) | Value::Date(_) => VALUE_BYTES,
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => text.len() + text.len() / 8,
        Value::Bytes(bytes) => bytes.len().div_ceil(3) * 4,
    }
}

fn refuse_all(
    model: &Model,
    target: Side,
    operation: OperationKind,
    rows: &mut Vec<(LinkId, Write)>,
    plan: &mut Plan,
) {
    let side = model.spec.side(target);
    for (link, write) in rows.drain(..) {
        let reason = Reason {
            code: "no-method".into(),
            message: format!(
                "the connector of endpoint {} has no method for {operation:?} on {}",
                side.endpoint, side.object
            ),
            fields: Vec::new(),
            target: Some(target),
        };
        plan.refused.push((link, write, reason));
    }
}

fn too_large(model: &Model, target: Side, method: &Method) -> Reason {
    Reason {
        code: "row-too-large".into(),
        message: format!(
            "larger than the {} bytes that method {} of endpoint {} can carry",
            method.bytes_max,
            method.name,
            model.spec.side(target).endpoint
        ),
        fields: Vec::new(),
        target: Some(target),
    }
}

impl Push {
    /// The call's argument: a group for each operation.
    pub fn operations(&self, model: &Model) -> Operations {
        let mut kinds: BTreeMap<OperationKind, Vec<(Token, &Write)>> = BTreeMap::new();
        for (link, write) in &self.rows {
            let row = (Token::new(*link, self.target), write);
            kinds.entry(write.operation).or_default().push(row);
        }
        let groups = kinds
            .iter()
            .map(|(operation, rows)| group(model, self.target, *operation, rows));
        Operations {
            method: self.method.clone(),
            groups: groups.collect(),
            references: Vec::new(),
        }
    }
}

fn group(model: &Model, target: Side, operation: OperationKind, rows: &[(Token, &Write)]) -> Group {
    let values: Vec<&[(FieldId, Value)]> = rows.iter().map(|(_, write)| &*write.values).collect();
    let mut batch = model.batch(target, &values);
    let key = model
        .key(target)
        .filter(|_| operation == OperationKind::Upsert)
        .map(|field| model.name(target, field).to_owned());
    if let Some(key) = &key {
        batch.columns.retain(|column| column.name != *key);
        batch.columns.push(key_column(key, rows));
    }
    let writes = || rows.iter().map(|(_, write)| write);
    Group {
        object: model.spec.side(target).object.to_string(),
        operation,
        key,
        tokens: rows.iter().map(|(token, _)| token.0).collect(),
        ids: writes()
            .map(|write| write.id.as_deref().unwrap_or_default())
            .collect(),
        into: writes()
            .map(|write| write.into.as_deref().unwrap_or_default())
            .collect(),
        versions: writes().map(|write| &*write.version).collect(),
        batch,
    }
}

fn key_column(name: &str, rows: &[(Token, &Write)]) -> Column {
    let keys: Packed = rows
        .iter()
        .map(|(_, write)| write.key.as_deref().unwrap_or_default())
        .collect();
    Column {
        name: name.to_owned(),
        states: Vec::new(),
        values: Values::Text(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str, kind: MethodKind, rows: [u32; 2], calls: u32) -> Method {
        Method {
            name: name.to_owned(),
            kind,
            operations: vec![OperationKind::Update],
            rows_min: rows[0],
            rows_max: rows[1],
            bytes_max: 1 << 20,
            calls,
            objects_max: 1,
            operations_max: 1,
            references: name == "graph",
            draws: Vec::new(),
        }
    }

    /// What Salesforce offers.
    fn offered() -> Vec<Method> {
        vec![
            method("single", MethodKind::Interactive, [1, 1], 1),
            method("collections", MethodKind::Interactive, [2, 200], 1),
            method("graph", MethodKind::Interactive, [2, 500], 1),
            method("composite", MethodKind::Interactive, [2, 1_000], 1),
            method("bulk", MethodKind::Job, [2_000, 30_000], 5),
        ]
    }

    #[test]
    fn the_table_decides_how_rows_travel_and_the_lane_whether_a_job_may() {
        let offered = offered();
        let cases = [
            (Lane::Backfill, Level::Plenty, 1, "single", 2_000),
            (Lane::Backfill, Level::Plenty, 200, "collections", 2_000),
            (Lane::Backfill, Level::Plenty, 201, "composite", 2_000),
            (Lane::Backfill, Level::Plenty, 5_000, "composite", 2_000),
            (Lane::Backfill, Level::Plenty, 5_001, "bulk", 5_001),
            (Lane::Backfill, Level::Plenty, 90_000, "bulk", JOB_ROWS_MAX),
            (Lane::Normal, Level::Notify, 90_000, "composite", 2_000),
            (Lane::Normal, Level::Stretch, 90_000, "bulk", JOB_ROWS_MAX),
            (Lane::Critical, Level::Critical, 90_000, "composite", 2_000),
        ];
        for (lane, level, ready, name, rows) in cases {
            let usable = usable(&offered, lane, || level);
            let method = cheapest(&usable, ready).expect("a method");
            assert_eq!(method.name, name, "{lane:?} {level:?} {ready}");
            assert_eq!(
                round_rows(&usable, ready),
                rows,
                "{lane:?} {level:?} {ready}"
            );
        }
        let patient = usable(&offered, Lane::Backfill, Level::default);
        assert_eq!(full_round(&patient), JOB_ROWS_MAX);
        let busy = usable(&offered, Lane::Normal, Level::default);
        assert_eq!(full_round(&busy), 2_000);
    }
}
