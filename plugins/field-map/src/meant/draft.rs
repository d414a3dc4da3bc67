//! One rule in one direction on its way to a route.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_sdk::{DataType, Direction, FieldType, MappingContext};

use super::{Ledger, Route, Work};
use crate::calendar;
use crate::convert::{self, Aim, Spelling};
use crate::item::Item;
use crate::table::{self, Table};
use crate::written::{Names, Rule, TypeName, Unlisted};

/// A date and a timestamp, 2001-02-03 and 04:05:06 on it, that a format must be able to write and read again.
const SAMPLE_DAYS: i32 = 11_356;
const SAMPLE_US: i64 = 981_173_106_000_000;

pub(super) struct Draft<'a> {
    pub(super) rule: &'a Rule,
    pub(super) context: &'a MappingContext,
    pub(super) direction: Direction,
    pub(super) both_ways: bool,
    /// Whether this direction speaks of the mistakes that the other would find too.
    pub(super) complains: bool,
}

/// A side of the rule as this direction sees it.
struct End<'a> {
    key: &'static str,
    names: &'a Names,
    fields: &'a [FieldType],
    type_said: Option<TypeName>,
    format: Option<&'a String>,
}

impl End<'_> {
    fn field(&self, name: &str) -> Option<&FieldType> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn data_type(&self, name: &str) -> Option<DataType> {
        match self.type_said {
            Some(said) => Some(said.into()),
            None => self.field(name).map(|field| field.data_type),
        }
    }
}

impl<'a> Draft<'a> {
    fn ends(&self) -> (End<'a>, End<'a>) {
        let rule = self.rule;
        let left = End {
            key: "left",
            names: &rule.left,
            fields: &self.context.left,
            type_said: rule.left_type,
            format: rule.left_format.as_ref(),
        };
        let right = End {
            key: "right",
            names: &rule.right,
            fields: &self.context.right,
            type_said: rule.right_type,
            format: rule.right_format.as_ref(),
        };
        match self.direction {
            Direction::LeftToRight => (left, right),
            Direction::RightToLeft => (right, left),
        }
    }

    /// The route; `None` when the rule has mistakes that leave nothing to go on with.
    pub(super) fn route(&self, ledger: &mut Ledger<'_>) -> Option<Route> {
        let (source, target) = self.ends();
        let before = ledger.mistakes.len();
        if self.complains {
            for end in [&source, &target] {
                unknown_fields(end, ledger);
            }
        }
        self.check_types(&source, &target, ledger);
        self.check_formats(&source, &target, ledger);
        let aims: Vec<Aim> = target
            .names
            .list()
            .iter()
            .map(|name| self.aim(&source, &target, name))
            .collect();
        let first = aims.first()?;
        let table = self.table(first, ledger);
        let default = self.default(&target, first, ledger);
        let work = self.work(&source, &target, first, ledger)?;
        (ledger.mistakes.len() == before).then(|| Route {
            place: ledger.place.clone(),
            inputs: source.names.list().to_vec(),
            outputs: target.names.list().to_vec(),
            work,
            steps: self.rule.steps.clone(),
            table,
            default,
            aims,
        })
    }

    fn aim(&self, source: &End<'_>, target: &End<'_>, name: &str) -> Aim {
        let joins = source.names.are_several();
        let data_type = target.data_type(name).or(joins.then_some(DataType::Text));
        let known_scale = target.field(name).and_then(|field| field.scale);
        Aim {
            data_type,
            scale: self.rule.scale.or(known_scale),
            rounding: self.rule.rounding.unwrap_or_default(),
            time: self.rule.time,
            source: self.spelling(source),
            target: self.spelling(target),
        }
    }

    fn spelling(&self, end: &End<'_>) -> Spelling {
        let mut spelling = Spelling {
            format: end.format.cloned(),
            thousands: self.rule.thousands.clone(),
            ..Spelling::default()
        };
        if let Some(point) = &self.rule.point {
            spelling.point = point.clone().into();
        }
        if let Some(words) = &self.rule.boolean {
            spelling.yes = words.yes.iter().cloned().map(Into::into).collect();
            spelling.no = words.no.iter().cloned().map(Into::into).collect();
        }
        spelling
    }

    fn work(
        &self,
        source: &End<'_>,
        target: &End<'_>,
        aim: &Aim,
        ledger: &mut Ledger<'_>,
    ) -> Option<Work> {
        if let Some(constant) = &self.rule.constant {
            return Some(Work::Constant(literal(constant, aim, "constant", ledger)?));
        }
        let separator = self.rule.separator.clone().unwrap_or_default();
        Some(if source.names.are_several() {
            Work::Join {
                separator,
                both_ways: self.both_ways,
            }
        } else if target.names.are_several() {
            Work::Split { separator }
        } else {
            Work::One
        })
    }

    fn default(
        &self,
        target: &End<'_>,
        aim: &Aim,
        ledger: &mut Ledger<'_>,
    ) -> Option<Item<'static>> {
        let (key, value) = match self.direction {
            Direction::LeftToRight => ("right-default", self.rule.right_default.as_ref()?),
            Direction::RightToLeft => ("left-default", self.rule.left_default.as_ref()?),
        };
        if target.names.are_several() {
            ledger.at(key, "works on one field, not on a list");
            return None;
        }
        literal(value, aim, key, ledger)
    }

    fn table(&self, aim: &Aim, ledger: &mut Ledger<'_>) -> Option<Table> {
        let written = self.rule.table.as_ref()?;
        let unlisted = self.rule.unlisted.unwrap_or_default();
        if self.both_ways && unlisted == Unlisted::Keep {
            if self.complains {
                ledger.at(
                    "unlisted",
                    "\"keep\" can't be undone; give the rule one direction",
                );
            }
            return None;
        }
        let mut entries = BTreeMap::new();
        for (left, right) in written {
            let Some(right) = Item::from_config(right) else {
                if self.complains {
                    ledger.at(
                        "table",
                        format_args!("`{left}` must become a text, number or boolean"),
                    );
                }
                continue;
            };
            let Some(right_text) = table::text(&right) else {
                ledger.at(
                    "table",
                    format_args!("`{left}` becomes null, which can't be looked up"),
                );
                continue;
            };
            let (key, value) = match self.direction {
                Direction::LeftToRight => (left.clone(), right.clone()),
                Direction::RightToLeft => {
                    (right_text.into_owned(), Item::Text(left.clone().into()))
                }
            };
            match aim_of_config(aim).convert(value) {
                Ok(value) => {
                    if entries.insert(key, value.into_owned()).is_some() {
                        ledger.at(
                            "table",
                            format_args!(
                                "can't be read backwards: `{left}` becomes what another value becomes too; \
                                 make direction = \"left-to-right\""
                            ),
                        );
                    }
                }
                Err(trouble) => ledger.at("table", format_args!("`{left}`: {}", trouble.message)),
            }
        }
        Some(Table { entries, unlisted })
    }

    fn check_types(&self, source: &End<'_>, target: &End<'_>, ledger: &mut Ledger<'_>) {
        let rule = self.rule;
        let several = source.names.are_several() || target.names.are_several();
        for from_name in source.names.list() {
            let from = source.data_type(from_name);
            if let Some(from) = from
                && !rule.steps.is_empty()
                && from != DataType::Text
            {
                ledger.at(
                    "steps",
                    format_args!("work on text; {} `{from_name}` is {from}", source.key),
                );
            }
            for to_name in target.names.list() {
                let to = target.data_type(to_name);
                let (Some(from), Some(to)) = (from, to) else {
                    continue;
                };
                // A table says itself what becomes of its values.
                if rule.table.is_none() && !convert::is_possible(from, to) {
                    ledger.at(
                        "",
                        format_args!(
                            "there is no safe way from {from} (`{from_name}`) to {to} (`{to_name}`)"
                        ),
                    );
                }
                let single = if source.names.are_several() { to } else { from };
                if several && single != DataType::Text {
                    ledger.at(
                        "",
                        "the field that several others are joined in must be text",
                    );
                }
            }
        }
    }

    fn check_formats(&self, source: &End<'_>, target: &End<'_>, ledger: &mut Ledger<'_>) {
        for (end, other, reads) in [(source, target, true), (target, source, false)] {
            let Some(format) = end.format else { continue };
            let kinds: Vec<DataType> = other
                .names
                .list()
                .iter()
                .filter_map(|name| other.data_type(name))
                .collect();
            let usable = match kinds.first() {
                None => {
                    format_works(format, DataType::Date, reads)
                        || format_works(format, DataType::Timestamp, reads)
                }
                Some(kind) => format_works(format, *kind, reads),
            };
            if !usable {
                let verb = if reads { "read" } else { "write" };
                let what = kinds
                    .first()
                    .map_or("a date or timestamp", |kind| kind.name());
                ledger.at(
                    &format!("{}-format", end.key),
                    format_args!("can't {verb} {what} without loss"),
                );
            }
        }
    }
}

fn format_works(format: &str, kind: DataType, reads: bool) -> bool {
    let format = Some(format);
    match kind {
        DataType::Date => calendar::write_date(SAMPLE_DAYS, format)
            .is_ok_and(|text| !reads || calendar::read_date(&text, format) == Ok(SAMPLE_DAYS)),
        DataType::Timestamp => calendar::write_timestamp(SAMPLE_US, format)
            .is_ok_and(|text| !reads || calendar::read_timestamp(&text, format) == Ok(SAMPLE_US)),
        _ => false,
    }
}

/// Values in the config are spelt in one way, whatever the sides do.
fn aim_of_config(aim: &Aim) -> Aim {
    Aim {
        source: Spelling::default(),
        ..aim.clone()
    }
}

fn literal(value: &Json, aim: &Aim, key: &str, ledger: &mut Ledger<'_>) -> Option<Item<'static>> {
    let Some(item) = Item::from_config(value) else {
        ledger.at(key, "must be a text, number or boolean");
        return None;
    };
    match aim_of_config(aim).convert(item) {
        Ok(item) => Some(item.into_owned()),
        Err(trouble) => {
            ledger.at(key, trouble.message);
            None
        }
    }
}

/// Fields are checked only where the side's fields are known.
fn unknown_fields(end: &End<'_>, ledger: &mut Ledger<'_>) {
    if end.fields.is_empty() {
        return;
    }
    for name in end.names.list() {
        if end.field(name).is_none() {
            ledger.at(
                end.key,
                format_args!("the {} side has no field `{name}`", end.key),
            );
        }
    }
}

impl From<TypeName> for DataType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::Boolean => Self::Boolean,
            TypeName::Integer => Self::Integer,
            TypeName::Float => Self::Float,
            TypeName::Decimal => Self::Decimal,
            TypeName::Text => Self::Text,
            TypeName::Timestamp => Self::Timestamp,
            TypeName::Date => Self::Date,
            TypeName::Bytes => Self::Bytes,
            TypeName::Json => Self::Json,
        }
    }
}
