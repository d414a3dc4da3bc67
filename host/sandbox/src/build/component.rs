//! A core module becomes a component, and a component carries its manifest.

use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};

use crate::anatomy::{self, MANIFEST_SECTION, Shape};
use crate::wit::{self, World};

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("this is not a core WebAssembly module")]
    NotAModule,
    #[error("this is not a WebAssembly component")]
    NotAComponent,
    #[error(
        "the module imports `{0}`, so it was built for a WASI command line; build it for \
         wasm32-unknown-unknown, or as a component for wasm32-wasip2"
    )]
    Preview1(String),
    #[error("the file can't be read")]
    Broken(#[source] wasmparser::BinaryReaderError),
    #[error("its imports and exports are not those of a plugin: {0:#}")]
    Interface(anyhow::Error),
}

/// Encodes a core module as a component and embeds the manifest. `world` is used for modules whose toolchain
/// left no interface description in them.
pub fn component_from_core(
    core: &[u8],
    manifest_text: &str,
    world: World,
) -> Result<Vec<u8>, EncodeError> {
    if anatomy::shape(core) != Shape::CoreModule {
        return Err(EncodeError::NotAModule);
    }
    let survey = survey(core).map_err(EncodeError::Broken)?;
    if let Some(import) = survey.preview1 {
        return Err(EncodeError::Preview1(import));
    }
    let mut core = core.to_vec();
    if !survey.described {
        let (resolve, id) = wit::resolve(world).map_err(EncodeError::Interface)?;
        wit_component::embed_component_metadata(&mut core, &resolve, id, StringEncoding::UTF8)
            .map_err(EncodeError::Interface)?;
    }
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|encoder| encoder.encode())
        .map_err(EncodeError::Interface)?;
    embed_manifest(&component, manifest_text)
}

#[derive(Default)]
struct Survey {
    /// A toolchain described the module's interface in a custom section.
    described: bool,
    /// The first import of the old WASI.
    preview1: Option<String>,
}

fn survey(core: &[u8]) -> Result<Survey, wasmparser::BinaryReaderError> {
    let mut survey = Survey::default();
    for payload in Parser::new(0).parse_all(core) {
        match payload? {
            Payload::CustomSection(section) => {
                survey.described |= section.name().starts_with("component-type");
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if import.module.starts_with("wasi_") && survey.preview1.is_none() {
                        survey.preview1 = Some(format!("{}.{}", import.module, import.name));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(survey)
}

/// Puts the manifest into a component, in place of one that may be there.
pub fn embed_manifest(component: &[u8], manifest_text: &str) -> Result<Vec<u8>, EncodeError> {
    if anatomy::shape(component) != Shape::Component {
        return Err(EncodeError::NotAComponent);
    }
    let mut bytes = without_manifest(component).map_err(EncodeError::Broken)?;
    let section = CustomSection {
        name: MANIFEST_SECTION.into(),
        data: manifest_text.as_bytes().into(),
    };
    section.append_to_component(&mut bytes);
    Ok(bytes)
}

/// Copies everything but the outermost manifest sections.
fn without_manifest(component: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut kept = Vec::with_capacity(component.len());
    let mut depth = 0_usize;
    let mut copied = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION && depth == 0 => {
                let range = section.range();
                let (start, end) = (range.start as usize, range.end as usize);
                let header = section_header(start, end);
                kept.extend_from_slice(&component[copied..start - header]);
                copied = end;
            }
            _ => {}
        }
    }
    kept.extend_from_slice(&component[copied..]);
    Ok(kept)
}

/// Bytes before a custom section's contents: its id, and its length as LEB128.
fn section_header(start: usize, end: usize) -> usize {
    let length = (end - start) as u64;
    let bits = (u64::BITS - length.leading_zeros()).max(1);
    1 + bits.div_ceil(7) as usize
}
