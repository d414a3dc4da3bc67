//! `tidegate.toml`: from text to what is meant, or to everything that is wrong with it.
//!
//! In reading order:
//! - [`places`]: where every key stands
//! - [`problem`]: what is wrong, with a stable code
//! - `section`, `read`, `lanes`, `references`, `actions`, `pairs`, `written`: the file as written
//! - [`secret`]: where secrets are kept, and the only look at the environment
//! - `mean`, `origin`, `pools`, `hook`, `sharing`, [`meant`]: the file as meant
//! - [`against`]: what only a plugin's manifest can tell

mod actions;
pub mod against;
mod hook;
mod lanes;
mod mean;
pub mod meant;
mod origin;
mod pairs;
pub mod places;
mod pools;
pub mod problem;
mod read;
mod references;
pub mod secret;
mod section;
mod sharing;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use mean::OWN_ACCOUNT;
use meant::{Auth, Config, Granted};
use places::{Places, join};
use problem::{Code, Findings, Problem};
use tidegate_gateway::Secret;

/// The parts of a config that are whole, and what is wrong with the others.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub findings: Findings,
}

/// Reads a config file. Never fails: what can't be read is a finding.
pub fn load(path: &Path) -> Loaded {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text, &folder_of(path)),
        Err(error) => {
            let findings = Findings::new(Places::of_nothing(&file));
            findings.error_with_help(
                Code::FileUnreadable,
                "",
                format!("can't be read: {error}"),
                "name another file with --config; `tidegate demo --keep DIR` leaves a complete one behind",
            );
            unread(findings, &folder_of(path))
        }
    }
}

/// Reads a config's text; `file` is the name that problems give, `folder` what relative paths start from.
pub fn parse(file: &str, text: &str, folder: &Path) -> Loaded {
    match read::read(file, text) {
        Ok((written, findings)) => Loaded {
            config: mean::mean(written, folder, &findings),
            findings,
        },
        Err(findings) => unread(findings, folder),
    }
}

/// An empty config beside the reason why it is empty.
fn unread(findings: Findings, folder: &Path) -> Loaded {
    let nothing = Findings::new(Places::of_nothing(""));
    Loaded {
        config: mean::mean(written::Written::default(), folder, &nothing),
        findings,
    }
}

/// Fetches every endpoint's secrets, and looks at that of the alerts. An endpoint that lacks its own is left out, as is an
/// account of an endpoint, and the findings say which.
pub fn credentials(config: &Config, findings: &Findings) -> BTreeMap<Arc<str>, Granted> {
    let resolve = |key: &str, auth: &Auth| {
        auth.clone().try_map(|secret, reference| {
            reference
                .resolve(&config.folder)
                .map_err(|error| {
                    findings.error(Code::SecretMissing, &join(key, secret), error.to_string());
                })
                .ok()
        })
    };
    let mut credentials = BTreeMap::new();
    for (name, endpoint) in &config.endpoints {
        let key = join("endpoints", name);
        let own = resolve(&join(&key, "auth"), &endpoint.auth);
        let key = join(&key, "accounts");
        let accounts = endpoint.accounts.iter().filter_map(|(name, account)| {
            let resolved = resolve(&join(&key, name), &account.auth)?;
            Some((name.clone(), resolved))
        });
        let accounts = accounts.collect();
        if let Some(own) = own {
            credentials.insert(name.clone(), Granted { own, accounts });
        }
    }
    if let Some(Err(problem)) = alert_secret(config) {
        findings.error(Code::SecretMissing, "alerts.secret", problem);
    }
    credentials
}

/// What alerts are signed with, or why it can't be; `None` without a webhook.
pub fn alert_secret(config: &Config) -> Option<Result<Secret, String>> {
    let hook = config.alerts.as_ref()?;
    let secret = hook.secret.resolve(&config.folder);
    let secret = secret.map_err(|error| error.to_string());
    let least = hook::SECRET_BYTES_LEAST;
    Some(secret.and_then(|secret| match secret.expose().len() {
        length if length < least => Err(format!("a secret of {least} bytes or more belongs here")),
        _ => Ok(secret),
    }))
}

/// The same while a host runs, with what is wrong now.
pub fn credentials_anew(config: &Config) -> (BTreeMap<Arc<str>, Granted>, Vec<Problem>) {
    let findings = Findings::new(Places::of_nothing(""));
    let credentials = credentials(config, &findings);
    (credentials, findings.into_problems())
}

/// Absolute, so that what is resolved against it means the same wherever it is used.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    // `absolute` fails on an empty path and on a working folder that is gone; then the path is all there is.
    std::path::absolute(Path::new(".").join(folder)).unwrap_or_else(|_| folder.to_owned())
}
