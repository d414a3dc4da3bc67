//! Who sits at the pacer: an endpoint, or one of its credentials, with its own pools and those that it shares.

use std::collections::BTreeMap;

use super::cost::{Draws, Shape};
use super::identity::{Identity, PoolKey};
use super::pacer::{Chair, Pacer, Seat};
use super::pool::Pool;
use super::timing::Timing;
use super::{PoolError, PoolOverride, UnknownPool};
use crate::manifest::{Manifest, Reading};
use crate::time::Now;

impl Pacer {
    /// Takes in an endpoint or one more credential. What its identity shares with others is shared, at the
    /// stricter of what each sets.
    pub fn join(
        &mut self,
        manifest: &Manifest,
        overrides: &BTreeMap<String, PoolOverride>,
        identity: &Identity,
    ) -> Result<Seat, PoolError> {
        check_names(manifest, overrides)?;
        let vendor = &manifest.plugin.name;
        let made = manifest.pools.iter().map(|written| {
            let key = PoolKey::new(vendor, &written.name, written.scope, identity);
            let mut pool = Pool::new(written, overrides.get(&written.name))?;
            let told = |reading: &Reading| reading.pool == written.name;
            pool.unheard = !pool.measure.is_short() && manifest.readings.iter().any(told);
            Ok((key, pool))
        });
        let made = made.collect::<Result<Vec<_>, PoolError>>()?;
        let mut pools = Vec::with_capacity(made.len());
        for (key, pool) in made {
            let known = *self.by_key.entry(key).or_insert(self.pools.len());
            match overrides.get(&*pool.name) {
                _ if known == self.pools.len() => self.pools.push(pool),
                Some(set) => self.pools[known].share(set),
                None => {}
            }
            pools.push(known);
        }
        self.chairs.push(Chair {
            pools,
            timing: Timing::default(),
        });
        Ok(Seat(self.chairs.len() as u32 - 1))
    }

    pub(super) fn chair(&self, seat: Seat) -> &[usize] {
        self.chairs
            .get(seat.0 as usize)
            .map_or(&[], |chair| &chair.pools)
    }

    pub(super) fn named(&self, seat: Seat, name: &str) -> Option<usize> {
        let mut pools = self.chair(seat).iter().copied();
        pools.find(|pool| *self.pools[*pool].name == *name)
    }

    /// What a request draws. Costs that it names itself can raise the manifest's, never lower them.
    pub fn draws(
        &self,
        seat: Seat,
        shape: &Shape<'_>,
        named: &[(String, u32)],
    ) -> Result<Draws, UnknownPool> {
        let drawn = |pool: &usize| (*pool, self.pools[*pool].tariff.draw(shape));
        let mut units: Vec<(usize, u64)> = self.chair(seat).iter().map(drawn).collect();
        for (name, named) in named {
            let pool = self
                .named(seat, name)
                .ok_or_else(|| UnknownPool(name.clone()))?;
            for (_, drawn) in units.iter_mut().filter(|(drawn, _)| *drawn == pool) {
                *drawn = u64::from(*named).max(*drawn);
            }
        }
        Ok(Draws::new(seat, shape, units))
    }

    /// How much room a seat has for such a request, for comparing it with others: the least of its pools.
    pub fn headroom(&mut self, now: Now, seat: Seat, shape: &Shape<'_>) -> u64 {
        let pools = self.chair(seat).to_vec();
        let mut least = u64::MAX;
        for index in pools {
            let pool = &mut self.pools[index];
            if pool.tariff.draw(shape) == 0 {
                continue;
            }
            pool.refresh(now);
            least = least.min(match pool.park.until_ms(now.mono_ms) {
                None if !pool.park.held => pool.headroom(),
                _ => 0,
            });
        }
        least
    }
}

impl Pacer {
    /// Holds back all that draws on the pools of this name, or lets it go on. Tells how many such pools there are.
    pub fn hold(&mut self, name: &str, held: bool) -> usize {
        let named = self.pools.iter_mut().enumerate();
        let named = named.filter(|(_, pool)| *pool.name == *name);
        let mut count = 0;
        for (index, pool) in named {
            pool.park.held = held;
            self.stirred.push(index);
            count += 1;
        }
        count
    }
}

fn check_names(
    manifest: &Manifest,
    overrides: &BTreeMap<String, PoolOverride>,
) -> Result<(), PoolError> {
    let pools = &manifest.pools;
    for (index, written) in pools.iter().enumerate() {
        if pools[..index].iter().any(|pool| pool.name == written.name) {
            return Err(PoolError::Twice(written.name.clone()));
        }
    }
    let named = overrides
        .keys()
        .chain(manifest.readings.iter().map(|reading| &reading.pool))
        .chain(manifest.throttles.iter().map(|throttle| &throttle.pool));
    for name in named {
        if !pools.iter().any(|pool| pool.name == *name) {
            return Err(PoolError::Unknown(name.clone()));
        }
    }
    Ok(())
}
