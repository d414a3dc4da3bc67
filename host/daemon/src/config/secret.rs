//! The one room that reads the environment, and the files that hold secrets (invariant 10).

use std::path::{Path, PathBuf};

use tidegate_gateway::Secret;

/// Where a secret is kept. Never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// Name of an environment variable.
    Env(String),
    /// Relative to the config's folder; a line end after the secret is not part of it.
    File(PathBuf),
}

/// Why there is no secret where the reference points.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable `{0}` is not set")]
    EnvUnset(String),
    #[error("the environment variable `{0}` is empty")]
    EnvEmpty(String),
    #[error("the environment variable `{0}` is not UTF-8 text")]
    EnvNotText(String),
    #[error("`{path}` can't be read: {source}")]
    FileUnreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{0}` is empty")]
    FileEmpty(PathBuf),
}

impl SecretRef {
    /// Fetches the secret; `folder` is the config's.
    pub fn resolve(&self, folder: &Path) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => environment(name).map(Secret::new),
            Self::File(path) => file(folder.join(path)).map(Secret::new),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
fn environment(name: &str) -> Result<String, SecretError> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(SecretError::EnvEmpty(name.to_owned())),
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(SecretError::EnvUnset(name.to_owned())),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::EnvNotText(name.to_owned())),
    }
}

fn file(path: PathBuf) -> Result<String, SecretError> {
    let text = std::fs::read_to_string(&path).map_err(|source| SecretError::FileUnreadable {
        path: path.clone(),
        source,
    })?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(SecretError::FileEmpty(path));
    }
    Ok(secret.to_owned())
}
