//! What several benches work on: plugins in a sandbox, and a runtime to call them from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tidegate_sandbox::{Limits, Plugin, Sandbox, Settings};
use tidegate_tests::built;
use tokio::runtime::Runtime;

/// The sandbox as the host sets it up.
pub(crate) struct Scene {
    pub(crate) runtime: Runtime,
    pub(crate) sandbox: Arc<Sandbox>,
    plugins: PathBuf,
}

impl Scene {
    /// `plugins` are those that will be loaded; `make plugins` has built them.
    pub(crate) fn set(plugins: &[&str]) -> Result<Self> {
        let plugins = built::plugins(plugins);
        let settings = Settings {
            cache_dir: Some(plugins.join("cache")),
            ..Settings::default()
        };
        Ok(Self {
            runtime: Runtime::new()?,
            sandbox: Sandbox::new(settings)?,
            plugins,
        })
    }

    pub(crate) fn load(&self, name: &str) -> Result<Arc<Plugin>> {
        let file = self.plugins.join(Path::new(name).with_extension("wasm"));
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let loaded = self.sandbox.load(bytes, Limits::default());
        let plugin = self.runtime.block_on(loaded);
        plugin.with_context(|| format!("loading {}", file.display()))
    }
}
