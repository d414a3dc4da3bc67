//! A plugin for people to read: what it is, what it asks for, where it came from. Nothing is compiled or run.

use std::fmt;

use serde::Serialize;
use tidegate_core::manifest::{AuthScheme, Manifest, Method, Origin, Pool, Window};

use crate::anatomy::{Surface, Surfaces};
use crate::load::{self, LoadError};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    pub manifest: Manifest,
    /// SHA-256 of the file, in hex: what a grant is bound to.
    pub sha256: String,
    pub bytes: u64,
    pub surfaces: Surfaces,
    /// Who made it, as its parts say themselves.
    pub toolchain: Vec<String>,
    /// Whether it takes events from its vendor.
    pub inbound: bool,
}

/// Looks at a component as [`crate::Sandbox::load`] does before it compiles, and refuses the same files.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    let examined = load::examine(bytes, u64::MAX)?;
    let inbound = crate::wit::interface("inbound");
    Ok(Inspection {
        sha256: load::hash(bytes),
        bytes: bytes.len() as u64,
        inbound: examined
            .surfaces
            .exports
            .iter()
            .any(|export| export.name == inbound),
        manifest: examined.manifest,
        surfaces: examined.surfaces,
        toolchain: examined.sections.toolchain.into_iter().collect(),
    })
}

/// Serde's own spelling of a case, which is how the manifest spells it.
fn spelled<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugin = &self.manifest.plugin;
        let kind = spelled(&plugin.kind);
        writeln!(
            f,
            "{} {}, a {kind} for tidegate:plugin@{}",
            plugin.name, plugin.version, plugin.wit
        )?;
        if !plugin.description.is_empty() {
            writeln!(f, "  {}", plugin.description)?;
        }
        writeln!(f, "  {} bytes, sha256 {}", self.bytes, self.sha256)?;
        section(f, "Reaches", self.manifest.origins.iter().map(origin))?;
        let schemes = self.manifest.auth.iter().flat_map(|auth| &auth.schemes);
        section(
            f,
            "Credentials, one of",
            schemes.map(|scheme: &AuthScheme| spelled(scheme)),
        )?;
        let envelopes = self.manifest.envelopes.iter();
        section(
            f,
            "Has its token put into the bodies of",
            envelopes.map(|envelope| format!("{}*, as SOAP", envelope.path_prefix)),
        )?;
        section(f, "Budgets", self.manifest.pools.iter().map(pool))?;
        section(f, "Writes by", self.manifest.methods.iter().map(method))?;
        if self.inbound {
            section(f, "Takes events", ["deliveries from its vendor".to_owned()])?;
        }
        section(f, "Imports", self.surfaces.imports.iter().map(surface))?;
        section(f, "Exports", self.surfaces.exports.iter().map(surface))?;
        section(f, "Made with", self.toolchain.iter().cloned())
    }
}

fn section(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl IntoIterator<Item = String>,
) -> fmt::Result {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    lines.try_for_each(|line| writeln!(f, "  {line}"))
}

fn origin(origin: &Origin) -> String {
    let place = format!("{} ({})", origin.name, spelled(&origin.protocol));
    if origin.description.is_empty() {
        place
    } else {
        format!("{place}: {}", origin.description)
    }
}

fn pool(pool: &Pool) -> String {
    let window = match &pool.window {
        Window::Rolling(length) => format!("units in any {length}"),
        Window::CalendarDay(zone) => format!("units a day ({zone})"),
        Window::Concurrency { after: None } => "requests at once".to_owned(),
        Window::Concurrency { after: Some(after) } => {
            format!("requests at once that last over {after}")
        }
        Window::ExecutionTime(length) => format!("ms of execution in any {length}"),
    };
    format!(
        "{}: {} {window}, per {}",
        pool.name,
        pool.limit,
        spelled(&pool.scope)
    )
}

fn method(method: &Method) -> String {
    let operations: Vec<_> = method.operations.iter().map(spelled).collect();
    format!(
        "{}: {} of {} to {} rows, {} calls, {}",
        method.name,
        operations.join(", "),
        method.rows_min,
        method.rows_max,
        method.calls,
        spelled(&method.kind)
    )
}

fn surface(surface: &Surface) -> String {
    if surface.functions.is_empty() {
        format!("{} (types only)", surface.name)
    } else {
        format!("{}: {}", surface.name, surface.functions.join(", "))
    }
}
