//! The endpoint's config table, as written and as meant.

use serde::Deserialize;
use tidegate_sdk::{Context, Fault};

/// Names us to Salesforce, which shows it as the origin of our changes.
const CLIENT: &str = "tidegate";

/// As the host hands it over; the manifest's schema has been applied, so only defaults are missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Written {
    api_version: String,
    overlap_seconds: u32,
    purged_seconds: u32,
    duplicate_rules: DuplicateRules,
    assignment_rules: bool,
    snapshot: Snapshots,
    converted_status: String,
    convert_opportunity: bool,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            api_version: "60.0".to_owned(),
            overlap_seconds: 600,
            purged_seconds: 900,
            duplicate_rules: DuplicateRules::Enforce,
            assignment_rules: false,
            snapshot: Snapshots::Auto,
            converted_status: "Closed - Converted".to_owned(),
            convert_opportunity: true,
        }
    }
}

/// How all of an object's records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Snapshots {
    /// By a job when that takes fewer calls.
    Auto,
    Query,
    Job,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DuplicateRules {
    Enforce,
    AllowSave,
}

/// What a call goes by.
#[derive(Debug)]
pub(crate) struct Config {
    /// `/services/data/v60.0`
    base: String,
    /// How far behind the vendor's clock a change may become visible.
    pub(crate) overlap_us: i64,
    /// How often records that left the recycle bin are asked for.
    pub(crate) purged_us: i64,
    duplicate_rules: DuplicateRules,
    assignment_rules: bool,
    pub(crate) snapshots: Snapshots,
    /// `/services/Soap/u/60.0`
    soap: String,
    converted_status: String,
    convert_opportunity: bool,
}

impl Config {
    pub(crate) fn read(context: &Context) -> Result<Self, Fault> {
        let written: Written = context.config()?;
        Ok(Self {
            base: format!("/services/data/v{}", written.api_version),
            overlap_us: i64::from(written.overlap_seconds) * 1_000_000,
            purged_us: i64::from(written.purged_seconds) * 1_000_000,
            duplicate_rules: written.duplicate_rules,
            assignment_rules: written.assignment_rules,
            snapshots: written.snapshot,
            soap: format!("/services/Soap/u/{}", written.api_version),
            converted_status: written.converted_status,
            convert_opportunity: written.convert_opportunity,
        })
    }

    /// A path below the API version; `rest` starts with `/`.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.base)
    }

    /// Where the partner WSDL's calls go.
    pub(crate) fn soap_path(&self) -> &str {
        &self.soap
    }

    /// The status that a lead has when it is converted.
    pub(crate) fn converted_status(&self) -> &str {
        &self.converted_status
    }

    /// Whether a conversion makes an opportunity too.
    pub(crate) fn makes_opportunities(&self) -> bool {
        self.convert_opportunity
    }

    /// What says that a write is ours, as header names and values.
    pub(crate) fn origin_headers(&self) -> Vec<(&'static str, String)> {
        vec![("sforce-call-options", format!("client={CLIENT}"))]
    }

    /// Whether a duplicate rule that only alerts lets our writes through.
    pub(crate) fn saves_over_alerts(&self) -> bool {
        self.duplicate_rules == DuplicateRules::AllowSave
    }

    /// What a write says beside its body, as header names and values.
    pub(crate) fn write_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = self.origin_headers();
        if self.saves_over_alerts() {
            headers.push(("sforce-duplicate-rule-header", "allowSave=true".to_owned()));
        }
        if !self.assignment_rules {
            headers.push(("sforce-auto-assign", "FALSE".to_owned()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::manifest::Manifest;

    use super::*;

    #[test]
    fn the_manifest_names_the_defaults_that_are_used() {
        let manifest = Manifest::parse(include_str!("../plugin.toml"))
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let properties = manifest.config["properties"]
            .as_object()
            .expect("properties");
        let defaults: serde_json::Map<String, serde_json::Value> = properties
            .iter()
            .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())))
            .collect();
        let read = |config: &str| {
            let context = Context {
                config: config.to_owned(),
                now: 0,
                rows_max: 1,
            };
            Config::read(&context).map(|config| format!("{config:?}"))
        };
        let told = serde_json::Value::Object(defaults).to_string();
        assert_eq!(
            read("{}").expect("defaults"),
            read(&told).expect("the schema's defaults")
        );
        assert!(read(r#"{"api-verison":"60.0"}"#).is_err());
    }
}
