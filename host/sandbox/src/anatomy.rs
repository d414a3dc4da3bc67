//! What a component file is made of, found without compiling or running any of it.

use std::collections::BTreeSet;

use wasmparser::{Encoding, Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem, WorldKey};

/// The custom section that holds `plugin.toml`.
pub const MANIFEST_SECTION: &str = "tidegate:manifest";

/// What the first bytes of a file say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Component,
    CoreModule,
    Other,
}

pub(crate) fn shape(bytes: &[u8]) -> Shape {
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Shape::Component,
        Some(b"\0asm\x01\0\0\0") => Shape::CoreModule,
        _ => Shape::Other,
    }
}

/// The custom sections that matter.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    /// One per manifest section of the outermost component.
    pub(crate) manifests: Vec<String>,
    /// Who made it, as `rustc 1.95.0`, from all its parts.
    pub(crate) toolchain: BTreeSet<String>,
}

pub(crate) fn sections(bytes: &[u8]) -> Result<Sections, wasmparser::BinaryReaderError> {
    let mut sections = Sections::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } if depth == 0 => {
                debug_assert_eq!(encoding, Encoding::Component);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION && depth == 0 => {
                let text = String::from_utf8_lossy(section.data()).into_owned();
                sections.manifests.push(text);
            }
            Payload::CustomSection(section) if section.name() == "producers" => {
                read_producers(
                    section.data(),
                    section.data_offset(),
                    &mut sections.toolchain,
                );
            }
            _ => {}
        }
    }
    Ok(sections)
}

/// Best effort: the section is for people to read, and a broken one harms nothing.
fn read_producers(data: &[u8], offset: u64, into: &mut BTreeSet<String>) {
    let reader = wasmparser::BinaryReader::new(data, offset);
    let Ok(fields) = wasmparser::ProducersSectionReader::new(reader) else {
        return;
    };
    for field in fields.into_iter().flatten() {
        for value in field.values.into_iter().flatten() {
            into.insert(
                format!("{} {}", value.name, value.version)
                    .trim_end()
                    .to_owned(),
            );
        }
    }
}

/// An imported or exported interface, or a function that stands by itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Surface {
    /// With version, such as `tidegate:plugin/log@0.1.0`.
    pub name: String,
    /// Empty for an interface that only brings types.
    pub functions: Vec<String>,
}

/// What a component imports and exports.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Surfaces {
    pub imports: Vec<Surface>,
    pub exports: Vec<Surface>,
}

/// A component's interface, decoded from its types.
pub(crate) struct Interface {
    pub(crate) resolve: Resolve,
    world: WorldId,
}

impl Interface {
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        match wit_component::decode(bytes)? {
            DecodedWasm::Component(resolve, world) => Ok(Self { resolve, world }),
            DecodedWasm::WitPackage(..) => {
                anyhow::bail!("it holds interface definitions and no code")
            }
        }
    }

    pub(crate) fn surfaces(&self) -> Surfaces {
        let world = &self.resolve.worlds[self.world];
        let list = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| {
            items
                .filter_map(|(key, item)| surface(&self.resolve, key, item))
                .collect()
        };
        Surfaces {
            imports: list(&mut world.imports.iter()),
            exports: list(&mut world.exports.iter()),
        }
    }

    /// The exported interface of this full name.
    pub(crate) fn export(&self, name: &str) -> Option<InterfaceId> {
        exported(&self.resolve, self.world, name)
    }
}

pub(crate) fn exported(resolve: &Resolve, world: WorldId, name: &str) -> Option<InterfaceId> {
    let exports = &resolve.worlds[world].exports;
    exports.iter().find_map(|(key, item)| match item {
        WorldItem::Interface { id, .. } if resolve.name_world_key(key) == name => Some(*id),
        _ => None,
    })
}

fn surface(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Option<Surface> {
    let name = resolve.name_world_key(key);
    match item {
        WorldItem::Interface { id, .. } => Some(Surface {
            name,
            functions: resolve.interfaces[*id].functions.keys().cloned().collect(),
        }),
        WorldItem::Function(_) => Some(Surface {
            functions: vec![name.clone()],
            name,
        }),
        WorldItem::Type { .. } => None,
    }
}
