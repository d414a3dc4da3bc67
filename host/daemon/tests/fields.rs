//! A sync's fields against what both sides have: every mistake at once, in its place.

mod kit;

use std::path::Path;

use tidegate::check::fields::{self, Schemas};
use tidegate::config::{self, Loaded};
use tidegate_core::batch::DataType;
use tidegate_core::plugin::{Direction, Field, ObjectSchema, Rule};

const CONFIG: &str = r#"
[plugins]
db = { file = "db.wasm" }
crm = { file = "crm.wasm" }
map = { file = "map.wasm" }
[endpoints]
db = { plugin = "db", origins = { main = "sqlite:people.db" } }
crm = { plugin = "crm", origins = { main = "https://acme.example" } }
[syncs.people]
field-conflicts = { FIELD = "left" }
left = { endpoint = "db", object = "people", key = "LEFT" }
right = { endpoint = "crm", object = "Contact", key = "RIGHT" }
[syncs.people.mapping]
plugin = "map"
config = {}
"#;

const LEFT: &[&str] = &[
    "id integer key id fixed",
    "salesforce_id text key",
    "other_id text key",
    "email text",
    "name text required",
    "score decimal key",
];
const RIGHT: &[&str] = &[
    "Id text id fixed",
    "Tidegate_Id__c text key",
    "Email text",
    "LastName text required",
    "CreatedDate timestamp fixed",
    "Audit__c text key fixed",
];

/// An object from lines such as `LastName text required`.
fn object(name: &str, lines: &[&str]) -> ObjectSchema {
    let mut id_fields = Vec::new();
    let field = |line: &&str| {
        let mut words = line.split(' ');
        let name = words.next().expect("a name");
        let kind = words.next().expect("a type");
        let data_type = DataType::ALL
            .into_iter()
            .find(|known| known.to_string() == kind)
            .expect("a known type");
        let flags: Vec<&str> = words.collect();
        let has = |flag: &str| flags.contains(&flag);
        if has("id") {
            id_fields.push(name.to_owned());
        }
        Field {
            nullable: !has("required"),
            creatable: !has("fixed"),
            updatable: !has("fixed"),
            required: has("required"),
            upsert_key: has("key"),
            ..kit::field(name, data_type)
        }
    };
    let fields = lines.iter().map(field).collect();
    ObjectSchema {
        fields,
        id_fields,
        ..kit::object(name, &[])
    }
}

/// Rules such as `email > Email` and `name < LastName`.
fn rules(lines: &[&str]) -> Vec<Rule> {
    let rule = |line: &&str| {
        let forward = line.contains('>');
        let (left, right) = line.split_once(['>', '<']).expect("a direction");
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let (left, right): (Vec<String>, Vec<String>) = (names(left), names(right));
        match forward {
            true => Rule {
                direction: Direction::LeftToRight,
                inputs: left,
                outputs: right,
            },
            false => Rule {
                direction: Direction::RightToLeft,
                inputs: right,
                outputs: left,
            },
        }
    };
    lines.iter().map(rule).collect()
}

/// What is found, as `code key: message (help)`.
fn found(keys: [&str; 3], lines: &[&str], change: fn(&mut ObjectSchema)) -> Vec<String> {
    let text = CONFIG
        .replace("LEFT", keys[0])
        .replace("RIGHT", keys[1])
        .replace("FIELD", keys[2]);
    let Loaded { config, findings } = config::parse("c.toml", &text, Path::new("/nowhere"));
    assert!(!findings.has_errors(), "{:?}", findings.into_problems());
    let mut right = object("Contact", RIGHT);
    change(&mut right);
    let left = object("people", LEFT);
    let schemas = Schemas {
        left: Some(&left),
        right: Some(&right),
    };
    fields::check(&config.syncs["people"], schemas, &rules(lines), &findings);
    findings
        .into_problems()
        .into_iter()
        .map(|problem| {
            let help = match problem.help.as_str() {
                "" => String::new(),
                help => format!(" ({help})"),
            };
            let key = &problem.place.key;
            format!("{} {key}: {}{help}", problem.code.name(), problem.message)
        })
        .collect()
}

const GOOD: &[&str] = &[
    "email > Email",
    "name > LastName",
    "email < Email",
    "name < LastName",
];

#[test]
fn a_good_sync_has_no_problems() {
    let keys = ["salesforce_id", "Tidegate_Id__c", "Email"];
    assert_eq!(found(keys, GOOD, |_| {}), Vec::<String>::new());
}

#[test]
fn a_mapping_of_one_direction_needs_no_creates_in_the_other() {
    let keys = ["salesforce_id", "Tidegate_Id__c", "email"];
    let lines = ["email > Email", "name > LastName"];
    assert_eq!(found(keys, &lines, |_| {}), Vec::<String>::new());
}

#[test]
fn fields_that_do_not_exist() {
    let keys = ["salesforce_di", "Tidegate", "Emaill"];
    let lines = ["emial > Email", "name > LastNam", "name < LastName"];
    let config = "syncs.people.mapping.config";
    let wanted = [
        "unknown-field syncs.people.field-conflicts.Emaill: no rule reads or writes a field `Emaill` (did you mean `Email`?)".to_owned(),
        "unknown-field syncs.people.left.key: `people` of `db` has no field `salesforce_di`, or the credentials may not see it (did you mean `salesforce_id`?)".to_owned(),
        "unknown-field syncs.people.right.key: `Contact` of `crm` has no field `Tidegate`, or the credentials may not see it (there is `Id`, `Tidegate_Id__c`, `Email`, `LastName`, `CreatedDate`, `Audit__c`)".to_owned(),
        format!("unknown-field {config}: `people` of `db` has no field `emial`, or the credentials may not see it (did you mean `email`?)"),
        format!("unknown-field {config}: `Contact` of `crm` has no field `LastNam`, or the credentials may not see it (did you mean `LastName`?)"),
        format!("required-field {config}: no rule fills `LastName` of `Contact`, so every create would be refused (map a field to it, or give it a constant)"),
    ];
    assert_eq!(found(keys, &lines, |_| {}), wanted);
}

#[test]
fn fields_that_do_not_fit() {
    let keys = ["score", "Audit__c", "Email"];
    let lines = [
        "email > Email",
        "name > LastName CreatedDate",
        "score email < Email",
    ];
    let config = "syncs.people.mapping.config";
    let wanted = [
        "key-field syncs.people.left.key: `score` holds decimal, and record ids are text"
            .to_owned(),
        "field-access syncs.people.right.key: `Audit__c` can't be written with these credentials"
            .to_owned(),
        format!(
            "key-field {config}: a rule writes `score` of `people`, which holds the other side's record id (leave it to the sync's `key`)"
        ),
        format!(
            "required-field {config}: no rule fills `name` of `people`, so every create would be refused (map a field to it, or give it a constant)"
        ),
        format!(
            "field-access {config}: `CreatedDate` of `Contact` can't be written; map it one way only"
        ),
    ];
    assert_eq!(found(keys, &lines, |_| {}), wanted);
}

#[test]
fn keys_and_objects_that_can_not_be_used() {
    let keys = ["email", "Tidegate_Id__c", "Email"];
    let wanted = [
        "key-field syncs.people.left.key: `email` can't be upserted by (these could be used: `salesforce_id`, `other_id`)",
        "object-access syncs.people.right.object: `Contact` is not writable",
        "key-field syncs.people.mapping.config: a rule writes `email` of `people`, which holds the other side's record id (leave it to the sync's `key`)",
    ];
    assert_eq!(found(keys, GOOD, |right| right.writable = false), wanted);
}
