//! What is wrong with a config, where, and what to do about it. Everything is collected; nothing stops
//! at the first find.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use super::places::{Place, Places};

/// A kind of problem. The kebab-case name is stable: scripts may branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file can't be read.
    FileUnreadable,
    /// The file is not TOML.
    Syntax,
    UnknownKey,
    MissingKey,
    WrongType,
    /// Not one of the values that the key takes.
    UnknownValue,
    /// A number outside its bounds.
    OutOfRange,
    BadDuration,
    BadName,
    BadOrigin,
    /// A secret stands in the file itself.
    SecretInline,
    /// The environment variable or file that a secret refers to gives nothing.
    SecretMissing,
    UnknownPlugin,
    UnknownEndpoint,
    /// A reference to records of a sync that is not there, or of other endpoints.
    UnknownSync,
    /// A mapping where a connector belongs, or the other way round.
    PluginKind,
    /// The plugin's file can't be read, or is not a plugin that this host can run.
    PluginUnusable,
    /// Two syncs would write one object of one endpoint.
    SharedObject,
    /// A URL for an origin that the plugin does not have.
    UnknownOrigin,
    MissingOrigin,
    /// The vendor does not take this way of authenticating.
    AuthScheme,
    /// Refused by the plugin's own schema of its config.
    ConfigRefused,
    UnknownPool,
    /// The override can't hold.
    PoolOverride,
    /// The endpoint could not be asked.
    EndpointUnusable,
    UnknownObject,
    ObjectAccess,
    UnknownField,
    /// A key that the endpoint can't upsert by.
    KeyField,
    FieldAccess,
    /// A field whose values can't be compared so.
    FieldType,
    /// A create would be refused for a field that no rule fills.
    RequiredField,
    /// The mapping refuses its own config.
    MappingRefused,
}

impl Code {
    /// The stable name.
    pub fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// Whether a host would start with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Error,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub code: Code,
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong and why; never a secret's text.
    pub message: String,
    /// What to do about it; empty when the message says it all.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}: {severity}[{}]: {}",
            self.place,
            self.code.name(),
            self.message
        )?;
        if !self.help.is_empty() {
            write!(f, "\n    help: {}", self.help)?;
        }
        Ok(())
    }
}

/// Collects problems and gives each its place.
#[derive(Debug)]
pub struct Findings {
    places: Places,
    found: RefCell<Vec<Problem>>,
}

impl Findings {
    pub fn new(places: Places) -> Self {
        Self {
            places,
            found: RefCell::default(),
        }
    }

    /// An error at `key`, or at the nearest table around it that the file has.
    pub fn error(&self, code: Code, key: &str, message: impl Into<String>) {
        self.error_with_help(code, key, message, "");
    }

    pub fn error_with_help(
        &self,
        code: Code,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.places.of(key);
        self.add(Severity::Error, code, place, message.into(), help.into());
    }

    /// Worth knowing, though a host would start.
    pub fn warning(
        &self,
        code: Code,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.places.of(key);
        self.add(Severity::Warning, code, place, message.into(), help.into());
    }

    /// An error at a byte of the file that no key owns.
    pub(super) fn error_at(&self, code: Code, byte: usize, message: impl Into<String>) {
        let place = self.places.at(byte);
        self.add(Severity::Error, code, place, message.into(), String::new());
    }

    fn add(&self, severity: Severity, code: Code, place: Place, message: String, help: String) {
        let problem = Problem {
            severity,
            code,
            place,
            message,
            help,
        };
        let mut found = self.found.borrow_mut();
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    /// Whether the file has this key, right or wrong.
    pub fn has_key(&self, key: &str) -> bool {
        self.places.has(key)
    }

    pub fn has_errors(&self) -> bool {
        self.found
            .borrow()
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// The errors below a key, and those of the file as a whole.
    pub fn problems_of(&self, section: &str) -> Vec<Problem> {
        let found = self.found.borrow();
        let below =
            |key: &str| key.is_empty() || key == section || key.starts_with(&format!("{section}."));
        found
            .iter()
            .filter(|problem| problem.severity == Severity::Error && below(&problem.place.key))
            .cloned()
            .collect()
    }

    /// What is wrong and no mere warning, a line or more each.
    pub fn errors_as_text(&self) -> String {
        let problems = self.problems().into_iter();
        let errors = problems.filter(|problem| problem.severity == Severity::Error);
        let lines: Vec<String> = errors.map(|problem| problem.to_string()).collect();
        lines.join("\n")
    }

    /// Everything found, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems()
    }

    /// Everything found so far, in the order of the file.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = self.found.borrow().clone();
        found.sort_by_key(|problem| (problem.place.line, problem.place.column));
        found
    }
}

/// The name that was probably meant: at most a third of its letters differ.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= (name.len().max(written.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// "did you mean", or the names there are.
pub fn suggest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None if known.len() > 12 => format!(
            "there are {} of them, such as {}",
            known.len(),
            listed(&known[..6])
        ),
        None => format!("there is {}", listed(&known)),
    }
}

/// Names as a person lists them.
pub fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
