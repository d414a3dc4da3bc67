//! The plugin interface as text, embedded so that plugins can be checked and built anywhere.

use std::path::Path;

use tidegate_core::manifest::PluginKind;
use wit_parser::{Resolve, SourceMap, WorldId};

/// The version of `tidegate:plugin` that this host speaks.
pub const WIT_VERSION: &str = "0.1.0";

const PACKAGE: &str = "tidegate:plugin";

/// The package's files, by name.
pub(crate) const FILES: &[(&str, &str)] = &[
    (
        "connector.wit",
        include_str!("../../../wit/v0.1/connector.wit"),
    ),
    ("faults.wit", include_str!("../../../wit/v0.1/faults.wit")),
    ("gateway.wit", include_str!("../../../wit/v0.1/gateway.wit")),
    ("log.wit", include_str!("../../../wit/v0.1/log.wit")),
    ("mapping.wit", include_str!("../../../wit/v0.1/mapping.wit")),
    ("records.wit", include_str!("../../../wit/v0.1/records.wit")),
    ("world.wit", include_str!("../../../wit/v0.1/world.wit")),
];

/// A set of exports that a component may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    Connector,
    InboundConnector,
    Mapping,
}

impl World {
    pub fn name(self) -> &'static str {
        match self {
            Self::Connector => "connector-plugin",
            Self::InboundConnector => "inbound-connector-plugin",
            Self::Mapping => "mapping-plugin",
        }
    }

    pub(crate) fn of(kind: PluginKind, inbound: bool) -> Self {
        match (kind, inbound) {
            (PluginKind::Mapping, _) => Self::Mapping,
            (PluginKind::Connector, false) => Self::Connector,
            (PluginKind::Connector, true) => Self::InboundConnector,
        }
    }
}

/// An interface's full name at this host's version, such as `tidegate:plugin/log@0.1.0`.
pub(crate) fn interface(name: &str) -> String {
    format!("{PACKAGE}/{name}@{WIT_VERSION}")
}

/// Splits `tidegate:plugin/NAME@VERSION`; `None` for interfaces of other packages.
pub(crate) fn split_interface(full: &str) -> Option<(&str, &str)> {
    full.strip_prefix(PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')
}

/// The parsed package and the world asked for.
pub(crate) fn resolve(world: World) -> anyhow::Result<(Resolve, WorldId)> {
    let mut sources = SourceMap::default();
    for (name, text) in FILES {
        sources.push(Path::new(name), *text);
    }
    let group = sources
        .parse()
        .map_err(|(_, error)| anyhow::anyhow!("the embedded WIT: {error}"))?;
    let mut resolve = Resolve::default();
    let package = resolve
        .push_group(group)
        .map_err(|error| anyhow::anyhow!("the embedded WIT: {error}"))?;
    let id = resolve.select_world(&[package], Some(world.name()))?;
    Ok((resolve, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_world_is_in_the_embedded_text() {
        for world in [World::Connector, World::InboundConnector, World::Mapping] {
            resolve(world).unwrap();
        }
    }
}
