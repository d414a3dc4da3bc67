//! What survives a kill: snapshots of all pools, and what they have on the books.

use super::book::{AtOnce, Book};
use super::count::PoolCounts;
use super::identity::PoolKey;
use super::pacer::Pacer;
use crate::time::Now;

/// What left in this time is about what leaves until the next snapshot.
const LATELY_MS: u64 = 1_000;

impl Pacer {
    /// From now on nothing leaves that is not on the books: see [`Self::snapshot`].
    pub fn keep_books(&mut self) {
        for pool in &mut self.pools {
            if pool.measure.is_windowed() {
                pool.book = Some(Book::new(pool.measure.is_short()));
            } else {
                pool.at_once = Some(AtOnce::default());
            }
        }
    }

    /// Whether a snapshot should be made durable now, because what is booked runs low or a vendor has said stop.
    pub fn wants_keeping(&self) -> bool {
        self.pools.iter().any(|pool| {
            let limit = pool.limit();
            let spent = pool.book;
            let spent = spent.is_some_and(|book| book.runs_low(pool.left, limit));
            let in_use = pool.at_once.is_some_and(|at_once| {
                at_once.runs_low(pool.flights.long_units(), pool.queued, limit)
            });
            let booked = pool.book.is_some() || pool.at_once.is_some();
            spent || in_use || booked && pool.park.has_news()
        })
    }

    /// What must be kept over a restart; what is in flight counts as done. Where books are kept, it also books what
    /// may leave next: tell [`Self::kept`] when it is durable.
    pub fn snapshot(&mut self, now: Now) -> Vec<PoolCounts> {
        let mut counts = Vec::new();
        for (key, index) in &self.by_key {
            let pool = &mut self.pools[*index];
            pool.refresh(now);
            pool.park.take_news();
            let lately = pool.sent_after(now.mono_ms.saturating_sub(LATELY_MS));
            if let Some(book) = &mut pool.book {
                book.wants(lately);
            }
            let mut kept = pool.counts(now);
            if let Some(at_once) = &mut pool.at_once {
                at_once.snapped(pool.flights.long_units(), kept.upto);
            }
            if kept != PoolCounts::default() {
                kept.pool = pool.name.to_string();
                kept.holder = key.holder.iter().map(ToString::to_string).collect();
                counts.push(kept);
            }
        }
        counts.sort_by(|a, b| (&a.pool, &a.holder).cmp(&(&b.pool, &b.holder)));
        counts
    }

    /// A snapshot survives a kill from now on: what it booked may leave.
    pub fn kept(&mut self, counts: &[PoolCounts]) {
        for kept in counts {
            for index in self.of(kept) {
                let pool = &mut self.pools[index];
                if let Some(book) = &mut pool.book {
                    book.kept(kept.upto);
                    self.stirred.push(index);
                }
                if let Some(at_once) = &mut pool.at_once {
                    at_once.kept(kept.upto);
                    self.stirred.push(index);
                }
            }
        }
    }

    /// Takes over an earlier run's counts, before the first permit. Pools that are no more are left out.
    pub fn restore(&mut self, now: Now, counts: &[PoolCounts]) {
        for kept in counts {
            for index in self.of(kept) {
                self.pools[index].restore(now, kept);
            }
        }
    }

    /// The pools that counts are of: a holder that is not named stands for any.
    pub(super) fn of(&self, kept: &PoolCounts) -> Vec<usize> {
        let same = |key: &PoolKey| {
            let holder = key.holder.iter().map(|part| &**part);
            *key.pool == *kept.pool
                && (kept.holder.is_empty() || holder.eq(kept.holder.iter().map(String::as_str)))
        };
        let known = self.by_key.iter().filter(|(key, _)| same(key));
        known.map(|(_, index)| *index).collect()
    }
}
