//! What a database's refusal asks of the host.

use tidegate_sdk::{Advice, Fault, FaultKind, Group, OperationKind, Refusal};

use crate::write::Unsendable;

pub(crate) fn gone(table: &str) -> Refusal {
    Refusal {
        code: crate::write::NO_SUCH_ROW.to_owned(),
        message: format!("table {table} has no row with this id any more"),
        fields: Vec::new(),
        advice: Advice::Gone,
    }
}

pub(crate) fn changed(table: &str) -> Refusal {
    Refusal {
        code: "row-changed".to_owned(),
        message: format!(
            "the row of table {table} was changed or deleted since it was last looked at"
        ),
        fields: Vec::new(),
        advice: Advice::Changed,
    }
}

pub(crate) fn unsendable(row: Unsendable) -> Refusal {
    let gone = row.code == crate::write::NO_SUCH_ROW;
    Refusal {
        code: row.code.to_owned(),
        message: row.message,
        fields: row.field.into_iter().collect(),
        advice: if gone { Advice::Gone } else { Advice::Park },
    }
}

/// One row's fault, judged by the code and by the columns that SQLite names.
pub(crate) fn judge(group: &Group, fault: &Fault) -> Refusal {
    let fields = columns(&group.object, &fault.message);
    let advice = match fault.kind {
        FaultKind::Refused => advice(group, &fault.code, &fields),
        _ => Advice::Retry,
    };
    Refusal {
        code: fault.code.clone(),
        message: fault.message.clone(),
        fields,
        advice,
    }
}

fn advice(group: &Group, code: &str, fields: &[String]) -> Advice {
    match code {
        // A create that failed so may be our own earlier one; an upsert goes by its key and only meets
        // other columns' constraints, unless two rows raced for one key.
        "SQLITE_CONSTRAINT_UNIQUE" | "SQLITE_CONSTRAINT_PRIMARYKEY" => match group.operation {
            OperationKind::Create => Advice::Adopt,
            OperationKind::Upsert if fields.len() == 1 && group.key.as_ref() == fields.first() => {
                Advice::Adopt
            }
            _ => Advice::Park,
        },
        "SQLITE_BUSY" | "SQLITE_LOCKED" => Advice::Retry,
        _ => Advice::Park,
    }
}

/// `UNIQUE constraint failed: people.a, people.b` names columns.
fn columns(object: &str, message: &str) -> Vec<String> {
    let prefix = format!("{object}.");
    let Some((_, list)) = message.split_once("constraint failed: ") else {
        return Vec::new();
    };
    list.split(", ")
        .filter_map(|name| name.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}
