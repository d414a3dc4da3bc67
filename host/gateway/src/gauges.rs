//! When the vendor's own figures are asked for: where no answer has told them for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::manifest::{Gauge, Manifest};
use tidegate_core::pace::{Lane, Report};
use tidegate_core::plugin::{HttpMethod, HttpRequest, Operation, Request};
use tidegate_core::time::parse_duration;

use crate::call::{Call, Outside};
use crate::gateway::Gateway;

/// When pools were told last, and gauges read.
pub(crate) struct Gauges {
    began_ms: u64,
    last_ms: Mutex<BTreeMap<String, u64>>,
}

impl Gauges {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            began_ms: now_ms,
            last_ms: Mutex::default(),
        }
    }

    fn last_ms(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.last_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer told of pools.
    pub(crate) fn told(&self, now_ms: u64, reports: &[Report]) {
        let mut last_ms = self.last_ms();
        for report in reports {
            last_ms.insert(report.pool.clone(), now_ms);
        }
    }

    /// The gauges with a pool that has not been told for so long; each counts as read now, whatever comes of it.
    fn due<'m>(&self, now_ms: u64, manifest: &'m Manifest) -> Vec<&'m Gauge> {
        let mut last_ms = self.last_ms();
        let mut due = Vec::new();
        for gauge in &manifest.gauges {
            // What is no duration was refused with the manifest.
            let Ok(every) = parse_duration(&gauge.every) else {
                continue;
            };
            let told = gauge.pools.iter().map(|pool| last_ms.get(&pool.pool));
            let oldest_ms = told
                .map(|told| told.copied().unwrap_or(self.began_ms))
                .min();
            let age_ms = now_ms.saturating_sub(oldest_ms.unwrap_or(now_ms));
            if u128::from(age_ms) >= every.as_millis() {
                last_ms.extend(gauge.pools.iter().map(|pool| (pool.pool.clone(), now_ms)));
                due.push(gauge);
            }
        }
        due
    }
}

impl Gateway {
    /// Asks the vendor for the use of its pools where no answer has told it for a while, by the manifest's gauges. Call it
    /// every few seconds: what is not due costs nothing. A failed reading is only logged; the next one comes in its time.
    pub async fn read_gauges(&self) {
        let now_ms = self.clock().now().mono_ms;
        if self.is_paused() || self.account().is_paused() {
            return;
        }
        let call = Call {
            sync: "".into(),
            function: "gauge",
            // What is told may let others go.
            lane: Lane::Critical,
            may_write: false,
            tokens: Arc::default(),
        };
        for gauge in self.gauges().due(now_ms, &self.spec().manifest) {
            for result in self.fetch_batch(&call, vec![reading(gauge)]).await {
                if let Err(fault) = result {
                    tracing::debug!(endpoint = %self.name(), code = %fault.code, "the vendor's figures can't be read");
                }
            }
        }
    }
}

fn reading(gauge: &Gauge) -> Request {
    Request {
        operation: Operation::Http(HttpRequest {
            method: HttpMethod::Get,
            path: gauge.path.clone(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            origin: None,
        }),
        costs: Vec::new(),
        rows: Vec::new(),
        idempotent: true,
        freshness: None,
    }
}
