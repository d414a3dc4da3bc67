//! Each behaviour as data: requests, and what has to come back. The cases are in `tests/cases`.
//!
//! A case is a name, options of the org, and steps. A step sends `METHOD /path`, with headers and a JSON `body`
//! or a raw `form`, and expects a `status`, `headers` and an `answer`. Of an object, only the named members are
//! compared; a list has to have as many items. `"$save:x"` in an answer remembers a value, `$x` anywhere
//! later stands for it, and `"$any"` accepts whatever is there; `$session` is the client's own token. Of an answer that is no JSON, `lines` are compared
//! one by one, in which `*` stands for anything. `no_answer` expects a connection without one.

mod kit;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kit::{Client, Org};
use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_simulator::salesforce::Options;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    options: Wanted,
    steps: Vec<Step>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    daily_limit: Option<u64>,
    page_rows: Option<usize>,
    no_run_as_user: bool,
    duplicate_rule: bool,
    format_phones: bool,
    fields: Vec<String>,
    bulk_file_bytes: Option<usize>,
    bulk_batches: Option<u64>,
    bulk_query_jobs: Option<u64>,
    bulk_rows: Option<u64>,
    session_days: Option<u64>,
    bulk_page_rows: Option<usize>,
    faults: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    send: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    body: Value,
    form: Option<String>,
    /// Repeats the body's only record so many times.
    rows: Option<usize>,
    #[serde(default)]
    stranger: bool,
    #[serde(default)]
    no_answer: bool,
    #[serde(default)]
    truncated: bool,
    status: Option<u16>,
    #[serde(default)]
    expect_headers: HashMap<String, String>,
    answer: Option<Value>,
    lines: Option<Vec<String>>,
}

#[test]
fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the cases")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let mut failures = Vec::new();
    let mut count = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable file");
        let cases: Vec<Case> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in cases {
            count += 1;
            if let Err(failure) = check(&case) {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                failures.push(format!("{name}: {}: {failure}", case.name));
            }
        }
    }
    assert!(count > 40, "only {count} cases were found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check(case: &Case) -> Result<(), String> {
    let org = Org::start(options(&case.options));
    let mut member: Option<Client> = None;
    let mut saved = HashMap::new();
    for (place, step) in case.steps.iter().enumerate() {
        let client = if step.stranger || step.send.contains(" /_sim/") {
            org.stranger()
        } else {
            let member = member.get_or_insert_with(|| org.client());
            let session = member.token.clone().unwrap_or_default();
            saved.insert("session".to_owned(), session);
            member.clone()
        };
        run(&client, step, &mut saved)
            .map_err(|failure| format!("step {} ({}): {failure}", place + 1, step.send))?;
    }
    Ok(())
}

fn options(wanted: &Wanted) -> Options {
    let given = Options::default();
    let faults = wanted
        .faults
        .iter()
        .map(|(name, when)| {
            let fault = name.parse().expect("a fault");
            (fault, when.parse().expect("when"))
        })
        .collect();
    Options {
        daily_limit: wanted.daily_limit.unwrap_or(given.daily_limit),
        page_rows_max: wanted.page_rows.unwrap_or(given.page_rows_max),
        run_as_user: !wanted.no_run_as_user,
        duplicate_rule: wanted.duplicate_rule,
        format_phones: wanted.format_phones,
        fields: wanted.fields.clone(),
        bulk_file_bytes_max: wanted.bulk_file_bytes.unwrap_or(given.bulk_file_bytes_max),
        bulk_batches_max: wanted.bulk_batches.unwrap_or(given.bulk_batches_max),
        bulk_query_jobs_max: wanted.bulk_query_jobs.unwrap_or(given.bulk_query_jobs_max),
        bulk_rows_max: wanted.bulk_rows.unwrap_or(given.bulk_rows_max),
        session_timeout_ms: wanted
            .session_days
            .map_or(given.session_timeout_ms, |days| days * 24 * 60 * 60 * 1000),
        bulk_page_rows: wanted.bulk_page_rows.unwrap_or(given.bulk_page_rows),
        faults,
        ..given
    }
}

fn run(client: &Client, step: &Step, saved: &mut HashMap<String, String>) -> Result<(), String> {
    let send = replaced(&step.send, saved);
    let (method, target) = send.split_once(' ').ok_or("no method")?;
    let target = target
        .replace(' ', "+")
        .replace('<', "%3C")
        .replace('>', "%3E");
    let body = body(step, saved);
    let headers: Vec<(&str, &str)> = step
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let reply = match client.send(method, &target, &headers, body.as_bytes()) {
        Ok(_) if step.no_answer => return Err("an answer came".to_owned()),
        Err(_) if step.no_answer => return Ok(()),
        reply => reply.map_err(|error| error.to_string())?,
    };
    let found = reply.json();
    if step.status.is_some_and(|status| status != reply.status) {
        return Err(format!("status {}: {found}", reply.status));
    }
    if reply.complete == step.truncated {
        return Err(format!("complete: {}", reply.complete));
    }
    for (name, expected) in &step.expect_headers {
        let found = reply.headers.get(name);
        if found != Some(expected) {
            return Err(format!("header {name} is {found:?}"));
        }
    }
    if let Some(expected) = &step.lines {
        let expected: Vec<String> = expected.iter().map(|line| replaced(line, saved)).collect();
        compare_lines(&expected, &reply.text())?;
    }
    match &step.answer {
        Some(expected) => compare(expected, &found, saved).map_err(|at| format!("{at} in {found}")),
        None => Ok(()),
    }
}

fn body(step: &Step, saved: &HashMap<String, String>) -> String {
    if let Some(form) = &step.form {
        return replaced(form, saved);
    }
    let mut body = step.body.clone();
    if let Some(rows) = step.rows {
        let only = body["records"][0].clone();
        body["records"] = vec![only; rows].into();
    }
    if body.is_null() {
        String::new()
    } else {
        replaced(&body.to_string(), saved)
    }
}

fn replaced(text: &str, saved: &HashMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in saved {
        text = text.replace(&format!("${name}"), value);
    }
    text
}

fn compare(
    expected: &Value,
    found: &Value,
    saved: &mut HashMap<String, String>,
) -> Result<(), String> {
    match (expected, found) {
        (Value::String(text), _) if text == "$any" => Ok(()),
        (Value::String(text), Value::String(found)) if text.starts_with("$save:") => {
            saved.insert(text["$save:".len()..].to_owned(), found.clone());
            Ok(())
        }
        (Value::String(text), Value::String(found)) => {
            let wanted = replaced(text, saved);
            same(wanted == *found, &wanted, found)
        }
        (Value::Object(members), Value::Object(found)) => compare_members(members, found, saved),
        (Value::Array(items), Value::Array(found)) => {
            same(items.len() == found.len(), &items.len(), &found.len())?;
            for (item, found) in items.iter().zip(found) {
                compare(item, found, saved)?;
            }
            Ok(())
        }
        _ => same(expected == found, expected, found),
    }
}

fn compare_lines(expected: &[String], found: &str) -> Result<(), String> {
    let lines: Vec<&str> = found.lines().collect();
    same(
        expected.len() == lines.len(),
        &expected.join("\n").as_str(),
        &found,
    )?;
    for (expected, line) in expected.iter().zip(lines) {
        same(is_like(expected, line), &expected.as_str(), &line)?;
    }
    Ok(())
}

fn is_like(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            let ends = line
                .char_indices()
                .map(|(place, _)| place)
                .chain([line.len()]);
            ends.into_iter().any(|end| is_like(rest, &line[end..]))
        }),
    }
}

fn compare_members(
    members: &Map<String, Value>,
    found: &Map<String, Value>,
    saved: &mut HashMap<String, String>,
) -> Result<(), String> {
    for (name, expected) in members {
        let value = found.get(name).ok_or_else(|| format!("no {name}"))?;
        compare(expected, value, saved).map_err(|failure| format!("{name}: {failure}"))?;
    }
    Ok(())
}

fn same<T: std::fmt::Debug>(same: bool, expected: &T, found: &T) -> Result<(), String> {
    if same {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, found {found:?}"))
    }
}
