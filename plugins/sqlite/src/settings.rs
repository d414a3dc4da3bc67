//! The endpoint's config table.

use std::collections::BTreeMap;

use serde::Deserialize;

use tidegate_sdk::{DataType, Fault};

/// How moments are written, and how numbers in their columns are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timestamps {
    /// `2024-05-01 10:20:30`, the form that SQLite's own functions give.
    #[default]
    Text,
    /// `2024-05-01T10:20:30Z`
    Iso,
    Seconds,
    Milliseconds,
}

impl Timestamps {
    /// Microseconds that survive a write and a read.
    pub(crate) fn resolution_us(self) -> u32 {
        match self {
            Self::Text | Self::Iso => 1,
            Self::Milliseconds => 1_000,
            Self::Seconds => 1_000_000,
        }
    }
}

/// A type as the config spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TypeName(pub(crate) DataType);

impl TryFrom<String> for TypeName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        DataType::from_name(&name)
            .map(Self)
            .ok_or_else(|| format!("there is no type {name}"))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    pub outbox: String,
    /// Tables that may be seen; all when absent.
    pub tables: Option<Vec<String>>,
    pub timestamps: Timestamps,
    /// By table and column.
    pub types: BTreeMap<String, BTreeMap<String, TypeName>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            outbox: "tidegate_outbox".to_owned(),
            tables: None,
            timestamps: Timestamps::default(),
            types: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads the config as the host hands it over. Empty text is an empty config.
    pub fn read(json: &str) -> Result<Self, Fault> {
        let json = if json.trim().is_empty() { "{}" } else { json };
        serde_json::from_str(json).map_err(|error| {
            Fault::config(
                "config",
                format!("the endpoint's config can't be read: {error}"),
            )
        })
    }

    /// Name of the table that holds the database's identity and the tables' numbers.
    pub(crate) fn meta(&self) -> String {
        format!("{}_meta", self.outbox)
    }

    /// Name of the table that counts the earlier lives of row numbers.
    pub(crate) fn lives(&self) -> String {
        format!("{}_lives", self.outbox)
    }

    /// Whether a table is the customer's and the operator lets us see it.
    pub(crate) fn sees(&self, table: &str) -> bool {
        let ours = [self.outbox.clone(), self.meta(), self.lives()].contains(&table.to_owned());
        let listed = self
            .tables
            .as_ref()
            .is_none_or(|tables| tables.iter().any(|listed| listed == table));
        !ours && listed
    }
}
