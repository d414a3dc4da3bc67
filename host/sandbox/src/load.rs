//! From a file's bytes to a plugin that can be called, or a clear no.
//!
//! In this order, cheapest and safest first: size, shape, manifest, interfaces, types, and only then the
//! compiler. Nothing of the plugin runs.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidegate_core::manifest::{Manifest, ManifestProblem, PluginKind};
use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre};

use crate::anatomy::{self, Interface, Sections, Shape, Surface, Surfaces};
use crate::bindings::{connecting, mapping_exports, receiving};
use crate::conduct::Watch;
use crate::engine::Sandbox;
use crate::fit::{self, Side};
use crate::guest::Guest;
use crate::limits::{Knob, Limits};
use crate::plugin::{Exports, Plugin};
use crate::surroundings;
use crate::wit::{self, WIT_VERSION, World};

/// Why a file is not accepted as a plugin. The host is unharmed, and nothing of the file was run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("this is not a WebAssembly file")]
    NotWasm,
    #[error(
        "this is a core WebAssembly module, not a component; build plugins with `tidegate plugin build DIR`"
    )]
    CoreModule,
    #[error("this component can't be read: {0:#}")]
    Broken(anyhow::Error),
    #[error(
        "this component has no manifest (custom section `{section}`); build plugins with `tidegate plugin build DIR`",
        section = anatomy::MANIFEST_SECTION
    )]
    NoManifest,
    #[error("the manifest has mistakes:{}", list(.0))]
    ManifestInvalid(Vec<ManifestProblem>),
    #[error(
        "the component has {bytes} bytes and may have {bytes_max}; raise {knob} of the plugin's limits if it needs more",
        knob = Knob::ComponentBytes
    )]
    Oversized { bytes: u64, bytes_max: u64 },
    #[error("{0}")]
    WrongWorld(String),
    #[error(
        "your plugin wants tidegate:plugin@{wanted}, this host offers {WIT_VERSION}; rebuild it against that"
    )]
    WrongWitVersion { wanted: String },
    #[error("the plugin asks for what no plugin gets:{}", lines(.0))]
    ImportsRefused(Vec<String>),
    #[error(
        "this is a mapping and imports {0}; mappings are pure and reach nothing: make it a connector, or drop the import"
    )]
    MappingNotPure(String),
    #[error("the component could not be compiled")]
    CompileFailed(#[source] wasmtime::Error),
    #[error(
        "the plugin needs {needs} of {knob} before it does anything, and may have {limit}; raise that limit"
    )]
    LimitTooLow { knob: Knob, needs: u64, limit: u64 },
    #[error("these limits are zero, so that no call could succeed: {}", .0.join(", "))]
    LimitsInvalid(Vec<&'static str>),
}

impl LoadError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWasm => "not-wasm",
            Self::CoreModule => "core-module",
            Self::Broken(_) => "broken-component",
            Self::NoManifest => "no-manifest",
            Self::ManifestInvalid(_) => "manifest-invalid",
            Self::Oversized { .. } => Knob::ComponentBytes.code(),
            Self::WrongWorld(_) => "wrong-world",
            Self::WrongWitVersion { .. } => "wrong-wit-version",
            Self::ImportsRefused(_) => "imports-refused",
            Self::MappingNotPure(_) => "mapping-not-pure",
            Self::CompileFailed(_) => "compile-failed",
            Self::LimitTooLow { knob, .. } => knob.code(),
            Self::LimitsInvalid(_) => "limits-invalid",
        }
    }
}

fn list(problems: &[ManifestProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n  {problem}"))
        .collect()
}

fn lines(reasons: &[String]) -> String {
    reasons
        .iter()
        .map(|reason| format!("\n  {reason}"))
        .collect()
}

impl Sandbox {
    /// Checks and compiles a component. The heavy work is done off the async threads.
    pub async fn load(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        limits: Limits,
    ) -> Result<Arc<Plugin>, LoadError> {
        let sandbox = Arc::clone(self);
        match tokio::task::spawn_blocking(move || sandbox.load_blocking(&bytes, limits)).await {
            Ok(loaded) => loaded,
            Err(joined) => match joined.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(LoadError::CompileFailed(wasmtime::Error::new(cancelled))),
            },
        }
    }

    fn load_blocking(
        self: &Arc<Self>,
        bytes: &[u8],
        limits: Limits,
    ) -> Result<Arc<Plugin>, LoadError> {
        limits.check().map_err(LoadError::LimitsInvalid)?;
        let manifest = examine(bytes, limits.component_bytes_max)?.manifest;
        let hash = hash(bytes);
        let component = self.compile(bytes, &hash)?;
        check_needs(&component, &limits)?;
        let (pre, exports) = self.link(&component, manifest.plugin.kind)?;
        Ok(Arc::new(Plugin {
            name: manifest.plugin.name.as_str().into(),
            manifest,
            hash,
            calls: Semaphore::new(permits(limits.calls_max)),
            limits: Arc::new(limits),
            sandbox: Arc::clone(self),
            pre,
            exports,
            trails: Default::default(),
            watch: Watch::default(),
        }))
    }

    fn compile(&self, bytes: &[u8], hash: &str) -> Result<Component, LoadError> {
        let cached = self
            .cache
            .as_ref()
            .and_then(|cache| cache.get(&self.engine, hash));
        if let Some(component) = cached {
            return Ok(component);
        }
        let component =
            Component::from_binary(&self.engine, bytes).map_err(LoadError::CompileFailed)?;
        if let Some(cache) = &self.cache {
            cache.put(hash, &component);
        }
        Ok(component)
    }

    /// A missing import fails here, as does an export of another type.
    fn link(
        &self,
        component: &Component,
        kind: PluginKind,
    ) -> Result<(InstancePre<Guest>, Exports), LoadError> {
        let pre = self
            .linker
            .instantiate_pre(component)
            .map_err(|error| LoadError::ImportsRefused(vec![format!("{error:#}")]))?;
        let exports = match kind {
            PluginKind::Connector => {
                let connector = connecting::GuestIndices::new(&pre).map_err(other_type)?;
                let inbound = component
                    .get_export_index(None, wit::interface("inbound"))
                    .map(|_| receiving::GuestIndices::new(&pre))
                    .transpose()
                    .map_err(other_type)?;
                Exports::Connector { connector, inbound }
            }
            PluginKind::Mapping => {
                Exports::Mapping(mapping_exports::GuestIndices::new(&pre).map_err(other_type)?)
            }
        };
        Ok((pre, exports))
    }
}

fn permits(calls_max: u64) -> usize {
    usize::try_from(calls_max).map_or(Semaphore::MAX_PERMITS, |calls| {
        calls.min(Semaphore::MAX_PERMITS)
    })
}

const PAGE_BYTES: u64 = 65_536;

/// What every call would need at its start. A language runtime may need more than the limits allow by default, and
/// is better told so now than at its first call.
fn check_needs(component: &Component, limits: &Limits) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Ok(());
    };
    let memory_bytes = needs
        .max_initial_memory_size
        .map(|pages| pages.saturating_mul(PAGE_BYTES));
    let needs = [
        (Knob::MemoryBytes, memory_bytes, limits.memory_bytes_max),
        (
            Knob::TableElements,
            needs.max_initial_table_size,
            limits.table_elements_max,
        ),
    ];
    for (knob, needs, limit) in needs {
        if let Some(needs) = needs.filter(|needs| *needs > limit) {
            return Err(LoadError::LimitTooLow { knob, needs, limit });
        }
    }
    Ok(())
}

fn other_type(error: wasmtime::Error) -> LoadError {
    LoadError::WrongWorld(format!("{error:#}"))
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is known of a component before it is compiled.
pub(crate) struct Examined {
    pub(crate) manifest: Manifest,
    pub(crate) surfaces: Surfaces,
    pub(crate) sections: Sections,
}

/// Every check that needs no compiler.
pub(crate) fn examine(bytes: &[u8], bytes_max: u64) -> Result<Examined, LoadError> {
    if bytes.len() as u64 > bytes_max {
        let bytes = bytes.len() as u64;
        return Err(LoadError::Oversized { bytes, bytes_max });
    }
    match anatomy::shape(bytes) {
        Shape::Component => {}
        Shape::CoreModule => return Err(LoadError::CoreModule),
        Shape::Other => return Err(LoadError::NotWasm),
    }
    let sections = anatomy::sections(bytes).map_err(|error| LoadError::Broken(error.into()))?;
    let manifest = read_manifest(&sections)?;
    if manifest.plugin.wit != WIT_VERSION {
        let wanted = manifest.plugin.wit;
        return Err(LoadError::WrongWitVersion { wanted });
    }
    let interface = Interface::decode(bytes).map_err(LoadError::Broken)?;
    let surfaces = interface.surfaces();
    check_imports(&surfaces)?;
    check_purity(&surfaces, manifest.plugin.kind)?;
    check_exports(&surfaces, manifest.plugin.kind)?;
    check_types(&interface)?;
    Ok(Examined {
        manifest,
        surfaces,
        sections,
    })
}

fn read_manifest(sections: &Sections) -> Result<Manifest, LoadError> {
    let text = match sections.manifests.as_slice() {
        [] => return Err(LoadError::NoManifest),
        [text] => text,
        _ => {
            let what = "the component has several manifests, and must have one";
            return Err(LoadError::Broken(anyhow::anyhow!(what)));
        }
    };
    let manifest = Manifest::parse(text).map_err(LoadError::ManifestInvalid)?;
    check_config_schema(&manifest, text)?;
    Ok(manifest)
}

/// The config table must itself be a valid JSON Schema, or no config could be checked against it.
pub(crate) fn check_config_schema(manifest: &Manifest, text: &str) -> Result<(), LoadError> {
    let schema = serde_json::Value::Object(manifest.config.clone());
    match jsonschema::draft202012::new(&schema) {
        Ok(_) => Ok(()),
        Err(error) => {
            let place = error.instance_path().to_string();
            let reason = format!("not a valid JSON Schema: {error}");
            Err(LoadError::ManifestInvalid(vec![
                ManifestProblem::at_pointer(text, &format!("/config{place}"), reason),
            ]))
        }
    }
}

fn check_imports(surfaces: &Surfaces) -> Result<(), LoadError> {
    let mut refused = Vec::new();
    for import in &surfaces.imports {
        if let Some((_, version)) = wit::split_interface(&import.name) {
            if version != WIT_VERSION {
                let wanted = version.to_owned();
                return Err(LoadError::WrongWitVersion { wanted });
            }
        } else if let Some(reason) = refusal(import) {
            refused.push(format!("{}: {reason}", import.name));
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(LoadError::ImportsRefused(refused))
    }
}

/// The gateway is the only way out, so a mapping without it can't but be pure. Its types are not needed
/// either: faults have an interface of their own.
fn check_purity(surfaces: &Surfaces, kind: PluginKind) -> Result<(), LoadError> {
    let gateway = wit::interface("gateway");
    let reaches = surfaces.imports.iter().any(|import| import.name == gateway);
    match kind {
        PluginKind::Mapping if reaches => Err(LoadError::MappingNotPure(gateway)),
        PluginKind::Mapping | PluginKind::Connector => Ok(()),
    }
}

/// Why an import from outside `tidegate:plugin` can't be had.
fn refusal(import: &Surface) -> Option<&'static str> {
    let (package, _) = import.name.split_once('/')?;
    if let Some((_, reason)) = surroundings::ABSENT
        .iter()
        .find(|(name, _)| *name == package)
    {
        return Some(reason);
    }
    let version = import
        .name
        .split_once('@')
        .map_or("", |(_, version)| version);
    if package.starts_with("wasi:") && !version.starts_with("0.2.") {
        return Some("only WASI 0.2 is offered; build without async imports");
    }
    match package {
        "wasi:filesystem" => import
            .functions
            .iter()
            .any(|function| surroundings::touches_files(function))
            .then_some("plugins have no files; keep state in cursors, jobs and config"),
        "wasi:io" | "wasi:clocks" | "wasi:random" | "wasi:cli" => None,
        _ => Some("this host has no such interface"),
    }
}

fn check_exports(surfaces: &Surfaces, kind: PluginKind) -> Result<(), LoadError> {
    let (kind, wanted) = match kind {
        PluginKind::Connector => ("connector", "connector"),
        PluginKind::Mapping => ("mapping", "mapping"),
    };
    let ours = surfaces
        .exports
        .iter()
        .filter_map(|export| wit::split_interface(&export.name));
    for (name, version) in ours.clone() {
        if version != WIT_VERSION && name == wanted {
            let wanted = version.to_owned();
            return Err(LoadError::WrongWitVersion { wanted });
        }
    }
    if ours.clone().any(|(name, _)| name == wanted) {
        return Ok(());
    }
    let found: Vec<_> = surfaces
        .exports
        .iter()
        .map(|export| export.name.as_str())
        .collect();
    let found = if found.is_empty() {
        "nothing".to_owned()
    } else {
        found.join(", ")
    };
    Err(LoadError::WrongWorld(format!(
        "plugin.toml says that this is a {kind}, so it must export {}; it exports {found}",
        wit::interface(wanted)
    )))
}

/// The exact types of all that the host calls. Those of imports are checked by the linker.
fn check_types(interface: &Interface) -> Result<(), LoadError> {
    for world in [World::InboundConnector, World::Mapping] {
        let (resolve, id) = wit::resolve(world).map_err(LoadError::Broken)?;
        for name in ["connector", "inbound", "mapping"] {
            let full = wit::interface(name);
            let (Some(offered), Some(wanted)) = (
                interface.export(&full),
                anatomy::exported(&resolve, id, &full),
            ) else {
                continue;
            };
            let offered = Side {
                resolve: &interface.resolve,
                interface: offered,
            };
            let wanted = Side {
                resolve: &resolve,
                interface: wanted,
            };
            if let Some(difference) = fit::difference(offered, wanted) {
                return Err(LoadError::WrongWorld(format!(
                    "{full} has other types: {difference}"
                )));
            }
        }
    }
    Ok(())
}
