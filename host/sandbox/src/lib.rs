//! wasmtime: load, check, limit, instantiate and call plugins.
//!
//! A component's bytes enter and a [`Plugin`] leaves, or a [`LoadError`]; a call enters and an answer leaves
//! that keeps the interface's contract, or a [`CallError`]. The only place where the host's types meet those of the
//! plugin interface. Holds no state of plugins between calls, opens no sockets, and decides nothing about when
//! or what is called.
//!
//! In reading order:
//! - [`wit`]: the interface as text
//! - [`anatomy`], [`fit`]: what a component is made of, and whether its types are ours
//! - [`load`]: from bytes to a plugin, or a clear no
//! - [`engine`], [`cache`]: the engine and its compiled code
//! - [`plugin`], [`call`], [`conduct`]: a plugin's functions, one call of them, and how all of them ended
//! - [`guest`], [`limits`], [`imports`], [`surroundings`]: what a call carries, may use, and can reach
//! - [`bindings`], [`convert`]: the generated types, and the host's own
//! - [`contract`]: the rules that types can't express
//! - [`inspect`]: a plugin for people to read
//! - [`build`]: from a folder to a component

mod anatomy;
mod bindings;
mod build;
mod cache;
mod call;
mod conduct;
mod contract;
mod convert;
mod engine;
mod fit;
mod guest;
mod imports;
mod inspect;
mod limits;
mod load;
mod plugin;
mod surroundings;
mod wit;

pub use anatomy::{MANIFEST_SECTION, Surface, Surfaces};
pub use build::{
    BuildError, BuildOptions, Built, EncodeError, build_plugin, component_from_core, embed_manifest,
};
pub use cache::CacheError;
pub use call::CallError;
pub use conduct::Conduct;
pub use engine::{Sandbox, SandboxError, Settings};
pub use inspect::{Inspection, inspect};
pub use limits::{Breach, Knob, Limits};
pub use load::LoadError;
pub use plugin::Plugin;
pub use wit::{WIT_VERSION, World};
