//! Loads the plugins that a config names. Nothing of them runs; what a component may not be is found here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use tidegate_core::manifest::Manifest;
use tidegate_sandbox::{Limits, LoadError, Plugin, Sandbox};

use crate::config::meant::{Config, PluginSource};
use crate::config::places::join;
use crate::config::problem::{Code, Findings};

/// By their names in the config.
pub type Plugins = BTreeMap<Arc<str>, Arc<Plugin>>;

/// Loads all plugins at once; those that can't be are findings.
pub async fn load(config: &Config, sandbox: &Arc<Sandbox>, findings: &Findings) -> Plugins {
    let loads = config
        .plugins
        .iter()
        .map(async |(name, source)| (name.clone(), one(source, sandbox).await));
    let mut plugins = Plugins::new();
    for (name, loaded) in join_all(loads).await {
        match loaded {
            Ok(plugin) => {
                plugins.insert(name, plugin);
            }
            Err(error) => {
                let key = join(&join("plugins", &name), "file");
                findings.error(Code::PluginUnusable, &key, error.to_string());
            }
        }
    }
    plugins
}

/// The manifests, for [`against`](crate::config::against).
pub fn manifests(plugins: &Plugins) -> BTreeMap<Arc<str>, Manifest> {
    plugins
        .iter()
        .map(|(name, plugin)| (name.clone(), plugin.manifest().clone()))
        .collect()
}

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("`{path}` can't be read: {source}")]
    Unreadable {
        path: String,
        source: std::io::Error,
    },
    #[error("`{path}`: {source} [{}]", .source.code())]
    Refused { path: String, source: LoadError },
}

async fn one(source: &PluginSource, sandbox: &Arc<Sandbox>) -> Result<Arc<Plugin>, FileError> {
    let path = source.file.display().to_string();
    let bytes = match read(&source.file, &source.limits).await {
        Ok(bytes) => bytes,
        Err(source) => return Err(FileError::Unreadable { path, source }),
    };
    sandbox
        .load(bytes, source.limits.clone())
        .await
        .map_err(|source| FileError::Refused { path, source })
}

/// Reads no more than shows that a file is too large.
async fn read(path: &Path, limits: &Limits) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    let most = limits.component_bytes_max.saturating_add(1);
    file.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
