//! Several records that become one, and a lead that becomes an account, a contact and perhaps an opportunity. Each
//! request is a transaction of its own.

use serde_json::json;

use super::envelope::{Element, leaf, nil};
use super::{check_most, errors, records};
use crate::salesforce::answer::{ApiError, Refusal, RowError};
use crate::salesforce::batch::{Fields, ROWS_MAX, own_id};
use crate::salesforce::cell::Cell;
use crate::salesforce::id::Id;
use crate::salesforce::org::Org;
use crate::salesforce::standard::CONVERTED;
use crate::salesforce::transaction::{Began, Transaction};

const LOSERS_MAX: usize = 2;
const LEADS_MAX: usize = 100;

pub(super) fn merge(org: &mut Org, asked: &Element, began: &Began) -> Result<String, ApiError> {
    check_most(asked.all("request").count(), ROWS_MAX)?;
    let mut xml = String::new();
    for request in asked.all("request") {
        let merged = alone(org, began, |rows| merge_one(rows, request))?;
        xml.push_str("<result>");
        match merged {
            Ok(merged) => {
                leaf(&mut xml, "id", &merged.master.to_string());
                for loser in &merged.losers {
                    leaf(&mut xml, "mergedRecordIds", &loser.to_string());
                }
                leaf(&mut xml, "success", "true");
                for related in &merged.related {
                    leaf(&mut xml, "updatedRelatedIds", &related.to_string());
                }
            }
            Err(error) => {
                errors(&mut xml, &error);
                nil(&mut xml, "id");
                leaf(&mut xml, "success", "false");
            }
        }
        xml.push_str("</result>");
    }
    Ok(xml)
}

struct Merged {
    master: Id,
    losers: Vec<Id>,
    /// Children that a loser had and the master has now.
    related: Vec<Id>,
}

fn merge_one(rows: &mut Transaction<'_>, request: &Element) -> Result<Merged, Refusal> {
    let mut masters = request.all("masterRecord");
    let record = masters
        .next()
        .ok_or_else(|| RowError::new("MISSING_ARGUMENT", "masterRecord is missing"))?;
    let table = records::table(rows.org, record)?;
    if !["Lead", "Contact", "Account"].contains(&rows.org.tables[table].object.name.as_str()) {
        let message = "entity type does not support merge";
        return Err(RowError::new("INVALID_TYPE_FOR_OPERATION", message).into());
    }
    let mut fields = record.record();
    let master = own_id(&fields)?;
    fields.retain(|name, _| !name.eq_ignore_ascii_case("id"));
    let losers = request.texts("recordToMergeIds");
    let losers = losers
        .into_iter()
        .map(|id| Id::parse(id).ok_or_else(|| malformed(id)))
        .collect::<Result<Vec<_>, _>>()?;
    if losers.is_empty() || losers.len() > LOSERS_MAX {
        let message = "A merge takes one or two records beside the master";
        return Err(RowError::new("INVALID_NUMBER_OF_RECORDS", message).into());
    }
    if losers.contains(&master) {
        let message = "cannot merge with same entity instance";
        return Err(RowError::new("INVALID_ID_FIELD", message).into());
    }
    let related = rows.merge(table, master, &fields, &losers)?;
    Ok(Merged {
        master,
        losers,
        related,
    })
}

pub(super) fn convert_lead(
    org: &mut Org,
    asked: &Element,
    began: &Began,
) -> Result<String, ApiError> {
    check_most(asked.all("leadConverts").count(), LEADS_MAX)?;
    let mut xml = String::new();
    for request in asked.all("leadConverts") {
        let converted = alone(org, began, |rows| convert_one(rows, request))?;
        let empty = Converted::default();
        let ids = converted.as_ref().unwrap_or(&empty);
        xml.push_str("<result>");
        one(&mut xml, "accountId", ids.account);
        one(&mut xml, "contactId", ids.contact);
        if let Err(error) = &converted {
            errors(&mut xml, error);
        }
        one(&mut xml, "leadId", ids.lead);
        one(&mut xml, "opportunityId", ids.opportunity);
        leaf(
            &mut xml,
            "success",
            if converted.is_ok() { "true" } else { "false" },
        );
        xml.push_str("</result>");
    }
    Ok(xml)
}

#[derive(Default)]
struct Converted {
    lead: Option<Id>,
    account: Option<Id>,
    contact: Option<Id>,
    opportunity: Option<Id>,
}

fn one(xml: &mut String, name: &str, id: Option<Id>) {
    match id {
        Some(id) => leaf(xml, name, &id.to_string()),
        None => nil(xml, name),
    }
}

fn convert_one(rows: &mut Transaction<'_>, request: &Element) -> Result<Converted, Refusal> {
    let given = |name: &str| {
        let id = request.text(name);
        id.map(|id| Id::parse(id).ok_or_else(|| malformed(id)))
            .transpose()
    };
    let missing = || RowError::new("MISSING_ARGUMENT", "leadId is missing");
    let lead = given("leadId")?.ok_or_else(missing)?;
    let (account, contact) = (given("accountId")?, given("contactId")?);
    let status = request.text("convertedStatus").unwrap_or_default();
    if status != CONVERTED {
        let message = format!("invalid convertedStatus: {status}");
        return Err(RowError::new("INVALID_STATUS", message).into());
    }
    if contact.is_some() && account.is_none() {
        let message = "accountId has to be given where contactId is";
        return Err(RowError::new("MISSING_ARGUMENT", message).into());
    }
    let table = rows.org.table("Lead")?;
    let row = rows.existing(table, lead)?.clone();
    let fields = rows.org.tables[table].dump(lead, &row);
    if fields["IsConverted"] == json!(true) {
        let message = "cannot reference converted lead";
        return Err(RowError::new("CANNOT_UPDATE_CONVERTED_LEAD", message).into());
    }
    let account = match account {
        Some(account) => account,
        None => {
            let made = taken(&fields, &[("Name", "Company"), ("Phone", "Phone")]);
            rows.create(rows.org.table("Account")?, &made)?
        }
    };
    let contact = match contact {
        Some(contact) => contact,
        None => {
            let same =
                ["LastName", "FirstName", "Email", "Phone", "Title"].map(|name| (name, name));
            let mut made = taken(&fields, &same);
            made.insert("AccountId".to_owned(), json!(account.to_string()));
            rows.create(rows.org.table("Contact")?, &made)?
        }
    };
    let opportunity = if request.flag("doNotCreateOpportunity") {
        None
    } else {
        let mut made = taken(&fields, &[("Name", "Company")]);
        if let Some(name) = request.text("opportunityName") {
            made.insert("Name".to_owned(), json!(name));
        }
        made.insert("AccountId".to_owned(), json!(account.to_string()));
        made.insert("StageName".to_owned(), json!("Prospecting"));
        made.insert("CloseDate".to_owned(), json!(rows.today().to_string()));
        Some(rows.create(rows.org.table("Opportunity")?, &made)?)
    };
    let mut kept = vec![
        ("Status", Cell::text(CONVERTED)),
        ("IsConverted", Cell::Flag(true)),
        ("ConvertedDate", Cell::Day(rows.today())),
        ("ConvertedAccountId", Cell::Link(account)),
        ("ConvertedContactId", Cell::Link(contact)),
    ];
    kept.extend(opportunity.map(|id| ("ConvertedOpportunityId", Cell::Link(id))));
    rows.overwrite(table, lead, kept)?;
    Ok(Converted {
        lead: Some(lead),
        account: Some(account),
        contact: Some(contact),
        opportunity,
    })
}

/// Fields of a lead under other names, empty ones left out.
fn taken(lead: &Fields, names: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (to, from) in names {
        let value = lead.get(*from).filter(|value| !value.is_null());
        if let Some(value) = value.cloned() {
            fields.insert((*to).to_owned(), value);
        }
    }
    fields
}

fn malformed(id: &str) -> RowError {
    RowError::new("MALFORMED_ID", format!("bad id {id}"))
}

/// One request in a transaction of its own.
fn alone<T>(
    org: &mut Org,
    began: &Began,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<T, Refusal>,
) -> Result<Result<T, RowError>, ApiError> {
    let mut transaction = Transaction::new(org, began);
    let start = transaction.mark();
    let done = write(&mut transaction).map_err(Refusal::of_row);
    if done.is_err() {
        transaction.rollback(start);
    }
    transaction.commit()?;
    Ok(done)
}
