//! The objects that the simulated org starts with, and the grammar for adding fields to them.

use super::schema::{Field, Kind, Object, Source};

/// A field that was asked for in words and can't be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "field {text:?}: {reason}; write it as OBJECT.NAME__c:KIND[:external][:unique][:required], \
         KIND one of text(40) textarea(32000) number(12,2) checkbox date datetime email phone url \
         picklist(a|b) lookup(Account)"
)]
pub struct FieldError {
    text: String,
    reason: &'static str,
}

pub(crate) fn objects() -> Vec<Object> {
    vec![
        contact(),
        account(),
        opportunity(),
        lead(),
        case(),
        organization(),
    ]
}

fn contact() -> Object {
    let mut contact = Object::new("Contact", "Contacts", *b"003", true);
    contact.stored("AccountId", lookup("Account"), 18);
    contact.stored("ReportsToId", lookup("Contact"), 18);
    contact.stored("LastName", Kind::Text, 80).required = true;
    contact.stored("FirstName", Kind::Text, 40);
    contact.stored("Email", Kind::Email, 80);
    contact.stored("Phone", Kind::Phone, 40);
    contact.stored("Title", Kind::Text, 128);
    contact.stored("Birthdate", Kind::Date, 0);
    contact.stored("Description", Kind::TextArea, 32_000);
    address(&mut contact, "Mailing");
    contact.stored("Score__c", number(12, 2), 0);
    contact.stored("Active__c", Kind::Checkbox, 0);
    contact.stored("Joined__c", Kind::Datetime, 0);
    let statuses = ["new", "active", "paused", "closed"];
    contact.stored("Status__c", picklist(&statuses, true), 255);
    key(&mut contact);
    full_name(&mut contact);
    contact
}

fn account() -> Object {
    let mut account = Object::new("Account", "Accounts", *b"001", true);
    account.stored("Name", Kind::Text, 255).required = true;
    account.stored("ParentId", lookup("Account"), 18);
    account.stored("Phone", Kind::Phone, 40);
    account.stored("Website", Kind::Url, 255);
    account.stored("Description", Kind::TextArea, 32_000);
    address(&mut account, "Billing");
    account.stored("NumberOfEmployees", Kind::Integer, 0);
    account.stored("AnnualRevenue", number(18, 0), 0);
    key(&mut account);
    account
}

fn opportunity() -> Object {
    let mut opportunity = Object::new("Opportunity", "Opportunities", *b"006", true);
    opportunity.stored("AccountId", lookup("Account"), 18);
    opportunity.stored("Name", Kind::Text, 120).required = true;
    let stages = ["Prospecting", "Qualification", "Closed Won", "Closed Lost"];
    opportunity
        .stored("StageName", picklist(&stages, false), 255)
        .required = true;
    opportunity.stored("CloseDate", Kind::Date, 0).required = true;
    opportunity.stored("Amount", number(18, 2), 0);
    opportunity.stored("Description", Kind::TextArea, 32_000);
    key(&mut opportunity);
    opportunity
}

/// What a conversion leaves in a lead is written by the conversion alone.
fn lead() -> Object {
    let mut lead = Object::new("Lead", "Leads", *b"00Q", true);
    lead.stored("LastName", Kind::Text, 80).required = true;
    lead.stored("FirstName", Kind::Text, 40);
    lead.stored("Company", Kind::Text, 255).required = true;
    lead.stored("Title", Kind::Text, 128);
    lead.stored("Email", Kind::Email, 80);
    lead.stored("Phone", Kind::Phone, 40);
    let statuses = ["Open - Not Contacted", "Working - Contacted", CONVERTED];
    lead.stored("Status", picklist(&statuses, false), 255);
    lead.stored("IsConverted", Kind::Checkbox, 0).writable = false;
    lead.stored("ConvertedDate", Kind::Date, 0).writable = false;
    for to in ["Account", "Contact", "Opportunity"] {
        let name = format!("Converted{to}Id");
        lead.stored(&name, lookup(to), 18).writable = false;
    }
    key(&mut lead);
    full_name(&mut lead);
    lead
}

fn case() -> Object {
    let mut case = Object::new("Case", "Cases", *b"500", true);
    case.stored("AccountId", lookup("Account"), 18);
    case.stored("ContactId", lookup("Contact"), 18);
    case.stored("Subject", Kind::Text, 255);
    case.stored("Description", Kind::TextArea, 32_000);
    let statuses = ["New", "Working", "Escalated", "Closed"];
    case.stored("Status", picklist(&statuses, false), 255);
    let priorities = ["High", "Medium", "Low"];
    case.stored("Priority", picklist(&priorities, false), 255);
    key(&mut case);
    case
}

/// The status of a lead that counts as converted.
pub(crate) const CONVERTED: &str = "Closed - Converted";

fn lookup(to: &str) -> Kind {
    Kind::Reference { to: to.to_owned() }
}

fn picklist(values: &[&str], restricted: bool) -> Kind {
    Kind::Picklist {
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        restricted,
    }
}

/// The key that the other side's records are known by.
fn key(object: &mut Object) {
    let key = object.stored("Tidegate_Id__c", Kind::Text, 40);
    key.external_id = true;
    key.unique = true;
}

fn full_name(object: &mut Object) {
    let (first, last) = (object.cell("FirstName"), object.cell("LastName"));
    if let Some(last) = last {
        let name = object.system("Name", Kind::Text, Source::FullName(first, last));
        name.length = 121;
    }
}

fn organization() -> Object {
    let mut organization = Object::new("Organization", "Organizations", *b"00D", false);
    organization.stored("Name", Kind::Text, 80);
    organization.stored("IsSandbox", Kind::Checkbox, 0);
    organization.stored("OrganizationType", Kind::Text, 40);
    organization
}

fn number(precision: u32, scale: u32) -> Kind {
    Kind::Number { precision, scale }
}

/// Four components that are written, and the compound that is only read.
fn address(object: &mut Object, stem: &str) {
    let compound = if stem == "Mailing" {
        "MailingAddress"
    } else {
        "BillingAddress"
    };
    let parts = [
        ("Street", Kind::TextArea, 255),
        ("City", Kind::Text, 40),
        ("PostalCode", Kind::Text, 20),
        ("Country", Kind::Text, 80),
    ];
    let cells = parts.map(|(part, kind, length)| {
        let cell = object.cells;
        object
            .stored(&format!("{stem}{part}"), kind, length)
            .compound = Some(compound);
        cell
    });
    object.system(compound, Kind::Address, Source::Address(cells));
}

/// Adds the field that `text` asks for, as in `Contact.Legacy_Id__c:text(40):external`.
pub(crate) fn add_field(objects: &mut [Object], text: &str) -> Result<(), FieldError> {
    let error = |reason| FieldError {
        text: text.to_owned(),
        reason,
    };
    let mut parts = text.split(':');
    let path = parts.next().unwrap_or_default();
    let (object, name) = path
        .split_once('.')
        .ok_or_else(|| error("no object before the name"))?;
    let object = objects
        .iter_mut()
        .find(|found| found.name.eq_ignore_ascii_case(object))
        .ok_or_else(|| error("no such object"))?;
    if object.field(name).is_some() || !name.ends_with("__c") {
        return Err(error("the name is taken, or does not end in __c"));
    }
    let kind = parts.next().ok_or_else(|| error("no kind"))?;
    let (kind, length) = parse_kind(kind).ok_or_else(|| error("no such kind"))?;
    let field = object.stored(name, kind, length);
    for flag in parts {
        set_flag(field, flag).ok_or_else(|| error("no such flag"))?;
    }
    Ok(())
}

fn set_flag(field: &mut Field, flag: &str) -> Option<()> {
    match flag {
        "external" => field.external_id = true,
        "unique" => field.unique = true,
        "required" => field.required = true,
        _ => return None,
    }
    Some(())
}

fn parse_kind(text: &str) -> Option<(Kind, usize)> {
    let (word, argument) = match text.strip_suffix(')') {
        Some(open) => open.split_once('(')?,
        None => (text, ""),
    };
    let size = |default: usize| match argument {
        "" => Some(default),
        size => size.parse().ok(),
    };
    Some(match word {
        "text" => (Kind::Text, size(255)?),
        "textarea" => (Kind::TextArea, size(32_000)?),
        "email" => (Kind::Email, 80),
        "phone" => (Kind::Phone, 40),
        "url" => (Kind::Url, 255),
        "checkbox" => (Kind::Checkbox, 0),
        "date" => (Kind::Date, 0),
        "datetime" => (Kind::Datetime, 0),
        "number" => {
            let (precision, scale) = argument.split_once(',')?;
            let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
            (precision <= 18 && scale <= precision).then_some((number(precision, scale), 0))?
        }
        "picklist" => {
            let values = argument.split('|').map(str::to_owned).collect();
            let restricted = true;
            (Kind::Picklist { values, restricted }, 255)
        }
        "lookup" => (lookup(argument), 18),
        _ => return None,
    })
}
