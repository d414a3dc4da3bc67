//! What goes by SOAP against the simulated org: what each call costs, and that a repeated one does nothing twice.

mod wire;

use serde_json::{Value as Json, json};
use tidegate_plugin_salesforce::Salesforce;
use tidegate_sdk::{
    Advice, Batch, Connector, Executed, Fault, Group, OperationKind, Operations, Outcome, Packed,
    Progress,
};
use tidegate_simulator::salesforce::{Fault as Trouble, Options, When};
use wire::World;

/// Rows of one operation, each an id and what it becomes part of.
fn push(
    world: &World,
    (method, operation, object): (&str, OperationKind, &str),
    rows: &[(&str, &str)],
) -> Result<Progress, Fault> {
    let group = Group {
        object: object.to_owned(),
        operation,
        key: None,
        tokens: (1..=rows.len() as u64).collect(),
        ids: rows.iter().map(|(id, _)| id).collect(),
        into: rows.iter().map(|(_, into)| into).collect(),
        versions: Packed::from_iter(rows.iter().map(|_| "")),
        batch: Batch {
            rows: rows.len() as u32,
            columns: Vec::new(),
        },
    };
    let operations = Operations {
        method: method.to_owned(),
        groups: vec![group],
        references: Vec::new(),
    };
    Salesforce::push(&world.wire, &world.context(), operations)
}

const MERGE: (&str, OperationKind, &str) = ("merge", OperationKind::Merge, "Contact");
const UNDELETE: (&str, OperationKind, &str) = ("undelete", OperationKind::Restore, "Contact");
const CONVERT: (&str, OperationKind, &str) = ("convert-lead", OperationKind::Convert, "Lead");

fn said(pushed: Result<Progress, Fault>) -> Vec<String> {
    let mut rows = pushed.expect("answered").outcomes;
    rows.sort_by_key(|row| row.token);
    rows.into_iter()
        .map(|row| match row.outcome {
            Outcome::Written(written) => written.id,
            Outcome::Refused(refusal) => format!("{} {}", refusal.code, advice(refusal.advice)),
            Outcome::Unknown(why) => why,
        })
        .collect()
}

fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Gone => "gone",
        Advice::Retry => "retry",
        Advice::Park => "park",
        _ => "other",
    }
}

fn make(world: &World, object: &str, body: &Json) -> String {
    let path = format!("/services/data/v60.0/sobjects/{object}");
    let answer = world.wire.json("POST", &path, body);
    let body: Json = serde_json::from_slice(&answer.body).expect("a record");
    body["id"].as_str().expect("an id").to_owned()
}

fn contacts(world: &World, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            make(
                world,
                "Contact",
                &json!({ "LastName": format!("C{number}") }),
            )
        })
        .collect()
}

fn deleted(world: &World, id: &str) -> (Json, Json) {
    let records = world.simulator.records("Contact");
    let found = records.iter().find(|record| record["Id"] == *id);
    let record = found.expect("a record");
    (
        record["IsDeleted"].clone(),
        record["MasterRecordId"].clone(),
    )
}

#[test]
fn many_losers_of_one_record_are_one_call_and_none_goes_twice() {
    let world = World::new(Options::default());
    let ids = contacts(&world, 6);
    let rows: Vec<(&str, &str)> = ids[1..].iter().map(|id| (id.as_str(), &*ids[0])).collect();
    let before = world.calls();
    assert_eq!(said(push(&world, MERGE, &rows)), ids[1..]);
    assert_eq!(
        world.calls() - before,
        1,
        "five losers are three requests of one call"
    );
    for id in &ids[1..] {
        assert_eq!(deleted(&world, id), (json!(true), json!(ids[0])));
    }
    assert_eq!(deleted(&world, &ids[0]).0, json!(false));
    // What a lost answer leaves behind: the host reads, and finds them gone.
    let again = said(push(&world, MERGE, &rows[..2]));
    assert_eq!(again, ["ENTITY_IS_DELETED gone"; 2]);
}

#[test]
fn a_merge_whose_answer_is_lost_has_an_unknown_fate() {
    let world = World::new(Options::default());
    let ids = contacts(&world, 2);
    world.simulator.set_fault(Trouble::Drop, When::Next(1));
    let fault = push(&world, MERGE, &[(&ids[1], &ids[0])]).expect_err("no answer");
    assert_eq!(fault.executed, Executed::Unknown);
    assert_eq!(deleted(&world, &ids[1]).0, json!(true));
}

#[test]
fn only_what_lies_in_the_recycle_bin_comes_back() {
    let world = World::new(Options::default());
    let ids = contacts(&world, 3);
    for id in &ids[..2] {
        let path = format!("/services/data/v60.0/sobjects/Contact/{id}");
        world.wire.json("DELETE", &path, &Json::Null);
    }
    let rows: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "")).collect();
    let before = world.calls();
    let told = said(push(&world, UNDELETE, &rows));
    assert_eq!(world.calls() - before, 1);
    assert_eq!(told, [&*ids[0], &*ids[1], "UNDELETE_FAILED gone"]);
    for id in &ids {
        assert_eq!(deleted(&world, id).0, json!(false));
    }
}

#[test]
fn a_lead_is_converted_once_however_often_it_is_asked() {
    let world = World::new(Options::default());
    let lead = make(
        &world,
        "Lead",
        &json!({ "LastName": "Ada", "Company": "Engines" }),
    );
    for _ in 0..2 {
        assert_eq!(said(push(&world, CONVERT, &[(&lead, "")])), [lead.as_str()]);
    }
    for object in ["Account", "Contact", "Opportunity"] {
        assert_eq!(world.simulator.records(object).len(), 1, "{object}");
    }
}
