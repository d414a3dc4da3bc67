//! How long a stream waits between looks: its interval, stretched while an allowance of its endpoint runs out.

use tidegate_gateway::Clock;

/// Waits so long, in percent of the usual. What is asked may change meanwhile, so it is asked again after every
/// usual interval, and a pause that is not needed any more ends.
pub(super) async fn pause(clock: &dyn Clock, usual_ms: u64, percent: impl Fn() -> u32) {
    let began_ms = clock.now().mono_ms;
    loop {
        let wait_ms = usual_ms.saturating_mul(u64::from(percent())) / 100;
        let until_ms = began_ms.saturating_add(wait_ms);
        let now_ms = clock.now().mono_ms;
        if now_ms >= until_ms {
            return;
        }
        let look_ms = now_ms.saturating_add(usual_ms.max(1));
        clock.sleep_until(until_ms.min(look_ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt;
    use tidegate_gateway::ManualClock;

    use super::*;

    #[tokio::test]
    async fn looks_are_stretched_and_come_back_by_themselves() {
        let clock = ManualClock::default();
        let percent = Cell::new(100);
        let mut usual = Box::pin(pause(&clock, 1_000, || percent.get()));
        assert!(usual.as_mut().now_or_never().is_none());
        clock.advance(1_000);
        assert!(usual.as_mut().now_or_never().is_some());

        percent.set(400);
        let mut stretched = Box::pin(pause(&clock, 1_000, || percent.get()));
        for _ in 0..4 {
            assert!(stretched.as_mut().now_or_never().is_none());
            clock.advance(1_000);
        }
        assert!(stretched.as_mut().now_or_never().is_some());

        let mut relieved = Box::pin(pause(&clock, 1_000, || percent.get()));
        assert!(relieved.as_mut().now_or_never().is_none());
        percent.set(100);
        clock.advance(1_000);
        assert!(
            relieved.as_mut().now_or_never().is_some(),
            "not stretched any more"
        );
    }
}
