//! Metadata: what there is, which fields it has, and how much of the day's calls is left.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError};
use super::call::Call;
use super::moment;
use super::org::Org;
use super::schema::{Field, Kind, Object, Source};
use crate::answer::http_date;

pub(crate) fn resources(call: &Call) -> Answer {
    let base = format!("/services/data/{}", call.version);
    let body: Map<String, Value> = [
        "sobjects",
        "query",
        "queryAll",
        "composite",
        "limits",
        "jobs",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), json!(format!("{base}/{name}"))))
    .collect();
    Answer::json(200, Value::Object(body))
}

/// The first version with record counts.
const RECORD_COUNT_VERSION: u32 = 40;

pub(crate) fn limits(org: &mut Org, now_ms: u64) -> Answer {
    let limit = org.ledger.limit();
    let left = limit.saturating_sub(org.ledger.used(now_ms));
    let batches = org.bulk.batches.limit();
    let batches_left = batches.saturating_sub(org.bulk.batches.used(now_ms));
    let query_jobs = org.bulk.query_jobs.limit();
    let query_jobs_left = query_jobs.saturating_sub(org.bulk.query_jobs.used(now_ms));
    let body = json!({
        "DailyApiRequests": {"Max": limit, "Remaining": left},
        "DailyBulkApiBatches": {"Max": batches, "Remaining": batches_left},
        "DailyBulkV2QueryJobs": {"Max": query_jobs, "Remaining": query_jobs_left},
    });
    Answer::json(200, body)
}

/// Records that are not in the recycle bin. An object without any, and one that is unknown, is left out.
pub(crate) fn record_count(org: &Org, call: &Call) -> Result<Answer, ApiError> {
    let version = call.version.trim_start_matches('v').split('.').next();
    let version: u32 = version
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    if version < RECORD_COUNT_VERSION {
        return Err(ApiError::missing());
    }
    let asked: Option<Vec<&str>> = call
        .parameter("sObjects")
        .map(|names| names.split(',').map(str::trim).collect());
    let wanted = |name: &str| {
        let asked = asked.as_ref();
        asked.is_none_or(|asked| asked.iter().any(|asked| asked.eq_ignore_ascii_case(name)))
    };
    let counts: Vec<Value> = org
        .tables
        .iter()
        .filter(|table| wanted(&table.object.name) && table.live() > 0)
        .map(|table| json!({"count": table.live(), "name": table.object.name}))
        .collect();
    Ok(Answer::json(200, json!({ "sObjects": counts })))
}

pub(crate) fn objects(org: &Org, call: &Call) -> Answer {
    let objects: Vec<Value> = org
        .tables
        .iter()
        .map(|table| Value::Object(of_object(&table.object, call)))
        .collect();
    let body = json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects});
    Answer::json(200, body)
}

pub(crate) fn object(org: &Org, call: &Call, object: &str) -> Result<Answer, ApiError> {
    let table = &org.tables[org.table(object)?];
    let body = json!({"objectDescribe": of_object(&table.object, call), "recentItems": []});
    Ok(Answer::json(200, body))
}

pub(crate) fn describe(org: &Org, call: &Call, object: &str) -> Result<Answer, ApiError> {
    let table = &org.tables[org.table(object)?];
    let unchanged = call
        .header("if-modified-since")
        .and_then(moment::read_http_date)
        .is_some_and(|since_ms| since_ms >= org.described_ms);
    if unchanged {
        return Ok(Answer::empty(304));
    }
    let mut body = of_object(&table.object, call);
    let fields: Vec<Value> = table.object.visible().map(of_field).collect();
    body.insert("fields".to_owned(), fields.into());
    body.insert(
        "childRelationships".to_owned(),
        children(org, &table.object),
    );
    body.insert("recordTypeInfos".to_owned(), json!([]));
    let changed_ms = u64::try_from(org.described_ms).unwrap_or(0);
    Ok(Answer::json(200, Value::Object(body)).with("last-modified", http_date(changed_ms)))
}

fn of_object(object: &Object, call: &Call) -> Map<String, Value> {
    let base = format!("/services/data/{}/sobjects/{}", call.version, object.name);
    let prefix: String = object.prefix.iter().copied().map(char::from).collect();
    let writable = object.writable;
    let described = json!({
        "name": object.name, "label": object.name, "labelPlural": object.plural,
        "keyPrefix": prefix, "custom": false, "customSetting": false,
        "createable": writable, "updateable": writable, "deletable": writable,
        "undeletable": writable, "mergeable": writable, "triggerable": writable,
        "queryable": true, "retrieveable": true, "replicateable": writable,
        "searchable": writable, "layoutable": writable, "feedEnabled": false,
        "deprecatedAndHidden": false,
        "urls": {
            "sobject": base, "describe": format!("{base}/describe"),
            "rowTemplate": format!("{base}/{{ID}}"),
        },
    });
    match described {
        Value::Object(described) => described,
        _ => Map::new(),
    }
}

fn children(org: &Org, object: &Object) -> Value {
    let children: Vec<Value> = org
        .tables
        .iter()
        .flat_map(|table| table.object.visible().map(move |field| (table, field)))
        .filter(|(_, field)| {
            matches!(&field.kind, Kind::Reference { to } if *to == object.name)
                && matches!(field.source, Source::Cell(_))
        })
        .map(|(table, field)| {
            json!({
                "childSObject": table.object.name, "field": field.name,
                "relationshipName": table.object.plural,
                "cascadeDelete": field.name == "AccountId",
            })
        })
        .collect();
    children.into()
}

fn of_field(field: &Field) -> Value {
    let (kind, soap) = types(&field.kind);
    let (precision, scale, digits) = match field.kind {
        Kind::Number { precision, scale } => (precision, scale, 0),
        Kind::Integer => (0, 0, 9),
        _ => (0, 0, 0),
    };
    let (values, restricted) = match &field.kind {
        Kind::Picklist { values, restricted } => (values.as_slice(), *restricted),
        _ => (&[][..], false),
    };
    let values: Vec<Value> = values
        .iter()
        .map(|value| {
            json!({
                "value": value, "label": value, "active": true, "defaultValue": false,
                "validFor": null,
            })
        })
        .collect();
    let references: Vec<&String> = match &field.kind {
        Kind::Reference { to } => vec![to],
        _ => Vec::new(),
    };
    let checkbox = field.kind == Kind::Checkbox;
    let kept = matches!(field.source, Source::Master | Source::Cell(_));
    let required = field.required || !field.writable && !kept;
    json!({
        "name": field.name, "label": field.label, "type": kind, "soapType": soap,
        "length": field.length, "byteLength": field.length * 3,
        "precision": precision, "scale": scale, "digits": digits,
        "nillable": !(required || checkbox),
        "createable": field.writable, "updateable": field.writable,
        "defaultedOnCreate": checkbox || (!field.writable && !kept),
        "defaultValue": if checkbox { json!(false) } else { Value::Null },
        "externalId": field.external_id,
        "idLookup": field.external_id || field.source == Source::Id || field.kind == Kind::Email,
        "unique": field.unique, "caseSensitive": false,
        "calculated": false, "calculatedFormula": null, "autoNumber": false,
        "custom": field.custom(), "encrypted": false, "htmlFormatted": false,
        "filterable": field.filterable(), "sortable": field.filterable(),
        "groupable": field.filterable() && field.scale() == 0,
        "restrictedPicklist": restricted, "dependentPicklist": false, "controllerName": null,
        "picklistValues": values,
        "referenceTo": references, "relationshipName": field.relationship(),
        "cascadeDelete": false, "compoundFieldName": field.compound,
        "nameField": field.name == "Name", "deprecatedAndHidden": false,
        "permissionable": field.writable && !field.required,
        "inlineHelpText": null, "extraTypeInfo": null,
    })
}

fn types(kind: &Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Id => ("id", "tns:ID"),
        Kind::Reference { .. } => ("reference", "tns:ID"),
        Kind::Text => ("string", "xsd:string"),
        Kind::TextArea => ("textarea", "xsd:string"),
        Kind::Email => ("email", "xsd:string"),
        Kind::Phone => ("phone", "xsd:string"),
        Kind::Url => ("url", "xsd:string"),
        Kind::Picklist { .. } => ("picklist", "xsd:string"),
        Kind::Checkbox => ("boolean", "xsd:boolean"),
        Kind::Number { .. } => ("double", "xsd:double"),
        Kind::Integer => ("int", "xsd:int"),
        Kind::Date => ("date", "xsd:date"),
        Kind::Datetime => ("datetime", "xsd:dateTime"),
        Kind::Address => ("address", "urn:address"),
    }
}
