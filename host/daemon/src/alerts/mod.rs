//! Alerts to a webhook: what is wrong enters, signed messages leave, and nothing ever waits for them.
//!
//! In reading order:
//! - `tidegate_core::alert`: what is told, and how often
//! - this room: the queue, which is bounded; what does not fit is counted and left out
//! - [`standing`]: what is wrong, kept over a restart
//! - [`delivery`]: messages, each tried until it is taken or too old
//! - [`signature`]: how the other end knows that it is from here

pub mod delivery;
pub mod signature;
pub mod standing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tidegate_core::alert::{Alarms, Alert, Event, Subject};
use tidegate_gateway::Clock;
use tokio::sync::{Notify, mpsc};

/// Alerts that may wait for the webhook.
const WAITING_MAX: usize = 256;

/// An alert on its way out.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub alert: Alert,
    /// Microseconds since 1970.
    pub at_us: i64,
    /// Alerts left out before this one, because too many waited.
    pub left_out: u64,
}

/// What becomes of alerts, since the host started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AlertsStatus {
    /// What is wrong now.
    pub standing: Vec<Alert>,
    pub delivered: u64,
    /// Given up, because the webhook did not take them.
    pub failed: u64,
    /// Left out, because too many waited.
    pub left_out: u64,
}

struct Inner {
    clock: Arc<dyn Clock>,
    alarms: Mutex<Alarms>,
    /// What is wrong has changed.
    changed: Notify,
    /// `None` without a webhook: then the log and the status tell.
    queue: Option<mpsc::Sender<Waiting>>,
    delivered: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
    /// Of those left out, the ones that no message has told of yet.
    untold: AtomicU64,
}

/// Takes in what is wrong. Clones are one.
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

impl Alerts {
    /// Without a webhook.
    pub fn silent(clock: Arc<dyn Clock>) -> Self {
        Self::with(clock, None)
    }

    /// With the queue that [`delivery::deliver`] empties.
    pub fn new(clock: Arc<dyn Clock>) -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        (Self::with(clock, Some(queue)), waiting)
    }

    fn with(clock: Arc<dyn Clock>, queue: Option<mpsc::Sender<Waiting>>) -> Self {
        Self(Arc::new(Inner {
            clock,
            alarms: Mutex::default(),
            changed: Notify::new(),
            queue,
            delivered: AtomicU64::default(),
            failed: AtomicU64::default(),
            left_out: AtomicU64::default(),
            untold: AtomicU64::default(),
        }))
    }

    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        // Every change is whole, so a panic elsewhere does not spoil it.
        self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong until it is cleared.
    pub fn raise(&self, alert: Alert) {
        let told = self.alarms().raise(alert);
        self.changed(&told);
        self.send(told);
    }

    fn changed(&self, told: &Option<Alert>) {
        if told.is_some() {
            self.0.changed.notify_one();
        }
    }

    /// It is over, if it ever was.
    pub fn clear(&self, event: Event, subject: &Subject) {
        let told = self.alarms().clear(event, subject);
        self.changed(&told);
        self.send(told);
    }

    /// Something happened that has no end.
    pub fn moment(&self, alert: Alert) {
        let now_ms = self.0.clock.now().mono_ms;
        let told = self.alarms().moment(now_ms, alert);
        self.send(told);
    }

    /// Something happened that is told each time.
    pub fn tell(&self, alert: Alert) {
        self.send(Some(alert));
    }

    fn send(&self, alert: Option<Alert>) {
        let Some(alert) = alert else {
            return;
        };
        if alert.over {
            tracing::info!(event = ?alert.event, code = alert.code, "over: {}", alert.message);
        } else {
            tracing::warn!(event = ?alert.event, code = alert.code, "alert: {}", alert.message);
        }
        let Some(queue) = &self.0.queue else {
            return;
        };
        let left_out = self.0.untold.swap(0, Ordering::Relaxed);
        let waiting = Waiting {
            alert,
            at_us: self.0.clock.now().wall_us,
            left_out,
        };
        if queue.try_send(waiting).is_err() {
            self.0.left_out.fetch_add(1, Ordering::Relaxed);
            self.0.untold.fetch_add(left_out + 1, Ordering::Relaxed);
        }
    }

    fn ended(&self, delivered: bool) {
        let count = if delivered {
            &self.0.delivered
        } else {
            &self.0.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// What is wrong now.
    pub fn standing(&self) -> Vec<Alert> {
        self.alarms().standing().cloned().collect()
    }

    pub fn status(&self) -> AlertsStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AlertsStatus {
            standing: self.standing(),
            delivered: read(&self.0.delivered),
            failed: read(&self.0.failed),
            left_out: read(&self.0.left_out),
        }
    }
}
