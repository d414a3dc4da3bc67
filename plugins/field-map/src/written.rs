//! The config as its author wrote it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config<'a> {
    /// Read one by one, so that a mistake in one rule does not hide those in the next.
    #[serde(borrow)]
    pub(crate) rules: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Rule {
    #[serde(default)]
    pub(crate) left: Names,
    #[serde(default)]
    pub(crate) right: Names,
    pub(crate) direction: Option<Ways>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    pub(crate) constant: Option<Json>,
    pub(crate) left_default: Option<Json>,
    pub(crate) right_default: Option<Json>,
    pub(crate) table: Option<BTreeMap<String, Json>>,
    pub(crate) unlisted: Option<Unlisted>,
    pub(crate) separator: Option<String>,
    pub(crate) scale: Option<u32>,
    pub(crate) rounding: Option<Rounding>,
    pub(crate) point: Option<String>,
    pub(crate) thousands: Option<String>,
    pub(crate) boolean: Option<Words>,
    pub(crate) time: Option<TimeOfDay>,
    pub(crate) left_type: Option<TypeName>,
    pub(crate) right_type: Option<TypeName>,
    pub(crate) left_format: Option<String>,
    pub(crate) right_format: Option<String>,
}

/// Nothing, one field, or several.
#[derive(Clone, Debug, Default)]
pub(crate) enum Names {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

/// By hand, since each rule has two of them: a derived enum without tags words an error for every case that it tries
/// in vain.
impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name, or a list of names")
            }

            fn visit_unit<E: Error>(self) -> Result<Names, E> {
                Ok(Names::None)
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names::One(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Names, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(Names::Several)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl Names {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    pub(crate) fn are_several(&self) -> bool {
        matches!(self, Self::Several(_))
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ways {
    Both,
    LeftToRight,
    RightToLeft,
}

/// What may be done to a text; each gives the same when done twice.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    Trim,
    CollapseSpaces,
    Upper,
    Lower,
    Title,
    EmptyToNull,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unlisted {
    #[default]
    Refuse,
    Keep,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rounding {
    /// A number with more digits than fit is a row error.
    #[default]
    Refuse,
    HalfUp,
    HalfEven,
    Down,
    Up,
}

/// The first word of each list is the one that is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    #[serde(rename = "true")]
    pub(crate) yes: Vec<String>,
    #[serde(rename = "false")]
    pub(crate) no: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TimeOfDay {
    /// A timestamp becomes the date that it has in UTC, whatever its time of day.
    Drop,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TypeName {
    Boolean,
    Integer,
    Float,
    Decimal,
    Text,
    Timestamp,
    Date,
    Bytes,
    Json,
}
