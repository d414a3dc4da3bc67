//! From one type to another, wherever that loses nothing, or loses what the rule allows.

use std::borrow::Cow;

use tidegate_sdk::DataType;

use crate::calendar;
use crate::item::{Item, Trouble};
use crate::number;
use crate::written::{Rounding, TimeOfDay};

/// Whole numbers up to here are exact in binary floating point.
const FLOAT_EXACT_MAX: i64 = 1 << 53;

/// How a side spells values that it keeps as text.
#[derive(Clone, Debug)]
pub(crate) struct Spelling {
    /// Of dates and timestamps, as for strftime.
    pub(crate) format: Option<String>,
    pub(crate) point: Cow<'static, str>,
    pub(crate) thousands: Option<String>,
    /// Words for true and false; the first of each is written.
    pub(crate) yes: Words,
    pub(crate) no: Words,
}

/// Borrowed where the config says nothing: there is one for each side of each rule, in every call.
type Words = Cow<'static, [Cow<'static, str>]>;

const YES: &[Cow<'static, str>] = &[Cow::Borrowed("true")];
const NO: &[Cow<'static, str>] = &[Cow::Borrowed("false")];

impl Default for Spelling {
    fn default() -> Self {
        Self {
            format: None,
            point: ".".into(),
            thousands: None,
            yes: YES.into(),
            no: NO.into(),
        }
    }
}

/// What a value must become.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    /// Absent: the type that it has.
    pub(crate) data_type: Option<DataType>,
    pub(crate) scale: Option<u32>,
    pub(crate) rounding: Rounding,
    pub(crate) time: Option<TimeOfDay>,
    /// How text is read, and how it is written.
    pub(crate) source: Spelling,
    pub(crate) target: Spelling,
}

/// Whether there is a way at all.
pub(crate) fn is_possible(from: DataType, to: DataType) -> bool {
    use DataType::{Boolean, Date, Decimal, Float, Integer, Text, Timestamp};
    from == to
        || matches!(
            (from, to),
            (Text, Boolean | Integer | Float | Decimal | Timestamp | Date)
                | (Boolean | Integer | Float | Decimal | Timestamp | Date, Text)
                | (Integer, Boolean | Float | Decimal)
                | (Boolean, Integer)
                | (Float, Integer | Decimal)
                | (Decimal, Integer | Float)
                | (Date, Timestamp)
                | (Timestamp, Date)
        )
}

impl Aim {
    /// Whether values of this type pass as they are.
    pub(crate) fn is_idle(&self, from: DataType) -> bool {
        let same = self.data_type.is_none_or(|to| to == from);
        same && !(from == DataType::Decimal && self.scale.is_some())
    }

    pub(crate) fn convert<'a>(&self, item: Item<'a>) -> Result<Item<'a>, Trouble> {
        let Some(from) = item.data_type() else {
            return Ok(Item::Null);
        };
        match self.data_type.unwrap_or(from) {
            to if to == from && to != DataType::Decimal => Ok(item),
            DataType::Boolean => self.boolean(&item).map(Item::Boolean),
            DataType::Integer => self.integer(&item).map(Item::Integer),
            DataType::Float => self.float(&item).map(Item::Float),
            DataType::Decimal => self.decimal(item),
            DataType::Text => Ok(Item::Text(text(&item, &self.target)?.into_owned().into())),
            DataType::Timestamp => self.timestamp(&item).map(Item::Timestamp),
            DataType::Date => self.date(&item).map(Item::Date),
            to @ (DataType::Bytes | DataType::Json) => Err(no_way(&item, to)),
        }
    }

    fn boolean(&self, item: &Item<'_>) -> Result<bool, Trouble> {
        let is_one_of = |words: &[Cow<'static, str>], text: &str| {
            let text = text.trim().to_lowercase();
            words.iter().any(|word| word.to_lowercase() == text)
        };
        match item {
            Item::Integer(0) => Ok(false),
            Item::Integer(1) => Ok(true),
            Item::Text(text) if is_one_of(&self.source.yes, text) => Ok(true),
            Item::Text(text) if is_one_of(&self.source.no, text) => Ok(false),
            Item::Text(_) | Item::Integer(_) => {
                let kind = item.value().kind();
                Err(Trouble::new(
                    "not-a-boolean",
                    format!("this {kind} means neither true nor false"),
                ))
            }
            _ => Err(no_way(item, DataType::Boolean)),
        }
    }

    fn integer(&self, item: &Item<'_>) -> Result<i64, Trouble> {
        match item {
            Item::Boolean(value) => Ok(i64::from(*value)),
            Item::Float(value) => number::whole(&value.to_string(), self.rounding),
            Item::Decimal(value) => number::whole(value, self.rounding),
            Item::Text(text) => number::whole(&self.numeral(text)?, self.rounding),
            _ => Err(no_way(item, DataType::Integer)),
        }
    }

    fn float(&self, item: &Item<'_>) -> Result<f64, Trouble> {
        let parsed = match item {
            Item::Integer(value) if value.unsigned_abs() > FLOAT_EXACT_MAX.unsigned_abs() => {
                return Err(Trouble::new(
                    "not-exact",
                    "this whole number is too large to be kept exactly as a float",
                ));
            }
            Item::Integer(value) => return Ok(*value as f64),
            Item::Decimal(value) => value.parse(),
            Item::Text(text) => self.numeral(text)?.parse(),
            _ => return Err(no_way(item, DataType::Float)),
        };
        parsed
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| Trouble::new("out-of-range", "this number does not fit a float"))
    }

    fn decimal<'a>(&self, item: Item<'a>) -> Result<Item<'a>, Trouble> {
        let number: Cow<'a, str> = match item {
            Item::Integer(value) => value.to_string().into(),
            Item::Float(value) => value.to_string().into(),
            Item::Decimal(value) => value,
            Item::Text(Cow::Borrowed(text)) => self.numeral(text)?,
            Item::Text(Cow::Owned(text)) => self.numeral(&text)?.into_owned().into(),
            other => return Err(no_way(&other, DataType::Decimal)),
        };
        Ok(Item::Decimal(match self.scale {
            Some(scale) => number::fit(number, scale, self.rounding)?,
            None => number,
        }))
    }

    fn numeral<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, Trouble> {
        number::parse(text, &self.source.point, self.source.thousands.as_deref())
    }

    fn timestamp(&self, item: &Item<'_>) -> Result<i64, Trouble> {
        match item {
            Item::Date(days) => Ok(calendar::midnight(*days)),
            Item::Text(text) => calendar::read_timestamp(text, self.source.format.as_deref()),
            _ => Err(no_way(item, DataType::Timestamp)),
        }
    }

    fn date(&self, item: &Item<'_>) -> Result<i32, Trouble> {
        match item {
            Item::Text(text) => calendar::read_date(text, self.source.format.as_deref()),
            Item::Timestamp(value) => match calendar::date_of(*value)? {
                (days, midnight) if midnight || self.time == Some(TimeOfDay::Drop) => Ok(days),
                _ => Err(Trouble::new(
                    "time-of-day",
                    "this timestamp has a time of day, which a date can't hold; say time = \"drop\" to drop it",
                )),
            },
            _ => Err(no_way(item, DataType::Date)),
        }
    }
}

/// As text; bytes and JSON have no text of their own.
pub(crate) fn text<'a>(item: &'a Item<'_>, spelling: &Spelling) -> Result<Cow<'a, str>, Trouble> {
    let numeral =
        |number: &str| number::write(number, &spelling.point, spelling.thousands.as_deref());
    Ok(match item {
        Item::Null => "".into(),
        Item::Text(text) => text.as_ref().into(),
        Item::Boolean(true) => spelling.yes.first().cloned().unwrap_or_default(),
        Item::Boolean(false) => spelling.no.first().cloned().unwrap_or_default(),
        Item::Integer(value) => numeral(&value.to_string()).into(),
        Item::Float(value) => numeral(&value.to_string()).into(),
        Item::Decimal(value) => numeral(value).into(),
        Item::Timestamp(value) => {
            calendar::write_timestamp(*value, spelling.format.as_deref())?.into()
        }
        Item::Date(days) => calendar::write_date(*days, spelling.format.as_deref())?.into(),
        Item::Bytes(_) | Item::Json(_) => return Err(no_way(item, DataType::Text)),
    })
}

fn no_way(item: &Item<'_>, to: DataType) -> Trouble {
    let from = item.value().kind();
    Trouble::new(
        "wrong-type",
        format!("there is no safe way from {from} to {to}"),
    )
}
