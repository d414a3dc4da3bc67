//! What a manifest's types can't express: names that must exist, numbers that must not be zero, parts that
//! belong together.

use std::collections::BTreeSet;

use super::text::{Document, ManifestProblem, nearest};
use super::{Auth, Manifest, Method, PluginKind, Pool, Read, ReadingUnit, Window};
use crate::time::parse_duration;

/// Mistakes are gathered with their pointers, and get their places at the end.
struct Check<'a> {
    manifest: &'a Manifest,
    found: Vec<(String, String)>,
    /// Whether the whole of the text was understood; if not, a name that seems missing may only be unread.
    whole: bool,
}

pub(super) fn check(
    manifest: &Manifest,
    document: &Document<'_>,
    whole: bool,
) -> Vec<ManifestProblem> {
    let mut check = Check {
        manifest,
        found: Vec::new(),
        whole,
    };
    check.plugin();
    check.sections();
    check.names();
    check.auth();
    check.envelopes();
    check.capture();
    check.pools();
    check.readings();
    check.gauges();
    check.throttles();
    check.methods();
    check.reads();
    check.webhook();
    check
        .found
        .into_iter()
        .map(|(pointer, reason)| document.problem(&pointer, reason))
        .collect()
}

impl Check<'_> {
    fn problem(&mut self, pointer: impl Into<String>, reason: impl Into<String>) {
        self.found.push((pointer.into(), reason.into()));
    }

    fn duration(&mut self, pointer: &str, written: Option<&str>) {
        if let Some(Err(error)) = written.map(parse_duration) {
            self.problem(pointer, error.to_string());
        }
    }

    fn above_zero(&mut self, pointer: String, value: u64) {
        if value == 0 {
            self.problem(pointer, "must be at least 1");
        }
    }

    fn plugin(&mut self) {
        let plugin = &self.manifest.plugin;
        if !is_name(&plugin.name) {
            let reason = format!(
                "`{}` is not a name: lower-case letters, digits and hyphens, beginning with a letter",
                plugin.name
            );
            self.problem("/plugin/name", reason);
        }
        for (pointer, version) in [
            ("/plugin/version", &plugin.version),
            ("/plugin/wit", &plugin.wit),
        ] {
            if let Err(error) = semver::Version::parse(version) {
                self.problem(
                    pointer,
                    format!("`{version}` is not a version such as `1.2.3`: {error}"),
                );
            }
        }
    }

    /// A mapping reaches nothing, so it has nothing to say of a vendor; a connector must say where it reaches,
    /// and what for.
    fn sections(&mut self) {
        let manifest = self.manifest;
        let present = [
            ("origins", !manifest.origins.is_empty()),
            ("auth", manifest.auth.is_some()),
            ("envelopes", !manifest.envelopes.is_empty()),
            ("capture", manifest.capture.is_some()),
            ("errors", manifest.errors.is_some()),
            ("pools", !manifest.pools.is_empty()),
            ("readings", !manifest.readings.is_empty()),
            ("gauges", !manifest.gauges.is_empty()),
            ("throttles", !manifest.throttles.is_empty()),
            ("methods", !manifest.methods.is_empty()),
            ("reads", !manifest.reads.is_empty()),
            ("webhook", manifest.webhook.is_some()),
        ];
        if manifest.plugin.kind == PluginKind::Mapping {
            for (section, _) in present.into_iter().filter(|(_, present)| *present) {
                let reason = format!("a mapping reaches nothing, so it has no `{section}`");
                self.problem(format!("/{section}"), reason);
            }
            return;
        }
        if !self.whole {
            return;
        }
        let missing = |section| {
            present
                .iter()
                .any(|(name, present)| *name == section && !present)
        };
        if missing("origins") {
            self.problem(
                "/plugin/kind",
                "a connector needs at least one [[origins]] to reach",
            );
        }
        if missing("methods") && missing("capture") {
            let reason =
                "a connector needs [[methods]] to write by, or [capture] to read by, or both";
            self.problem("/plugin/kind", reason);
        }
        if missing("pools")
            && manifest
                .origins
                .iter()
                .any(|origin| origin.protocol == super::Protocol::Https)
        {
            let reason =
                "a connector of an HTTP vendor needs [[pools]]: nothing is sent without a permit";
            self.problem("/plugin/kind", reason);
        }
    }

    /// Names are well formed and occur once.
    fn names(&mut self) {
        let manifest = self.manifest;
        let lists: [(&str, Vec<&str>); 3] = [
            (
                "origins",
                manifest
                    .origins
                    .iter()
                    .map(|origin| origin.name.as_str())
                    .collect(),
            ),
            (
                "pools",
                manifest
                    .pools
                    .iter()
                    .map(|pool| pool.name.as_str())
                    .collect(),
            ),
            (
                "methods",
                manifest
                    .methods
                    .iter()
                    .map(|method| method.name.as_str())
                    .collect(),
            ),
        ];
        for (list, names) in lists {
            let mut seen = BTreeSet::new();
            for (index, name) in names.into_iter().enumerate() {
                let pointer = format!("/{list}/{index}/name");
                if !is_name(name) {
                    let reason =
                        format!("`{name}` is not a name: lower-case letters, digits and hyphens");
                    self.problem(pointer, reason);
                } else if !seen.insert(name) {
                    self.problem(pointer, format!("there is another `{name}` in [[{list}]]"));
                }
            }
        }
        let has_main = manifest.origins.iter().any(|origin| origin.name == "main");
        if self.whole && !manifest.origins.is_empty() && !has_main {
            let reason =
                "one origin must be named `main`: requests go there unless they name another";
            self.problem("/origins/0/name", reason);
        }
    }

    fn auth(&mut self) {
        let Some(Auth {
            schemes,
            token_path,
            expired,
        }) = &self.manifest.auth
        else {
            return;
        };
        if schemes.is_empty() {
            self.problem("/auth/schemes", "needs at least one scheme");
        }
        if token_path
            .as_ref()
            .is_some_and(|path| !path.starts_with('/'))
        {
            self.problem("/auth/token-path", "must begin with `/`");
        }
        for (index, sign) in expired.iter().enumerate() {
            self.sign(&format!("/auth/expired/{index}"), sign);
        }
    }

    fn envelopes(&mut self) {
        for (index, envelope) in self.manifest.envelopes.iter().enumerate() {
            let pointer = format!("/envelopes/{index}");
            if !envelope.path_prefix.starts_with('/') {
                self.problem(format!("{pointer}/path-prefix"), "must begin with `/`");
            }
            if envelope.namespace.is_empty()
                || envelope.namespace.contains(['<', '>', '&', '"', '\''])
            {
                self.problem(format!("{pointer}/namespace"), "is no namespace's name");
            }
            if envelope.token.is_empty() || !envelope.token.iter().all(|name| is_element(name)) {
                let reason = "needs the names of the elements that the token stands in: letters and digits, beginning with a letter";
                self.problem(format!("{pointer}/token"), reason);
            }
        }
    }

    fn sign(&mut self, pointer: &str, sign: &super::Sign) {
        if *sign == super::Sign::default() {
            self.problem(
                pointer,
                "matches every answer; give a status, code or message",
            );
        }
        if sign
            .status
            .is_some_and(|status| !(100..=599).contains(&status))
        {
            self.problem(format!("{pointer}/status"), "is not an HTTP status");
        }
        let by_body = sign.code.is_some() || sign.message_prefix.is_some();
        if self.whole
            && by_body
            && self.manifest.errors.is_none()
            && self.manifest.envelopes.is_empty()
        {
            let reason = "goes by the body's code or message; say where they stand in [errors]";
            self.problem(pointer, reason);
        }
    }

    fn capture(&mut self) {
        let Some(capture) = &self.manifest.capture else {
            return;
        };
        self.duration("/capture/interval", Some(&capture.interval));
        self.above_zero("/capture/streams-max".into(), capture.streams_max.into());
        self.above_zero(
            "/capture/page-rows-max".into(),
            capture.page_rows_max.into(),
        );
    }

    fn pools(&mut self) {
        for (index, pool) in self.manifest.pools.iter().enumerate() {
            let pointer = format!("/pools/{index}");
            self.above_zero(format!("{pointer}/limit"), pool.limit);
            self.window(&pointer, pool);
            self.cost(&format!("{pointer}/cost"), &pool.cost);
            for (rule, ruled) in pool.costs.iter().enumerate() {
                self.cost(&format!("{pointer}/costs/{rule}/cost"), &ruled.cost);
            }
            if pool.limit > 0 && pool.dearest() > pool.limit {
                let reason = format!(
                    "a request that draws {} would never pass a limit of {}",
                    pool.dearest(),
                    pool.limit
                );
                self.problem(format!("{pointer}/limit"), reason);
            }
        }
    }

    fn cost(&mut self, pointer: &str, cost: &super::Cost) {
        if let super::Cost::Rows { rows, units } = cost {
            self.above_zero(format!("{pointer}/rows/rows"), (*rows).into());
            self.above_zero(format!("{pointer}/rows/units"), (*units).into());
        }
    }

    fn window(&mut self, pointer: &str, pool: &Pool) {
        let pointer = format!("{pointer}/window");
        match &pool.window {
            Window::Rolling(length) | Window::ExecutionTime(length) => {
                self.duration(&pointer, Some(length));
                if parse_duration(length).is_ok_and(|length| length > super::WINDOW_MAX) {
                    let reason =
                        format!("`{length}` is longer than a year: such a window never ends");
                    self.problem(pointer, reason);
                }
            }
            Window::Concurrency { after } => self.duration(&pointer, after.as_deref()),
            Window::CalendarDay(zone) => {
                if jiff::tz::TimeZone::get(zone).is_err() {
                    self.problem(
                        pointer,
                        format!("`{zone}` is not an IANA time zone such as `UTC`"),
                    );
                }
            }
        }
    }

    /// A pool that is named somewhere exists.
    fn pool_named(&mut self, pointer: String, pool: &str) {
        let manifest = self.manifest;
        let names = || manifest.pools.iter().map(|pool| pool.name.as_str());
        if !self.whole || names().any(|name| name == pool) {
            return;
        }
        let hint = nearest(pool, names())
            .map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        self.problem(pointer, format!("there is no pool `{pool}`{hint}"));
    }

    fn readings(&mut self) {
        for (index, reading) in self.manifest.readings.iter().enumerate() {
            let pointer = format!("/readings/{index}");
            self.pool_named(format!("{pointer}/pool"), &reading.pool);
            let numbers = ["{used}", "{limit}", "{remaining}"];
            if !numbers
                .iter()
                .any(|number| reading.pattern.contains(number))
            {
                let reason =
                    "holds none of `{used}`, `{limit}` and `{remaining}`, so it reads nothing";
                self.problem(format!("{pointer}/pattern"), reason);
            }
            if reading.header.is_empty() {
                self.problem(format!("{pointer}/header"), "is empty");
            }
            let pools = &self.manifest.pools;
            let other = pools.iter().any(|pool| {
                pool.name == reading.pool && !matches!(pool.window, Window::ExecutionTime(_))
            });
            if reading.unit == ReadingUnit::Seconds && other {
                let reason = format!("pool `{}` does not count execution time", reading.pool);
                self.problem(format!("{pointer}/unit"), reason);
            }
        }
    }

    fn gauges(&mut self) {
        for (index, gauge) in self.manifest.gauges.iter().enumerate() {
            let pointer = format!("/gauges/{index}");
            if !gauge.path.starts_with('/') {
                self.problem(format!("{pointer}/path"), "does not begin with `/`");
            }
            let properties = self.manifest.config.get("properties");
            let known = |name: &str| properties.is_some_and(|all| all.get(name).is_some());
            for name in gauge.names().filter(|name| !known(name)) {
                let reason = format!("`{name}` is no property of the plugin's config");
                self.problem(format!("{pointer}/path"), reason);
            }
            self.duration(&format!("{pointer}/every"), Some(&gauge.every));
            if gauge.pools.is_empty() {
                self.problem(format!("{pointer}/pools"), "is empty");
            }
            for (index, pool) in gauge.pools.iter().enumerate() {
                let pointer = format!("{pointer}/pools/{index}");
                self.pool_named(format!("{pointer}/pool"), &pool.pool);
                if pool.used.is_none() && pool.remaining.is_none() {
                    let reason = "has neither `used` nor `remaining`, so it reads nothing";
                    self.problem(pointer.clone(), reason);
                }
                let written = [
                    ("used", &pool.used),
                    ("limit", &pool.limit),
                    ("remaining", &pool.remaining),
                ];
                for (key, written) in written {
                    if written.as_ref().is_some_and(|text| !text.starts_with('/')) {
                        let reason = "is no JSON pointer, which begins with `/`";
                        self.problem(format!("{pointer}/{key}"), reason);
                    }
                }
            }
        }
    }

    fn throttles(&mut self) {
        for (index, throttle) in self.manifest.throttles.iter().enumerate() {
            let pointer = format!("/throttles/{index}");
            self.pool_named(format!("{pointer}/pool"), &throttle.pool);
            self.sign(&format!("{pointer}/when"), &throttle.when);
            self.duration(&format!("{pointer}/park"), throttle.park.as_deref());
        }
    }

    fn methods(&mut self) {
        let manifest = self.manifest;
        for (index, method) in manifest.methods.iter().enumerate() {
            let pointer = format!("/methods/{index}");
            let Method {
                rows_min,
                rows_max,
                bytes_max,
                calls,
                objects_max,
                operations_max,
                ..
            } = *method;
            let numbers = [
                ("rows-max", u64::from(rows_max)),
                ("bytes-max", bytes_max),
                ("calls", u64::from(calls)),
                ("objects-max", u64::from(objects_max)),
                ("operations-max", u64::from(operations_max)),
            ];
            for (name, value) in numbers {
                self.above_zero(format!("{pointer}/{name}"), value);
            }
            if rows_min > rows_max {
                let reason = format!("asks for at least {rows_min} rows and at most {rows_max}");
                self.problem(format!("{pointer}/rows-min"), reason);
            }
            for (place, pool) in method.draws.iter().enumerate() {
                self.pool_named(format!("{pointer}/draws/{place}"), pool);
            }
            if method.operations.is_empty() {
                self.problem(
                    format!("{pointer}/operations"),
                    "needs at least one operation",
                );
            }
        }
    }

    fn reads(&mut self) {
        let manifest = self.manifest;
        for (index, read) in manifest.reads.iter().enumerate() {
            let pointer = format!("/reads/{index}");
            self.above_zero(format!("{pointer}/rows-max"), read.rows_max.into());
            for (place, pool) in read.draws.iter().enumerate() {
                self.pool_named(format!("{pointer}/draws/{place}"), pool);
            }
            let properties = manifest.config.get("properties");
            for name in read.when.keys() {
                if properties.is_none_or(|all| all.get(name).is_none()) {
                    let reason = format!("`{name}` is no property of the plugin's config");
                    self.problem(format!("{pointer}/when/{name}"), reason);
                }
            }
            let same = |other: &Read| other.name == read.name && other.of == read.of;
            if !is_name(&read.name) {
                let reason = format!(
                    "`{}` is not a name: lower-case letters, digits and hyphens",
                    read.name
                );
                self.problem(format!("{pointer}/name"), reason);
            } else if manifest.reads[..index].iter().any(same) {
                let reason = format!("there is another `{}` for the same in [[reads]]", read.name);
                self.problem(format!("{pointer}/name"), reason);
            }
        }
    }

    fn webhook(&mut self) {
        let Some(webhook) = &self.manifest.webhook else {
            return;
        };
        self.duration("/webhook/tolerance", webhook.tolerance.as_deref());
        if webhook.signature.is_empty() {
            self.problem(
                "/webhook/signature",
                "is empty; name the scheme by which deliveries are signed",
            );
        }
        if webhook.header.is_empty() {
            self.problem(
                "/webhook/header",
                "is empty; name the header that carries the signature",
            );
        }
    }
}

/// The local name of an XML element, of letters and digits.
fn is_element(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Lower-case letters, digits and hyphens, beginning with a letter.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && text.len() <= 64
}
