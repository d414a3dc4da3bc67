//! What a plugin says of itself and of its vendor, as data: `plugin.toml`.
//!
//! Read before any code of the plugin is compiled or run. The types here are the file as written
//! (unknown keys are refused); limits, readings, throttles and methods are interpreted by the host, so
//! that a connector needs no code for them and an operator can read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plugin::{OperationKind, StreamKind};
use crate::time::parse_duration;

mod check;
mod text;

pub use text::ManifestProblem;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    pub plugin: PluginSection,
    #[serde(default)]
    pub build: Option<BuildSection>,
    /// JSON Schema (2020-12) of the plugin's config table, written as TOML.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub origins: Vec<Origin>,
    #[serde(default)]
    pub auth: Option<Auth>,
    #[serde(default)]
    pub envelopes: Vec<Envelope>,
    #[serde(default)]
    pub capture: Option<Capture>,
    #[serde(default)]
    pub errors: Option<ErrorShape>,
    #[serde(default)]
    pub pools: Vec<Pool>,
    #[serde(default)]
    pub readings: Vec<Reading>,
    #[serde(default)]
    pub gauges: Vec<Gauge>,
    #[serde(default)]
    pub throttles: Vec<Throttle>,
    #[serde(default)]
    pub methods: Vec<Method>,
    #[serde(default)]
    pub reads: Vec<Read>,
    #[serde(default)]
    pub webhook: Option<Webhook>,
}

impl Manifest {
    /// Methods whose answer tells what became of each row.
    pub fn interactive_methods(&self) -> impl Iterator<Item = &Method> {
        self.methods
            .iter()
            .filter(|method| method.kind == MethodKind::Interactive)
    }

    /// Reads and checks a manifest. Every mistake that can be told apart is reported at once, in the order in which
    /// they stand in the text.
    pub fn parse(text: &str) -> Result<Self, Vec<ManifestProblem>> {
        let (document, mut problems) = text::Document::parse(text);
        if problems.is_empty() {
            let (manifest, unread) = document.read();
            problems = unread;
            if let Some(manifest) = manifest {
                problems.extend(check::check(&manifest, &document, problems.is_empty()));
                if problems.is_empty() {
                    return Ok(manifest);
                }
            }
        }
        problems.sort();
        problems.dedup();
        Err(problems)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    Connector,
    Mapping,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginSection {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// Semantic version of the plugin itself.
    pub version: String,
    pub kind: PluginKind,
    /// Version of `tidegate:plugin` that it was built against.
    pub wit: String,
    #[serde(default)]
    pub description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    Rust,
    Python,
    Javascript,
    C,
}

/// How `tidegate plugin build` makes the component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuildSection {
    pub language: Language,
    /// The module or file to start from, where the language needs one.
    #[serde(default)]
    pub entry: Option<String>,
}

/// A kind of place the plugin needs to reach; the operator gives it a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Origin {
    /// `main` is the one that a request without `origin` goes to.
    pub name: String,
    pub protocol: Protocol,
    #[serde(default)]
    pub description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Https,
    Sqlite,
    Postgres,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Auth {
    /// Schemes the vendor accepts; the operator picks one.
    pub schemes: Vec<AuthScheme>,
    /// Path of the token endpoint on the main origin.
    #[serde(default)]
    pub token_path: Option<String>,
    /// Answers that mean: this token is over, get another and repeat the request once.
    #[serde(default)]
    pub expired: Vec<Sign>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthScheme {
    None,
    Oauth2ClientCredentials,
    Oauth2RefreshToken,
    Bearer,
    ApiKeyHeader,
}

/// Requests whose credential stands in their body: SOAP 1.1. The plugin gives what goes into the envelope's Body, one element,
/// and the host writes the envelope around it, with the token in a header of its own; no Authorization goes along.
/// The answers' faults are read as errors: the fault code without its prefix, and the text without that code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Envelope {
    /// Of the requests' paths.
    pub path_prefix: String,
    /// Of the elements that have no prefix, the plugin's too.
    pub namespace: String,
    /// The elements that the token stands in, in the envelope's Header, outermost first.
    pub token: Vec<String>,
}

impl Manifest {
    /// The envelope that a request by this path goes in.
    pub fn envelope(&self, path: &str) -> Option<&Envelope> {
        let mut envelopes = self.envelopes.iter();
        envelopes.find(|envelope| path.starts_with(&envelope.path_prefix))
    }
}

/// An answer recognised by what it says. All that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sign {
    #[serde(default)]
    pub status: Option<u16>,
    /// Equal to the body's code, found as `[errors]` says.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub message_prefix: Option<String>,
    /// Does not begin so; for a code with several causes.
    #[serde(default)]
    pub message_prefix_not: Vec<String>,
}

/// Where an error body keeps its code and message: JSON pointers, tried in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ErrorShape {
    pub code: Vec<String>,
    pub message: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CursorScope {
    /// One stream and cursor per object.
    Object,
    /// One for all objects of the endpoint together.
    Endpoint,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Capture {
    pub cursor: CursorScope,
    /// Pause between pulls when idle and the page names none, such as `5s`.
    pub interval: String,
    /// The host wakes the stream when the endpoint's database file changes.
    #[serde(default)]
    pub wake_on_commit: bool,
    /// Streams that one pull may carry.
    #[serde(default = "one")]
    pub streams_max: u32,
    #[serde(default = "default_page_rows")]
    pub page_rows_max: u32,
}

const INTERVAL_MS: u64 = 5_000;
const PAGE_ROWS: u32 = 200;

impl Manifest {
    /// Pause between looks at a stream when it is idle.
    pub fn interval_ms(&self) -> u64 {
        let capture = self.capture.as_ref();
        let interval = capture.and_then(|capture| parse_duration(&capture.interval).ok());
        interval.map_or(INTERVAL_MS, |interval| {
            u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// The most rows of a page.
    pub fn page_rows(&self) -> u32 {
        let capture = self.capture.as_ref();
        capture.map_or(PAGE_ROWS, |capture| capture.page_rows_max)
    }

    /// Whether one position covers all objects of an endpoint.
    pub fn is_endpoint_wide(&self) -> bool {
        let capture = self.capture.as_ref();
        capture.is_some_and(|capture| capture.cursor == CursorScope::Endpoint)
    }
}

fn one() -> u32 {
    1
}

fn default_page_rows() -> u32 {
    2_000
}

/// What is longer is a mistake: nothing that is used would ever come back.
pub(crate) const WINDOW_MAX: std::time::Duration = std::time::Duration::from_secs(366 * 86_400);

/// A budget of the vendor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pool {
    pub name: String,
    /// Units in any window, or at once for a concurrency pool.
    pub limit: u64,
    pub window: Window,
    pub scope: Scope,
    /// What a request draws.
    #[serde(default)]
    pub cost: Cost,
    /// Where requests differ in what they draw: the first that fits decides, else `cost`.
    #[serde(default)]
    pub costs: Vec<CostRule>,
    /// Which requests draw; all when empty. One match suffices.
    #[serde(default)]
    pub requests: Vec<RequestMatch>,
    /// Whether the operator may set another limit, as editions and add-ons differ.
    #[serde(default = "yes")]
    pub overridable: bool,
    /// Where the figure comes from.
    #[serde(default)]
    pub source: String,
}

impl Pool {
    /// The most that the cheapest request of any one rule draws: the limit has to hold that much, or such a
    /// request waits for ever. Time is not named by requests.
    pub fn dearest(&self) -> u64 {
        let ruled = self.costs.iter().map(|rule| rule.cost.least()).max();
        match self.window {
            Window::ExecutionTime(_) => 1,
            _ => self.cost.least().max(ruled.unwrap_or_default()),
        }
    }
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Window {
    /// Any stretch of this length, such as `24h`.
    Rolling(String),
    /// From midnight to midnight in an IANA zone.
    CalendarDay(String),
    /// Requests in flight; only those that have lasted `after` when given.
    Concurrency {
        #[serde(default)]
        after: Option<String>,
    },
    /// Sum of execution time in any stretch of this length; limit in milliseconds.
    ExecutionTime(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The whole org or account, whoever calls.
    Account,
    /// One connected app or credential.
    App,
    User,
    /// Each web server of the vendor by itself.
    Server,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Cost {
    /// Units per request.
    Request(u32),
    /// `units` for every started `rows` rows of the request.
    Rows { rows: u32, units: u32 },
}

impl Cost {
    /// Units of a request that carries so many rows.
    pub fn units(&self, rows: u32) -> u64 {
        match self {
            Self::Request(units) => u64::from(*units),
            Self::Rows { rows: each, units } => {
                u64::from(rows.max(1).div_ceil((*each).max(1))) * u64::from(*units)
            }
        }
    }

    /// The least that such a request can draw.
    pub fn least(&self) -> u64 {
        match self {
            Self::Request(units) | Self::Rows { units, .. } => u64::from(*units),
        }
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::Request(1)
    }
}

/// What some requests draw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CostRule {
    pub when: RequestMatch,
    pub cost: Cost,
}

/// Requests told by how they look. All that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequestMatch {
    #[serde(default)]
    pub method: Option<crate::plugin::HttpMethod>,
    #[serde(default)]
    pub path_prefix: Option<String>,
    #[serde(default)]
    pub path_contains: Option<String>,
    /// The whole path; `*` stands for any one segment, as in `/api/v2/*/*`.
    #[serde(default)]
    pub path: Option<String>,
    /// Requests that carry so many rows or more.
    #[serde(default)]
    pub rows_min: Option<u32>,
}

/// How an answer tells the use of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reading {
    pub pool: String,
    pub header: String,
    /// The header's text with `{used}`, `{limit}`, `{remaining}` where the numbers stand; text before
    /// and after may differ from the pattern's ends.
    pub pattern: String,
    /// What the numbers count.
    #[serde(default)]
    pub unit: ReadingUnit,
}

/// What the numbers of a reading count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadingUnit {
    /// Whole units of the pool.
    #[default]
    Units,
    /// Seconds, of a pool that counts milliseconds; with decimals after a point, and commas between thousands, where the
    /// vendor writes them.
    Seconds,
}

/// A resource that tells the use of pools in its body. The host reads it when no answer has told it for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gauge {
    /// On the main origin, read by GET; the answer is JSON. `{name}` stands for a property of the endpoint's config.
    pub path: String,
    /// So long after a pool was told last.
    pub every: String,
    pub pools: Vec<GaugedPool>,
}

impl Gauge {
    /// Names in the path, each of a property of the endpoint's config.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let after = self.path.split('{').skip(1);
        after.map(|rest| rest.split_once('}').map_or(rest, |(name, _)| name))
    }

    /// The path at an endpoint with this config; what it leaves out is as `properties`, of the manifest's schema, has it.
    fn path_at(&self, properties: &serde_json::Value, config: &serde_json::Value) -> String {
        let mut path = self.path.clone();
        for name in self.names() {
            let value = config
                .get(name)
                .or_else(|| properties.get(name)?.get("default"));
            let text = match value {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => continue,
            };
            path = path.replace(&format!("{{{name}}}"), &text);
        }
        path
    }
}

impl Manifest {
    /// As it is for an endpoint with this config.
    pub fn at(mut self, config: &serde_json::Value) -> Self {
        let none = serde_json::Value::Null;
        let properties = self.config.get("properties").unwrap_or(&none);
        for gauge in &mut self.gauges {
            gauge.path = gauge.path_at(properties, config);
        }
        self.reads.retain(|read| read.is_at(properties, config));
        self
    }
}

/// Where a pool's figures stand in a body: JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GaugedPool {
    pub pool: String,
    #[serde(default)]
    pub used: Option<String>,
    #[serde(default)]
    pub limit: Option<String>,
    #[serde(default)]
    pub remaining: Option<String>,
}

/// An answer that means a pool is spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Throttle {
    pub when: Sign,
    pub pool: String,
    /// How long when the answer does not say; absent means exponential with jitter.
    #[serde(default)]
    pub park: Option<String>,
    /// Header with seconds or a date.
    #[serde(default)]
    pub retry_after_header: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodKind {
    /// The answer holds the outcomes.
    Interactive,
    /// A job to be polled.
    Job,
}

/// One way to carry rows to the vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Method {
    pub name: String,
    pub kind: MethodKind,
    pub operations: Vec<OperationKind>,
    #[serde(default = "one")]
    pub rows_min: u32,
    pub rows_max: u32,
    pub bytes_max: u64,
    /// Calls that a full use costs, whatever the rows.
    #[serde(default = "one")]
    pub calls: u32,
    /// Different objects that one use may carry.
    #[serde(default = "one")]
    pub objects_max: u32,
    /// Different operations that one use may carry.
    #[serde(default = "one")]
    pub operations_max: u32,
    /// Rows may refer to rows of the same push.
    #[serde(default)]
    pub references: bool,
    /// Pools from which one request of a use draws by its rows, besides those from which every request does. For
    /// what is said before a request is made; a request itself is told by `requests` of the pool.
    #[serde(default)]
    pub draws: Vec<String>,
}

impl Method {
    pub fn carries(&self, operation: OperationKind) -> bool {
        self.operations.contains(&operation)
    }
}

/// One way in which the connector reads an object. The connector chooses, by the fewest calls; this says what its choice
/// will cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Read {
    pub name: String,
    pub of: StreamKind,
    /// Rows that one call brings at most.
    pub rows_max: u32,
    /// Calls of a stream before its first row.
    #[serde(default)]
    pub calls_once: u32,
    /// Pools from which one of those draws, besides those from which every request does.
    #[serde(default)]
    pub draws: Vec<String>,
    /// Only where these properties of the endpoint's config have one of these values.
    #[serde(default)]
    pub when: BTreeMap<String, Vec<serde_json::Value>>,
}

impl Read {
    fn is_at(&self, properties: &serde_json::Value, config: &serde_json::Value) -> bool {
        self.when.iter().all(|(name, values)| {
            let value = config
                .get(name)
                .or_else(|| properties.get(name)?.get("default"));
            value.is_some_and(|value| values.contains(value))
        })
    }
}

/// How deliveries to us are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhook {
    pub signature: String,
    pub header: String,
    #[serde(default)]
    pub timestamp_header: Option<String>,
    #[serde(default)]
    pub tolerance: Option<String>,
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}
