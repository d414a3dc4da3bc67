//! A batch as a JSON array of objects, and back. A field without value is null or left out; decimals are texts, dates and
//! timestamps are numbers.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use tidegate_sdk::{Batch, Column, DataType, FieldType, Value};

/// The document. Bytes and JSON have no place in it.
///
/// # Errors
/// The batch holds bytes or JSON.
pub fn write(batch: &Batch) -> serde_json::Result<String> {
    serde_json::to_string(&Rows(batch))
}

/// The batch, with a column for each of the fields.
///
/// # Errors
/// The document is not JSON, has other fields, or values of other types.
pub fn read(document: &str, fields: &[FieldType]) -> serde_json::Result<Batch> {
    let columns = fields
        .iter()
        .map(|field| Column::new(field.name.as_str(), field.data_type));
    let mut batch = Batch {
        rows: 0,
        columns: columns.collect(),
    };
    let mut json = serde_json::Deserializer::from_str(document);
    Filling(&mut batch).deserialize(&mut json)?;
    json.end()?;
    Ok(batch)
}

struct Rows<'a>(&'a Batch);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.len()))?;
        for index in 0..self.0.len() {
            rows.serialize_element(&Row {
                columns: &self.0.columns,
                index,
            })?;
        }
        rows.end()
    }
}

struct Row<'a> {
    columns: &'a [Column],
    index: usize,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        for column in self.columns {
            let name = column.name.as_str();
            match column.value(self.index) {
                Value::Unset => {}
                Value::Null => fields.serialize_entry(name, &())?,
                Value::Boolean(value) => fields.serialize_entry(name, &value)?,
                Value::Integer(value) | Value::Timestamp(value) => {
                    fields.serialize_entry(name, &value)?;
                }
                Value::Float(value) => fields.serialize_entry(name, &value)?,
                Value::Date(value) => fields.serialize_entry(name, &value)?,
                Value::Text(value) | Value::Decimal(value) => {
                    fields.serialize_entry(name, value)?;
                }
                Value::Bytes(_) | Value::Json(_) => {
                    return Err(S::Error::custom("bytes and JSON have no place in a row"));
                }
            }
        }
        fields.end()
    }
}

/// Adds the rows of an array.
struct Filling<'b>(&'b mut Batch);

impl<'de> DeserializeSeed<'de> for Filling<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Filling<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let Batch {
            rows: count,
            columns,
        } = self.0;
        while rows.next_element_seed(Fields(columns))?.is_some() {
            *count += 1;
            for column in &mut *columns {
                if column.len() < *count as usize {
                    column.push_unset();
                }
            }
        }
        Ok(())
    }
}

/// Adds one row to the columns that it names.
struct Fields<'c>(&'c mut [Column]);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let count = self.0.len();
        // Rows name their fields in the columns' order as a rule, so the search begins where the last one ended.
        let mut next = 0;
        while let Some(index) = fields.next_key_seed(Place {
            columns: self.0,
            next,
        })? {
            fields.next_value_seed(Cell(&mut self.0[index]))?;
            next = (index + 1) % count;
        }
        Ok(())
    }
}

/// Which column a field's name means.
struct Place<'c> {
    columns: &'c [Column],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let count = self.columns.len();
        (0..count)
            .map(|step| (self.next + step) % count)
            .find(|index| self.columns[*index].name == name)
            .ok_or_else(|| E::custom("a field that is not known"))
    }
}

/// Adds one value to its column.
struct Cell<'c>(&'c mut Column);

impl Cell<'_> {
    fn push<E: Error>(self, value: Value<'_>) -> Result<(), E> {
        self.0.push(value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or null", self.0.data_type())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.0.push_null();
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0.data_type() {
            DataType::Boolean => deserializer.deserialize_bool(self),
            DataType::Integer | DataType::Timestamp | DataType::Date => {
                deserializer.deserialize_i64(self)
            }
            DataType::Float => deserializer.deserialize_f64(self),
            DataType::Decimal | DataType::Text => deserializer.deserialize_str(self),
            DataType::Bytes | DataType::Json => Err(D::Error::custom("a type without a place")),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.push(Value::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.0.data_type() {
            DataType::Float => self.push(Value::Float(value as f64)),
            DataType::Timestamp => self.push(Value::Timestamp(value)),
            DataType::Date => {
                let days = i32::try_from(value).map_err(E::custom)?;
                self.push(Value::Date(days))
            }
            _ => self.push(Value::Integer(value)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(value).map_err(E::custom)?)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.push(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self.0.data_type() {
            DataType::Decimal => self.push(Value::Decimal(value)),
            _ => self.push(Value::Text(value)),
        }
    }
}
