//! Results as lines that a conversation can expect.

use tidegate_sdk::{
    Advice, COMMITTED_UNKNOWN, Catalog, ChangeSet, Executed, Fault, FaultKind, Outcome, Page,
    Progress, RowOutcome, Step, Value,
};

pub(crate) fn page(page: &Page) -> Vec<String> {
    let mut lines: Vec<String> = page.changes.iter().flat_map(changes).collect();
    for alias in &page.aliases {
        lines.push(format!("alias {} -> {}", alias.old, alias.new));
    }
    if let Some(gap) = &page.gap {
        lines.push(format!("gap {gap}"));
    }
    lines.push(match (page.wait_ms, page.more) {
        (Some(wait_ms), _) => format!("wait {wait_ms}"),
        (None, true) => "more".to_owned(),
        (None, false) => "end".to_owned(),
    });
    lines
}

pub(crate) fn changes(set: &ChangeSet) -> Vec<String> {
    assert!(
        set.batch.len() == set.len() && set.ids.len() == set.len(),
        "lists of one length"
    );
    (0..set.len()).map(|row| change(set, row)).collect()
}

fn change(set: &ChangeSet, row: usize) -> String {
    let kind = ["upsert", "delete", "hint"][usize::from(set.kinds[row])];
    let mut line = format!("{kind} {}", set.ids.text(row));
    if !set.versions.text(row).is_empty() {
        line += &format!(" {}", set.versions.text(row));
    }
    if set.committed[row] != COMMITTED_UNKNOWN {
        line += &format!(" {}", set.committed[row]);
    }
    for (name, value) in set.batch.row(row).fields() {
        line += &format!(" {name}={}", shown(value));
    }
    line
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Unset | Value::Null => "null".to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::Decimal(text) | Value::Json(text) => text.to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn catalog(catalog: &Catalog) -> Vec<String> {
    let mut lines = vec![format!("org {}", catalog.identity)];
    for object in &catalog.objects {
        lines.push(format!(
            "object {} {} fields readable={} writable={} deletes={}",
            object.name,
            object.fields.len(),
            object.readable,
            object.writable,
            object.reports_deletes
        ));
    }
    lines
}

pub(crate) fn steps(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| format!("step {} done={}: {}", step.id, step.done, step.description))
        .collect()
}

pub(crate) fn outcomes(progress: &Progress) -> Vec<String> {
    assert!(progress.after.is_empty());
    let job = progress.job.as_ref();
    let job = job.map(|job| format!("job wait {}", job.wait_ms));
    let rows = progress.outcomes.iter().map(outcome);
    rows.chain(job).collect()
}

fn outcome(row: &RowOutcome) -> String {
    match &row.outcome {
        Outcome::Written(written) => format!(
            "{} written {} {}",
            row.token,
            written.id,
            if written.created {
                "created"
            } else {
                "changed"
            }
        ),
        Outcome::Refused(refusal) => {
            let advice = match refusal.advice {
                Advice::Park => "park",
                Advice::Retry => "retry",
                Advice::Gone => "gone",
                Advice::Adopt => "adopt",
                Advice::Changed => "changed",
            };
            format!(
                "{} refused {} {advice} {:?}",
                row.token, refusal.code, refusal.fields
            )
        }
        Outcome::Unknown(why) => format!("{} unknown {why}", row.token),
    }
}

/// With the message where it is the point of the fault.
pub(crate) fn fault(fault: &Fault) -> String {
    let kind = match fault.kind {
        FaultKind::Config => "config",
        FaultKind::Auth => "auth",
        FaultKind::Missing => "missing",
        FaultKind::Refused => "refused",
        FaultKind::Throttled => "throttled",
        FaultKind::Transient => "transient",
        FaultKind::Broken => "broken",
    };
    let executed = match fault.executed {
        Executed::No => "not-executed",
        Executed::Unknown => "perhaps-executed",
    };
    let mut line = format!("fault {kind} {} {executed}", fault.code);
    if fault.kind == FaultKind::Config {
        line += &format!(": {}", fault.message.replace('\n', " | "));
    }
    line
}
