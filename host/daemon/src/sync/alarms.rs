//! What is wrong with the syncs, for alerts: names and codes, and words of ours.

use tidegate_core::alert::{Alert, Event, Subject};
use tidegate_core::record::Reason;
use tidegate_core::sync::Side;

use super::engine::Engine;
use super::opening::Hindrance;
use super::running::Running;

impl Engine {
    fn name(&self, index: usize) -> &str {
        &self.syncs[index].running.model.spec.name
    }

    fn direction(&self, index: usize, side: Side) -> Subject {
        let endpoint = &self.syncs[index].running.endpoints[side].name;
        Subject::direction(self.name(index), endpoint)
    }

    /// Nothing goes to a side any more without a person.
    pub(super) fn alarm_stopped(
        &self,
        index: usize,
        side: Side,
        reason: &Reason,
        credential: bool,
    ) {
        let subject = self.direction(index, side);
        let message = format!(
            "sync {} writes nothing to its {side} side until a person acts; `tidegate status` says why",
            self.name(index)
        );
        let alert = Alert::new(Event::SyncStopped, subject, &reason.code, message);
        self.host.alerts.raise(alert);
        if credential {
            self.alarm_credential(index, side, reason);
        }
    }

    pub(super) fn alarm_credential(&self, index: usize, side: Side, reason: &Reason) {
        let endpoint = self.syncs[index].running.endpoints[side].name.clone();
        self.revoked(&endpoint, &reason.code);
    }

    fn revoked(&self, endpoint: &str, code: &str) {
        let message = format!(
            "endpoint {endpoint} refuses its credentials; renew them, then `tidegate resume endpoint {endpoint}`"
        );
        let subject = Subject::endpoint(endpoint);
        let alert = Alert::new(Event::CredentialRevoked, subject, code, message);
        self.host.alerts.raise(alert);
    }

    fn taken(&self, endpoint: &str) {
        let subject = Subject::endpoint(endpoint);
        self.host.alerts.clear(Event::CredentialRevoked, &subject);
    }

    /// A write arrived again.
    pub(super) fn alarm_reached(&self, index: usize, side: Side) {
        let subject = self.direction(index, side);
        self.host.alerts.clear(Event::SyncStopped, &subject);
        self.alarm_read(index, side);
    }

    /// The endpoint answers again.
    pub(super) fn alarm_read(&self, index: usize, side: Side) {
        self.taken(&self.syncs[index].running.endpoints[side].name);
    }

    pub(super) fn alarm_hindered(&self, sync: &str, hindrance: &Hindrance) {
        if hindrance.person {
            let message =
                format!("sync {sync} can't start until a person acts; `tidegate status` says why");
            let subject = Subject::sync(sync);
            let code = &hindrance.reason.code;
            let alert = Alert::new(Event::SyncStopped, subject, code, message);
            self.host.alerts.raise(alert);
        }
        if let Some(endpoint) = &hindrance.credential {
            self.revoked(endpoint, &hindrance.reason.code);
        }
    }

    pub(super) fn alarm_started(&self, running: &Running) {
        let subject = Subject::sync(&running.model.spec.name);
        self.host.alerts.clear(Event::SyncStopped, &subject);
        for side in Side::BOTH {
            self.taken(&running.endpoints[side].name);
        }
        let index = running.index;
        if self.syncs[index].brake.is_on() {
            self.alarm_braked(index);
        }
    }

    pub(super) fn alarm_braked(&self, index: usize) {
        let name = self.name(index);
        let message = format!(
            "sync {name} holds deletes back, as too many came at once; look, then `tidegate release-deletes {name}`"
        );
        let subject = Subject::sync(name);
        let alert = Alert::new(Event::SyncStopped, subject, "deletes-held", message);
        self.host.alerts.raise(alert);
    }

    pub(super) fn alarm_released(&self, index: usize) {
        let subject = Subject::sync(self.name(index));
        self.host.alerts.clear(Event::SyncStopped, &subject);
    }

    /// Tells of the dead letters of a sync when they have grown much.
    pub(super) fn alarm_dead(&mut self, index: usize) {
        let Some(count) = self.syncs[index].tally.grown() else {
            return;
        };
        let name = self.name(index);
        let message = format!(
            "{count} records of sync {name} went to the dead letters since the host started; `tidegate dead list {name}` says why"
        );
        let subject = Subject::sync(name);
        let alert = Alert::new(Event::DeadLetters, subject, "dead-letters", message);
        self.host.alerts.tell(alert);
    }

    pub(super) fn alarm_missed(&self, stream: usize, reason: &Reason) {
        for source in &self.streams[stream].sources {
            let subject = self.direction(source.sync, source.side);
            let name = self.name(source.sync);
            let message = format!(
                "changes on the {} side of sync {name} may have been missed; compare both sides, and touch what differs",
                source.side
            );
            let alert = Alert::new(Event::ChangesMissed, subject, &reason.code, message);
            self.host.alerts.moment(alert);
        }
    }
}
