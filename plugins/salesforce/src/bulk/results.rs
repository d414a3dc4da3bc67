//! The result files of a job that has ended: what became of each row.
//!
//! Rows come in any order, may be missing and may come twice. A row's first verdict counts; a row that no file names
//! has a fate that can't be told. So every row of the job has one outcome, whatever the files say.

use std::collections::HashMap;

use csv::{ByteRecord, ReaderBuilder};
use tidegate_sdk::{
    Advice, Fault, FaultKind, Http, HttpResponse, Level, OperationKind, Outcome, Refusal, Request,
    RowOutcome, Written,
};

use super::job::{Job, print};
use super::poll::{Told, path};
use crate::answer::{self, VendorError};
use crate::org::Org;
use crate::refusal::{Attempt, refusal};
use crate::{id, soql};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Successful,
    Failed,
    Unprocessed,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Successful, Self::Failed, Self::Unprocessed];

    fn name(self) -> &'static str {
        match self {
            Self::Successful => "successfulResults",
            Self::Failed => "failedResults",
            Self::Unprocessed => "unprocessedrecords",
        }
    }

    /// Whether the job's figures let rows be expected in this file. A file that has none is not asked for.
    fn is_expected(self, told: &Told) -> bool {
        let processed = told.number_records_processed;
        let failed = told.number_records_failed;
        match self {
            Self::Successful => match (processed, failed) {
                (Some(processed), Some(failed)) => processed > failed,
                _ => true,
            },
            Self::Failed => failed != Some(0),
            Self::Unprocessed => told.state != "JobComplete",
        }
    }
}

/// One outcome for every row of the job. One request for each file that is needed.
pub(super) fn read(org: &Org<'_>, job: &Job, told: &Told) -> Result<Vec<RowOutcome>, Fault> {
    let mut verdicts = Verdicts {
        org,
        job,
        told,
        found: HashMap::with_capacity(job.rows.len()),
    };
    let (expected, others): (Vec<Kind>, Vec<Kind>) = Kind::ALL
        .into_iter()
        .partition(|kind| kind.is_expected(told));
    verdicts.add(&expected)?;
    let missing =
        |found: &HashMap<u64, Outcome>| job.rows.iter().any(|row| !found.contains_key(&row.print));
    if missing(&verdicts.found) {
        // The figures are wrong, or rows are missing: what was left out may name them.
        verdicts.add(&others)?;
    }
    let mut found = verdicts.found;
    let outcomes = job.rows.iter().map(|row| match found.remove(&row.print) {
        Some(outcome) => RowOutcome {
            token: row.token,
            outcome,
        },
        None => RowOutcome::unknown(row.token, "no result file of the job names the row"),
    });
    Ok(outcomes.collect())
}

struct Verdicts<'a> {
    org: &'a Org<'a>,
    job: &'a Job,
    told: &'a Told,
    /// By the row's digest.
    found: HashMap<u64, Outcome>,
}

/// Where a file keeps what is needed of it.
struct Columns {
    id: Option<usize>,
    created: Option<usize>,
    error: Option<usize>,
    own: usize,
    count: usize,
}

impl Columns {
    fn of(headers: &ByteRecord, own: &str) -> Option<Self> {
        let place = |name: &str| {
            headers
                .iter()
                .position(|header| header.eq_ignore_ascii_case(name.as_bytes()))
        };
        Some(Self {
            id: place("sf__Id"),
            created: place("sf__Created"),
            error: place("sf__Error"),
            own: place(own)?,
            count: headers.len(),
        })
    }
}

impl Verdicts<'_> {
    /// Reads files, all of them asked for together.
    fn add(&mut self, kinds: &[Kind]) -> Result<(), Fault> {
        if kinds.is_empty() {
            return Ok(());
        }
        let requests: Vec<Request> = kinds
            .iter()
            .map(|kind| {
                let path = path(self.org, self.job, &format!("/{}", kind.name()));
                Http::get(path).header("accept", "text/csv").into()
            })
            .collect();
        let answers = self.org.gateway.fetch_batch(&requests);
        if answers.len() != kinds.len() {
            return Err(Fault::broken(
                "wrong-answer",
                "the host must answer every request once; report this to its makers",
            ));
        }
        for (kind, answer) in kinds.iter().zip(answers) {
            let response = answer?.into_http()?;
            self.file(*kind, &response)?;
        }
        Ok(())
    }

    fn file(&mut self, kind: Kind, response: &HttpResponse) -> Result<(), Fault> {
        let what = format!("the {} of bulk job {}", kind.name(), self.job.id);
        if !response.is_success() {
            let fault = answer::fault(response, &what);
            // The file is gone while the job is there: its rows are missing.
            return match fault.kind {
                FaultKind::Missing => Ok(()),
                _ => Err(fault),
            };
        }
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .from_reader(response.body.as_slice());
        let headers = reader
            .byte_headers()
            .map_err(|_| answer::foreign(response, &what))?;
        let column = self.job.target.column();
        let Some(columns) = Columns::of(headers, column) else {
            if response.body.is_empty() {
                return Ok(());
            }
            return Err(Fault::broken(
                "results-without-key",
                format!("{what}: the file lacks the column {column}, by which rows are known"),
            ));
        };
        let mut damaged = 0;
        let mut record = ByteRecord::new();
        while reader
            .read_byte_record(&mut record)
            .map_err(|_| answer::foreign(response, &what))?
        {
            if record.len() != columns.count {
                damaged += 1;
                continue;
            }
            let own = text(&record, Some(columns.own));
            let print = self.print(own);
            if self.found.contains_key(&print) {
                continue;
            }
            let verdict = self.verdict(kind, &columns, &record, own);
            self.found.insert(print, verdict);
        }
        if damaged > 0 {
            let line =
                format!("{what}: {damaged} rows have another number of columns than the header");
            self.org.gateway.log(Level::Warn, &line);
        }
        Ok(())
    }

    fn print(&self, own: &str) -> u64 {
        match self.job.target.key {
            Some(_) => print(own),
            None => print(&id::canonical(own)),
        }
    }

    fn verdict(&self, kind: Kind, columns: &Columns, record: &ByteRecord, own: &str) -> Outcome {
        match kind {
            Kind::Successful => {
                let id = id::canonical(text(record, columns.id));
                let created = text(record, columns.created).eq_ignore_ascii_case("true");
                self.written(id, created, own)
            }
            Kind::Failed => self.failed(text(record, columns.error)),
            Kind::Unprocessed => Outcome::Refused(self.unprocessed()),
        }
    }

    fn written(&self, id: String, created: bool, own: &str) -> Outcome {
        let upsert = self.job.target.operation == OperationKind::Upsert;
        if id.is_empty() {
            let why = "Salesforce says success, but of which record";
            return Outcome::Unknown(why.to_owned());
        }
        if !upsert && id != id::canonical(own) {
            let why = "Salesforce says success of another record than was sent";
            return Outcome::Unknown(why.to_owned());
        }
        Outcome::Written(Written {
            id,
            created: upsert && created,
            version: String::new(),
        })
    }

    fn failed(&self, error: &str) -> Outcome {
        let target = &self.job.target;
        let attempt = Attempt {
            operation: target.operation,
            key: target.key.as_deref(),
        };
        let refused = parse(error).and_then(|error| refusal(&[error], attempt));
        match refused {
            // A job can't ask to save over an alert, and the row sent by another method can.
            Some(refusal)
                if refusal.code == "DUPLICATES_DETECTED" && self.org.config.saves_over_alerts() =>
            {
                Outcome::Refused(Refusal {
                    advice: Advice::Retry,
                    ..refusal
                })
            }
            Some(refusal) => Outcome::Refused(refusal),
            None => Outcome::Unknown("Salesforce says failure, but not why".to_owned()),
        }
    }

    /// The job ended before the row's turn. A file that is wrong as such will be refused again.
    fn unprocessed(&self) -> Refusal {
        let message = self.told.error_message.as_deref().unwrap_or_default();
        let code = message.split(':').next().unwrap_or_default().trim();
        let (code, advice) = match code {
            "" => ("unprocessed", Advice::Retry),
            "InvalidBatch" => (code, Advice::Park),
            code => (code, Advice::Retry),
        };
        Refusal {
            code: code.to_owned(),
            message: match message {
                "" => format!(
                    "the job ended as {} before this row's turn",
                    self.told.state
                ),
                message => message.to_owned(),
            },
            fields: Vec::new(),
            advice,
        }
    }
}

fn text(record: &ByteRecord, column: Option<usize>) -> &str {
    column
        .and_then(|column| record.get(column))
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}

/// `CODE:message:fields--`, with the fields' names apart by spaces or commas.
fn parse(error: &str) -> Option<VendorError> {
    let (code, rest) = error.split_once(':')?;
    let code = code.trim();
    if code.is_empty() {
        return None;
    }
    let rest = rest.trim_end();
    let rest = rest.strip_suffix("--").unwrap_or(rest);
    let named = rest.rsplit_once(':').and_then(|(message, names)| {
        let names = names.split([' ', ',']).filter(|name| !name.is_empty());
        let names: Option<Vec<String>> = names
            .map(|name| soql::check_name(name).ok().map(str::to_owned))
            .collect();
        Some((message, names?))
    });
    let (message, fields) = named.unwrap_or((rest, Vec::new()));
    Some(VendorError {
        code: code.to_owned(),
        message: message.trim().to_owned(),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_taken_apart() {
        let cases = [
            (
                "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: 001:--",
                Some((
                    "UNABLE_TO_LOCK_ROW",
                    "unable to obtain exclusive access to this record or 1 records: 001",
                    "",
                )),
            ),
            (
                "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName, Key__c]:LastName Key__c --",
                Some((
                    "REQUIRED_FIELD_MISSING",
                    "Required fields are missing: [LastName, Key__c]",
                    "LastName|Key__c",
                )),
            ),
            (
                "DUPLICATE_VALUE:duplicate value found: Key__c duplicates value on record with id: 003--",
                Some((
                    "DUPLICATE_VALUE",
                    "duplicate value found: Key__c duplicates value on record with id: 003",
                    "",
                )),
            ),
            (
                "INVALID_FIELD:no such thing",
                Some(("INVALID_FIELD", "no such thing", "")),
            ),
            ("no colon at all", None),
            (":message:--", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = parse(text);
            let found = found
                .as_ref()
                .map(|error| (&*error.code, &*error.message, error.fields.join("|")));
            let expected =
                expected.map(|(code, message, fields)| (code, message, fields.to_owned()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
