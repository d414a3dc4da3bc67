//! What Salesforce tells of an object, and what it means to the host.

use serde::Deserialize;
use tidegate_sdk::{Field, ObjectSchema};

use crate::kind::Kind;

/// Salesforce keeps a datetime's seconds and drops the rest.
const RESOLUTION_US: u32 = 1_000_000;

/// The answer to a describe, as far as it matters here. What is not told is the careful choice.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Described {
    pub(crate) name: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    pub(crate) createable: bool,
    #[serde(default)]
    pub(crate) updateable: bool,
    #[serde(default)]
    deletable: bool,
    #[serde(default)]
    pub(crate) queryable: bool,
    #[serde(default)]
    pub(crate) replicateable: bool,
    #[serde(default)]
    pub(crate) fields: Vec<DescribedField>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribedField {
    pub(crate) name: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type")]
    vendor_type: String,
    #[serde(default)]
    length: u32,
    #[serde(default)]
    precision: u32,
    #[serde(default)]
    scale: u32,
    #[serde(default)]
    digits: u32,
    #[serde(default)]
    nillable: bool,
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    updateable: bool,
    #[serde(default)]
    defaulted_on_create: bool,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    id_lookup: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    calculated: bool,
    #[serde(default)]
    auto_number: bool,
    #[serde(default)]
    restricted_picklist: bool,
    #[serde(default)]
    deprecated_and_hidden: bool,
    #[serde(default)]
    picklist_values: Vec<Choice>,
    #[serde(default)]
    reference_to: Vec<String>,
    #[serde(default)]
    compound_field_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    value: String,
    #[serde(default)]
    active: bool,
}

impl Described {
    pub(crate) fn field(&self, name: &str) -> Option<&DescribedField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The column that orders changes. `SystemModstamp` also moves when Salesforce itself changes a row.
    pub(crate) fn stamp(&self) -> Option<&'static str> {
        ["SystemModstamp", "LastModifiedDate"]
            .into_iter()
            .find(|name| self.field(name).is_some())
    }

    pub(crate) fn reports_deletes(&self) -> bool {
        self.replicateable || self.field("IsDeleted").is_some()
    }

    pub(crate) fn schema(&self) -> ObjectSchema {
        ObjectSchema {
            name: self.name.clone(),
            label: self.label.clone(),
            fields: self
                .fields
                .iter()
                .filter(|field| !field.deprecated_and_hidden)
                .map(DescribedField::field)
                .collect(),
            id_fields: vec!["Id".to_owned()],
            readable: self.queryable,
            writable: self.createable || self.updateable || self.deletable,
            reports_deletes: self.reports_deletes(),
        }
    }
}

impl DescribedField {
    pub(crate) fn kind(&self) -> Kind {
        Kind::of(&self.vendor_type)
    }

    fn field(&self) -> Field {
        let kind = self.kind();
        let compound = kind == Kind::Json;
        let number = kind == Kind::Decimal;
        let mut field = Field::new(&self.name, kind.data_type());
        field.label.clone_from(&self.label);
        field.nullable = self.nillable;
        // A compound field is written by its components.
        field.creatable = self.createable && !compound;
        field.updatable = self.updateable && !compound;
        field.required = !self.nillable && field.creatable && !self.defaulted_on_create;
        field.upsert_key =
            (self.external_id || self.id_lookup) && self.unique && kind != Kind::Json;
        let sized = matches!(kind, Kind::Text | Kind::Id | Kind::Bytes);
        field.length_max = (sized && self.length > 0).then_some(self.length);
        field.precision = match number {
            true if self.precision > 0 => Some(self.precision),
            _ => None,
        };
        field.scale = number.then_some(self.scale);
        field.resolution_us = (kind == Kind::Timestamp).then_some(RESOLUTION_US);
        field.choices = self.choices();
        field.references.clone_from(&self.reference_to);
        field.notes = self.notes();
        field
    }

    /// A picklist that is not restricted takes any text.
    fn choices(&self) -> Vec<String> {
        if !self.restricted_picklist || self.vendor_type != "picklist" {
            return Vec::new();
        }
        self.picklist_values
            .iter()
            .filter(|choice| choice.active)
            .map(|choice| choice.value.clone())
            .collect()
    }

    fn notes(&self) -> Vec<(String, String)> {
        let mut notes = vec![("type".to_owned(), self.vendor_type.clone())];
        let mut note = |name: &str, value: String| notes.push((name.to_owned(), value));
        if self.digits > 0 {
            note("digits", self.digits.to_string());
        }
        if self.calculated {
            note("calculated", "by a formula or roll-up".to_owned());
        }
        if self.auto_number {
            note("auto-number", "numbered by Salesforce".to_owned());
        }
        if let Some(compound) = &self.compound_field_name {
            note("part-of", compound.clone());
        }
        if self.external_id && !self.unique {
            let advice = "external id, but not unique: tick Unique to make it an upsert key";
            note("external-id", advice.to_owned());
        }
        if self.kind() == Kind::Bytes {
            note("content", "written, but not carried by queries".to_owned());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::DataType;

    use super::*;

    const CONTACT: &str = include_str!("../tests/cases/describe-contact.json");

    fn contact() -> Described {
        serde_json::from_str(CONTACT).expect("a describe")
    }

    #[test]
    fn fields_become_the_hosts() {
        let schema = contact().schema();
        let field = |name: &str| {
            schema
                .fields
                .iter()
                .find(|field| field.name == name)
                .unwrap_or_else(|| panic!("{name}"))
        };
        assert!(schema.readable && schema.writable && schema.reports_deletes);
        let key = field("Tidegate_Id__c");
        assert!(key.upsert_key && !key.required);
        assert_eq!(key.length_max, Some(64));
        assert!(!field("Id").upsert_key && !field("Email").upsert_key);
        assert!(field("LastName").required && !field("FirstName").required);
        // Salesforce fills it in when a create leaves it out.
        assert!(!field("Active__c").required);
        let score = field("Score__c");
        assert_eq!(score.data_type, DataType::Decimal);
        assert_eq!((score.precision, score.scale), (Some(12), Some(2)));
        let address = field("MailingAddress");
        assert_eq!(address.data_type, DataType::Json);
        assert!(!address.creatable && !address.updatable && !address.required);
        assert!(field("MailingPostalCode").creatable);
        assert_eq!(field("Status__c").choices, ["New", "Active"]);
        assert!(field("LeadSource").choices.is_empty(), "an open list");
        assert_eq!(field("AccountId").references, ["Account"]);
        assert_eq!(field("Joined__c").resolution_us, Some(1_000_000));
        assert_eq!(field("Birthdate").data_type, DataType::Date);
        assert!(schema.fields.iter().all(|field| field.name != "Old__c"));
    }
}
