//! What is wrong, kept over a restart: what the host before has told is not told again, and its end is.

use tidegate_core::alert::Alert;
use tidegate_store::{ApplyError, Batch, DurableError, ReadError, Store};

use super::Alerts;

/// Apart from all other keys.
const KEY: &[u8] = b"w";

/// Why it could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    #[error("the alerts that stand can't be read")]
    Read(#[from] ReadError),
    #[error("the alerts that stand can't be stored")]
    Apply(#[from] ApplyError),
    #[error("the alerts that stand can't be stored for good")]
    Durable(#[from] DurableError),
}

/// Takes over what was wrong when the host before ended. What is about something that the config no longer names, as
/// `named` tells, is over at once; what can't be read is told anew.
///
/// # Errors
///
/// When the store can't be read.
pub fn restore(
    store: &Store,
    alerts: &Alerts,
    named: impl Fn(&Alert) -> bool,
) -> Result<(), StandingError> {
    let Some(bytes) = store.get(KEY)? else {
        return Ok(());
    };
    let standing: Vec<Alert> = serde_json::from_slice(&bytes).unwrap_or_default();
    alerts.alarms().restore(standing.iter().cloned());
    for alert in standing.iter().filter(|alert| !named(alert)) {
        alerts.clear(alert.event, &alert.subject);
    }
    Ok(())
}

/// Makes durable what is wrong now.
///
/// # Errors
///
/// When the store can't be written.
pub async fn keep(store: &Store, alerts: &Alerts) -> Result<(), StandingError> {
    let standing = alerts.standing();
    // Names, codes and words of ours: always to be had as JSON.
    let bytes = serde_json::to_vec(&standing).unwrap_or_default();
    let seq = store.apply(Batch::new().put(KEY.to_vec(), bytes)).await?;
    Ok(store.durable(seq).await?)
}

/// Keeps it whenever it changes, until it is dropped.
///
/// # Errors
///
/// When the store can't be written.
pub async fn watch(store: &Store, alerts: &Alerts) -> Result<(), StandingError> {
    loop {
        alerts.0.changed.notified().await;
        keep(store, alerts).await?;
    }
}
