//! In which lane a change waits: its sync's, unless a rule on the operation or on the record says otherwise.
//!
//! The first rule that fits decides. What a source is read whole for is no change, so no rule is asked there.

use crate::batch::{Batch, Cell, Column, DataType};
use crate::pace::Lane;
use crate::plugin::ChangeKind;
use crate::value::{Value, fingerprint};

const DAY_US: i64 = 86_400_000_000;

/// What a change does on the other side, as far as it is known when it is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// Puts some changes of a sync into a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneRule {
    pub lane: Lane,
    /// Any of these; empty for all.
    pub operations: Vec<Operation>,
    /// What must hold of the record. A delete has none, so it fits only rules without.
    pub test: Option<Test>,
}

/// What must hold of a field, by its name on either side. A value that is absent or null does not fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub field: String,
    pub is: Is,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Is {
    Above(f64),
    Below(f64),
    /// A date from today, or a time from now, until so much later.
    Within {
        ms: u64,
    },
    /// One of these, as fingerprints tell: 5 and 5.00 are one number.
    OneOf(Vec<Value>),
}

impl Is {
    /// Whether a field of this type can ever fit.
    pub fn suits(&self, data_type: DataType) -> bool {
        use DataType::{Boolean, Date, Decimal, Float, Integer, Text, Timestamp};
        let number = matches!(data_type, Integer | Float | Decimal);
        match self {
            Self::Above(_) | Self::Below(_) => number,
            Self::Within { .. } => matches!(data_type, Date | Timestamp),
            Self::OneOf(values) => values.iter().all(|value| match value {
                Value::Text(_) => data_type == Text,
                Value::Boolean(_) => data_type == Boolean,
                Value::Integer(_) | Value::Float(_) | Value::Decimal(_) => number,
                _ => false,
            }),
        }
    }

    /// What it compares, for people.
    pub fn compares(&self) -> &'static str {
        match self {
            Self::Above(_) | Self::Below(_) => "numbers",
            Self::Within { .. } => "dates and times",
            Self::OneOf(values) => match values.first() {
                Some(Value::Text(_)) => "texts",
                Some(Value::Boolean(_)) => "true and false",
                _ => "numbers",
            },
        }
    }

    pub(crate) fn fits(&self, cell: Cell<'_>, now_us: i64) -> bool {
        match self {
            Self::Above(limit) => number(cell).is_some_and(|number| number > *limit),
            Self::Below(limit) => number(cell).is_some_and(|number| number < *limit),
            Self::Within { ms } => {
                let length_us = i64::try_from(*ms).unwrap_or(i64::MAX).saturating_mul(1_000);
                let until_us = now_us.saturating_add(length_us);
                match cell {
                    Cell::Timestamp(at_us) => (now_us..=until_us).contains(&at_us),
                    Cell::Date(day) => {
                        let days = now_us.div_euclid(DAY_US)..=until_us.div_euclid(DAY_US);
                        days.contains(&i64::from(day))
                    }
                    _ => false,
                }
            }
            Self::OneOf(values) => {
                let print = fingerprint(cell, 1);
                values
                    .iter()
                    .any(|value| fingerprint(value.cell(), 1) == print)
            }
        }
    }
}

/// A limit has the digits of a float, and rounding keeps the order, so that no value on the other side of it is taken
/// for one on this side.
fn number(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Integer(number) => Some(number as f64),
        Cell::Float(number) => Some(number),
        Cell::Decimal(text) => text.parse().ok(),
        _ => None,
    }
}

/// The lane of one change, which depends on whether the other side has the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// If it has not.
    pub create: Lane,
    pub other: Lane,
}

impl From<Lane> for Chosen {
    fn from(lane: Lane) -> Self {
        Self {
            create: lane,
            other: lane,
        }
    }
}

impl Chosen {
    pub fn lane(self, creates: bool) -> Lane {
        if creates { self.create } else { self.other }
    }
}

/// A sync's rules, for the rows of one batch.
#[derive(Debug)]
pub struct Lanes<'a> {
    usual: Lane,
    rules: Vec<(&'a LaneRule, Option<&'a Column>)>,
    now_us: i64,
}

impl<'a> Lanes<'a> {
    pub fn new(usual: Lane, rules: &'a [LaneRule], batch: &'a Batch, now_us: i64) -> Self {
        let column = |rule: &LaneRule| batch.column(&rule.test.as_ref()?.field);
        Self {
            usual,
            rules: rules.iter().map(|rule| (rule, column(rule))).collect(),
            now_us,
        }
    }

    pub fn of(&self, kind: ChangeKind, row: usize) -> Chosen {
        match kind {
            ChangeKind::Delete => self.first(Operation::Delete, None).into(),
            ChangeKind::Upsert | ChangeKind::Hint => Chosen {
                create: self.first(Operation::Create, Some(row)),
                other: self.first(Operation::Update, Some(row)),
            },
        }
    }

    fn first(&self, operation: Operation, row: Option<usize>) -> Lane {
        let fits = |(rule, column): &&(&LaneRule, Option<&Column>)| {
            let operations = &rule.operations;
            let meant = operations.is_empty() || operations.contains(&operation);
            meant
                && rule.test.as_ref().is_none_or(|test| {
                    row.zip(*column)
                        .is_some_and(|(row, column)| test.is.fits(column.cell(row), self.now_us))
                })
        };
        let rule = self.rules.iter().find(fits);
        rule.map_or(self.usual, |(rule, _)| rule.lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 20_000 * DAY_US + DAY_US / 2;

    #[test]
    fn every_test_knows_its_values() {
        let week = Is::Within { ms: 7 * 86_400_000 };
        let stages = Is::OneOf(vec![Value::Text("Won".into()), Value::Text("Lost".into())]);
        let five = Is::OneOf(vec![Value::Integer(5)]);
        let cases = [
            (Is::Above(50_000.0), Cell::Decimal("50000.01"), true),
            (Is::Above(50_000.0), Cell::Decimal("50000.00"), false),
            (Is::Above(50_000.0), Cell::Integer(50_001), true),
            (Is::Above(50_000.0), Cell::Null, false),
            (Is::Above(50_000.0), Cell::Text("60000"), false),
            (Is::Below(0.5), Cell::Float(0.25), true),
            (Is::Below(0.5), Cell::Unset, false),
            (week.clone(), Cell::Date(20_000), true),
            (week.clone(), Cell::Date(20_007), true),
            (week.clone(), Cell::Date(20_008), false),
            (week.clone(), Cell::Date(19_999), false),
            (week.clone(), Cell::Timestamp(NOW_US - 1), false),
            (week.clone(), Cell::Timestamp(NOW_US + 7 * DAY_US), true),
            (week, Cell::Timestamp(NOW_US + 7 * DAY_US + 1), false),
            (stages.clone(), Cell::Text("Lost"), true),
            (stages.clone(), Cell::Text("lost"), false),
            (stages, Cell::Null, false),
            (five.clone(), Cell::Decimal("5.00"), true),
            (five, Cell::Decimal("5.01"), false),
        ];
        for (is, cell, fits) in cases {
            assert_eq!(is.fits(cell, NOW_US), fits, "{is:?} of {cell:?}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = |lane, operations: &[Operation], test: Option<Test>| LaneRule {
            lane,
            operations: operations.to_vec(),
            test,
        };
        let large = Test {
            field: "amount".into(),
            is: Is::Above(10.0),
        };
        let rules = [
            rule(Lane::Backfill, &[Operation::Delete], None),
            rule(Lane::Critical, &[], Some(large)),
            rule(Lane::Critical, &[Operation::Create], None),
        ];
        let mut amount = Column::new("amount", DataType::Integer);
        amount.push(Cell::Integer(11));
        amount.push(Cell::Integer(10));
        let batch = Batch {
            rows: 2,
            columns: vec![amount],
        };
        let lanes = Lanes::new(Lane::Normal, &rules, &batch, NOW_US);
        let small = Chosen {
            create: Lane::Critical,
            other: Lane::Normal,
        };
        assert_eq!(lanes.of(ChangeKind::Upsert, 0), Lane::Critical.into());
        assert_eq!(lanes.of(ChangeKind::Upsert, 1), small);
        assert_eq!(lanes.of(ChangeKind::Delete, 0), Lane::Backfill.into());
        // A side without the field only fits rules that do not ask for it.
        let nothing = Batch::default();
        let lanes = Lanes::new(Lane::Normal, &rules, &nothing, NOW_US);
        assert_eq!(lanes.of(ChangeKind::Upsert, 0), small);
    }
}
