//! Carrying operations out: all rows in one transaction, and by halves where the database refuses.
//!
//! A refused row takes its transaction with it, so the rows are halved until it is alone; the others are
//! written. That costs one more round for each halving and nothing when all rows are good. Only what was
//! rolled back for certain is sent again (invariant 6).

use std::collections::HashMap;

use tidegate_sdk::{
    Advice, Executed, Fault, FaultKind, Group, OperationKind, Outcome, Refusal, RowOutcome, Written,
};

use crate::database::{Answers, Database, Rows, is_bystander, miscounted, whole};
use crate::key::Key;
use crate::lookup::{no_key, no_table};
use crate::record::{Changes, Misfits, Reader};
use crate::refusal;
use crate::schema::{self, Table};
use crate::settings::Settings;
use crate::version;
use crate::write::{self, Effect, Planned, Prepared};

/// What became of the rows, and those that were written as they are stored now.
#[derive(Debug, Default)]
pub struct Pushed {
    pub outcomes: Vec<RowOutcome>,
    pub after: Vec<Changes>,
}

pub fn push(
    database: &dyn Database,
    settings: &Settings,
    groups: &[Group],
) -> Result<Pushed, Fault> {
    let objects: Vec<String> = groups.iter().map(|group| group.object.clone()).collect();
    let described = schema::describe(database, settings, &objects)?;
    let tables = groups
        .iter()
        .map(|group| {
            let table = described.iter().find(|table| table.name == group.object);
            let table = table.ok_or_else(|| no_table(&group.object))?;
            let key = table.key.as_ref().ok_or_else(|| no_key(&group.object))?;
            Ok((table, key))
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    let mut push = Push {
        settings,
        groups,
        tables,
        pushed: Pushed::default(),
        misfits: Misfits::default(),
    };
    let rows = push.planned();
    push.rounds(database, &rows)?;
    push.misfits.report(database);
    Ok(push.pushed)
}

struct Push<'a> {
    settings: &'a Settings,
    groups: &'a [Group],
    /// One per group.
    tables: Vec<(&'a Table, &'a Key)>,
    pushed: Pushed,
    misfits: Misfits,
}

impl Push<'_> {
    /// The rows that can be sent; the others have their outcome.
    fn planned(&mut self) -> Vec<Planned> {
        let mut planned = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let (table, key) = self.tables[at];
            for (row, token) in group.tokens.iter().enumerate() {
                match write::plan(table, key, self.settings.timestamps, group, (at, row)) {
                    Ok(row) => planned.push(row),
                    Err(row) => self.settle(*token, Outcome::Refused(refusal::unsendable(row))),
                }
            }
        }
        planned
    }

    fn rounds(&mut self, database: &dyn Database, rows: &[Planned]) -> Result<(), Fault> {
        let mut first = true;
        let mut chunks: Vec<Vec<&Planned>> = vec![rows.iter().collect()];
        chunks.retain(|chunk| !chunk.is_empty());
        while !chunks.is_empty() {
            let (prepared, sizes) = self.prepare(&chunks);
            let statements = prepared.iter().map(|one| one.statement.clone()).collect();
            let mut answers = database.write(statements);
            if answers.len() != prepared.len() {
                return Err(miscounted(prepared.len(), answers.len()));
            }
            let mut prepared = prepared;
            let mut next = Vec::new();
            for (chunk, size) in chunks.iter().zip(sizes) {
                let mine: Answers = answers.drain(..size).collect();
                let asked: Vec<Prepared> = prepared.drain(..size).collect();
                match judge(mine) {
                    Ok(rows) => self.written(chunk, &asked, rows),
                    // Nothing has happened yet, and it is no row's fault: the call as a whole may come again.
                    Err(fault)
                        if first
                            && fault.executed == Executed::No
                            && fault.kind != FaultKind::Refused =>
                    {
                        return Err(fault);
                    }
                    Err(fault) => next.extend(self.failed(chunk, &fault)),
                }
            }
            chunks = next;
            first = false;
        }
        Ok(())
    }

    /// All chunks' statements, and how many belong to each.
    fn prepare(&self, chunks: &[Vec<&Planned>]) -> (Vec<Prepared>, Vec<usize>) {
        let mut prepared = Vec::new();
        let mut sizes = Vec::with_capacity(chunks.len());
        for (chunk, transaction) in chunks.iter().zip(1..) {
            let (groups, tables) = (self.groups, &self.tables);
            let statements = write::statements(groups, tables, self.settings, chunk, transaction);
            sizes.push(statements.len());
            prepared.extend(statements);
        }
        (prepared, sizes)
    }

    /// Settles the rows of a failed transaction, or gives its halves.
    fn failed<'p>(&mut self, chunk: &[&'p Planned], fault: &Fault) -> Vec<Vec<&'p Planned>> {
        if fault.kind == FaultKind::Refused && fault.executed == Executed::No && chunk.len() > 1 {
            let (left, right) = chunk.split_at(chunk.len() / 2);
            return vec![left.to_vec(), right.to_vec()];
        }
        for row in chunk {
            let outcome = if fault.executed == Executed::Unknown {
                Outcome::Unknown(format!("{}: {}", fault.code, fault.message))
            } else {
                Outcome::Refused(refusal::judge(&self.groups[row.group], fault))
            };
            self.settle(row.token, outcome);
        }
        Vec::new()
    }

    fn written(&mut self, chunk: &[&Planned], asked: &[Prepared], answers: Vec<Rows>) {
        let mut found: HashMap<usize, Outcome> = HashMap::new();
        let seen = asked
            .iter()
            .position(|one| one.effect == Effect::Seen)
            .and_then(|at| answers[at].rows.first()?.first());
        let seen = seen.map(version::of).unwrap_or_default();
        for (one, answer) in asked.iter().zip(&answers) {
            if one.effect == Effect::Seen {
                continue;
            }
            let (table, _) = self.tables[one.group];
            let Some(reader) = Reader::new(table, &one.fields, self.settings.timestamps) else {
                continue;
            };
            let mut records = Vec::new();
            for row in &answer.rows {
                let place = row.first().and_then(crate::database::Value::integer);
                let Some(place) = place.and_then(|place| usize::try_from(place).ok()) else {
                    continue;
                };
                let created = one.effect == Effect::Created;
                // What nobody has seen may lie between the last look at a row and a write without condition.
                let conditional = chunk.get(place).is_some_and(|row| row.is_conditional());
                let version = match created || conditional {
                    true => seen.clone(),
                    false => String::new(),
                };
                let id = if one.effect == Effect::Deleted {
                    self.asked_id(chunk, place)
                } else {
                    let Some((id, cells)) = reader.read(&row[1..], &mut self.misfits) else {
                        continue;
                    };
                    records.push(reader.present(id.clone(), version.clone(), cells));
                    id
                };
                found.insert(
                    place,
                    Outcome::Written(Written {
                        id,
                        created,
                        version,
                    }),
                );
            }
            if !records.is_empty() {
                self.pushed.after.push(reader.changes(records));
            }
        }
        for (place, row) in chunk.iter().enumerate() {
            let outcome = found.remove(&place).unwrap_or_else(|| self.absent(row));
            self.settle(row.token, outcome);
        }
    }

    /// The id that a delete was given.
    fn asked_id(&self, chunk: &[&Planned], place: usize) -> String {
        let id = chunk.get(place).and_then(|row| {
            let group = &self.groups[row.group];
            let at = group.tokens.iter().position(|token| *token == row.token)?;
            Some(group.ids.text(at).to_owned())
        });
        id.unwrap_or_default()
    }

    /// A row that no statement returned: its target is gone or has changed, or a trigger of the database swallowed it.
    fn absent(&self, row: &Planned) -> Outcome {
        let group = &self.groups[row.group];
        match group.operation {
            _ if row.is_conditional() => Outcome::Refused(refusal::changed(&group.object)),
            OperationKind::Update | OperationKind::Delete => {
                Outcome::Refused(refusal::gone(&group.object))
            }
            _ => Outcome::Refused(Refusal {
                code: "row-ignored".to_owned(),
                message: format!("table {} took the row and made none of it", group.object),
                fields: Vec::new(),
                advice: Advice::Park,
            }),
        }
    }

    fn settle(&mut self, token: u64, outcome: Outcome) {
        self.pushed.outcomes.push(RowOutcome { token, outcome });
    }
}

/// One transaction's answers: all rows, or the fault that tells most.
fn judge(answers: Answers) -> Result<Vec<Rows>, Fault> {
    let mut rows = Vec::with_capacity(answers.len());
    let mut fault: Option<Fault> = None;
    for answer in answers {
        match answer.map(|answer| whole(Ok(answer))) {
            Ok(Ok(answer)) => rows.push(answer),
            // Written, but what it says of the rows is cut.
            Ok(Err(cut)) => {
                fault = Some(cut.with_unknown_fate());
            }
            Err(next) => {
                let better = fault.as_ref().is_none_or(|known| {
                    (next.executed == Executed::Unknown && known.executed == Executed::No)
                        || (is_bystander(known) && !is_bystander(&next))
                });
                if better {
                    fault = Some(next);
                }
            }
        }
    }
    match fault {
        Some(fault) => Err(fault),
        None => Ok(rows),
    }
}
