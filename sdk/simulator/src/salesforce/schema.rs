//! Objects and their fields, as `describe` tells them and as writes are checked against.

use std::collections::HashMap;

use super::id::Id;

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Id,
    Reference {
        to: String,
    },
    Text,
    TextArea,
    Email,
    Phone,
    Url,
    Picklist {
        values: Vec<String>,
        restricted: bool,
    },
    Checkbox,
    Number {
        precision: u32,
        scale: u32,
    },
    Integer,
    Date,
    Datetime,
    Address,
}

/// Where a field's value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The row's own cell of this number.
    Cell(usize),
    Id,
    IsDeleted,
    Master,
    Created,
    Modified,
    Stamp,
    User,
    /// First and last name from these cells.
    FullName(Option<usize>, usize),
    /// Street, city, postal code and country from these cells.
    Address([usize; 4]),
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    /// UTF-16 units.
    pub(crate) length: usize,
    pub(crate) required: bool,
    pub(crate) writable: bool,
    pub(crate) external_id: bool,
    pub(crate) unique: bool,
    /// Invisible to the API user, as field-level security makes it.
    pub(crate) hidden: bool,
    pub(crate) compound: Option<&'static str>,
}

impl Field {
    pub(crate) fn custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    pub(crate) fn filterable(&self) -> bool {
        match self.kind {
            Kind::Address => false,
            Kind::TextArea => self.length <= 255,
            _ => true,
        }
    }

    /// Found by its value through an index: keys, and parents for their children's sake.
    pub(crate) fn indexed(&self) -> bool {
        self.external_id || self.unique || matches!(self.kind, Kind::Reference { .. })
    }

    /// The name under which a parent is spelled out: `Account` for `AccountId`, `X__r` for `X__c`.
    pub(crate) fn relationship(&self) -> Option<String> {
        if !matches!(self.kind, Kind::Reference { .. }) {
            return None;
        }
        self.name
            .strip_suffix("__c")
            .map(|stem| format!("{stem}__r"))
            .or_else(|| self.name.strip_suffix("Id").map(str::to_owned))
    }

    /// Digits after the point, where the field holds a number.
    pub(crate) fn scale(&self) -> u32 {
        match self.kind {
            Kind::Number { scale, .. } => scale,
            _ => 0,
        }
    }
}

/// One sObject.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) plural: String,
    pub(crate) prefix: [u8; 3],
    pub(crate) writable: bool,
    pub(crate) cells: usize,
    pub(crate) fields: Vec<Field>,
    by_name: HashMap<String, usize>,
}

impl Object {
    pub(crate) fn new(name: &str, plural: &str, prefix: [u8; 3], writable: bool) -> Self {
        let mut object = Self {
            name: name.to_owned(),
            plural: plural.to_owned(),
            prefix,
            writable,
            cells: 0,
            fields: Vec::new(),
            by_name: HashMap::new(),
        };
        object.system("Id", Kind::Id, Source::Id);
        object.system("IsDeleted", Kind::Checkbox, Source::IsDeleted);
        let itself = Kind::Reference {
            to: name.to_owned(),
        };
        object.system("MasterRecordId", itself, Source::Master);
        object.system("CreatedDate", Kind::Datetime, Source::Created);
        object.system("CreatedById", user(), Source::User);
        object.system("LastModifiedDate", Kind::Datetime, Source::Modified);
        object.system("LastModifiedById", user(), Source::User);
        object.system("SystemModstamp", Kind::Datetime, Source::Stamp);
        object
    }

    /// Case does not matter in names.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let place = self
            .by_name
            .get(name)
            .or_else(|| self.by_name.get(&name.to_ascii_lowercase()))?;
        let field = &self.fields[*place];
        (!field.hidden).then_some(field)
    }

    pub(crate) fn field_mut(&mut self, name: &str) -> Option<&mut Field> {
        let place = self.by_name.get(&name.to_ascii_lowercase())?;
        self.fields.get_mut(*place)
    }

    pub(crate) fn visible(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.hidden)
    }

    /// The cell of a stored field; only for names that this crate itself put in.
    pub(crate) fn cell(&self, name: &str) -> Option<usize> {
        match self.field(name)?.source {
            Source::Cell(cell) => Some(cell),
            _ => None,
        }
    }

    pub(crate) fn holds(&self, id: Id) -> bool {
        id.prefix() == self.prefix
    }

    /// Adds a field that is stored, with the length that its kind has by default.
    pub(crate) fn stored(&mut self, name: &str, kind: Kind, length: usize) -> &mut Field {
        let source = Source::Cell(self.cells);
        self.cells += 1;
        self.add(name, kind, source, length, true)
    }

    pub(crate) fn system(&mut self, name: &str, kind: Kind, source: Source) -> &mut Field {
        let length = if matches!(kind, Kind::Id | Kind::Reference { .. }) {
            18
        } else {
            0
        };
        self.add(name, kind, source, length, false)
    }

    fn add(
        &mut self,
        name: &str,
        kind: Kind,
        source: Source,
        length: usize,
        writable: bool,
    ) -> &mut Field {
        let place = self.fields.len();
        self.by_name.insert(name.to_owned(), place);
        self.by_name.insert(name.to_ascii_lowercase(), place);
        self.fields.push(Field {
            name: name.to_owned(),
            label: label(name),
            kind,
            source,
            length,
            required: false,
            writable,
            external_id: false,
            unique: false,
            hidden: false,
            compound: None,
        });
        &mut self.fields[place]
    }
}

fn user() -> Kind {
    Kind::Reference {
        to: "User".to_owned(),
    }
}

/// `FirstName` reads as `First Name`, `Tidegate_Id__c` as `Tidegate Id`.
fn label(name: &str) -> String {
    let stem = name.trim_end_matches("__c").replace('_', " ");
    let mut label = String::with_capacity(stem.len() + 4);
    let mut before = ' ';
    for letter in stem.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            label.push(' ');
        }
        label.push(letter);
        before = letter;
    }
    label
}
