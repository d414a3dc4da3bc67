//! Proof by a client that was not written here: `simple-salesforce` from PyPI takes the simulator for Salesforce.

mod kit;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kit::Org;
use serde_json::Value;
use tidegate_simulator::salesforce::{Handle, Options};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace root")
}

fn python(script: &str, simulator: &Handle, arguments: &[&str]) -> Output {
    let python = root().join("target/guests/python/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run sdk/setup-guests, which installs tests/requirements.txt there",
        python.display()
    );
    Command::new(python)
        .arg("-B")
        .arg(root().join("tests/python").join(script))
        .arg(simulator.base_url())
        .args(arguments)
        .output()
        .expect("the script starts")
}

fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn simple_salesforce_takes_it_for_salesforce() {
    let org = Org::start(Options {
        fields: vec!["Contact.Legacy_Id__c:text(40):external".to_owned()],
        // The library waits by the machine's clock, while the simulator's stands still.
        bulk_wait_ms: 0,
        bulk_chunk_ms: 0,
        ..Options::default()
    });
    assert_success(&python("simple_salesforce_proof.py", &org.simulator, &[]));
}

/// The journal, which no client writes, agrees with what the outside client says it did.
#[test]
fn the_outside_client_edits_and_the_journal_agrees() {
    let org = Org::start(Options::default());
    let output = python("outside_client.py", &org.simulator, &["11", "40"]);
    assert_success(&output);
    let told: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(told.len(), 40);
    let journal = org.simulator.journal(0);
    let told: Vec<(&Value, &Value)> = told.iter().map(|line| (&line["op"], &line["id"])).collect();
    let wrote: Vec<(Value, Value)> = journal
        .iter()
        .map(|entry| (entry.op.clone().into(), entry.id.clone().into()))
        .collect();
    let wrote: Vec<(&Value, &Value)> = wrote.iter().map(|(op, id)| (op, id)).collect();
    assert_eq!(told, wrote);
    assert!(journal.iter().all(|entry| entry.client == "outside"));
}
