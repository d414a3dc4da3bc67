//! What tickets stand for, found without searching: a ticket names its slot, and slots are used again. A later ticket
//! is always the greater one.

const SLOT_BITS: u32 = 26;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

#[derive(Clone, Debug)]
pub(super) struct Tickets<T> {
    /// Each with the ticket that it was given out by last.
    slots: Vec<(u64, Option<T>)>,
    free: Vec<u64>,
    issued: u64,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            issued: 0,
        }
    }
}

impl<T> Tickets<T> {
    pub(super) fn issue(&mut self, thing: T) -> u64 {
        self.issued += 1;
        let slot = self.free.pop().unwrap_or(self.slots.len() as u64);
        let ticket = self.issued << SLOT_BITS | slot;
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = (ticket, Some(thing)),
            None => self.slots.push((ticket, Some(thing))),
        }
        ticket
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&T> {
        let (known, thing) = self.slots.get((ticket & SLOT_MASK) as usize)?;
        thing.as_ref().filter(|_| *known == ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut T> {
        let (known, thing) = self.slots.get_mut((ticket & SLOT_MASK) as usize)?;
        thing.as_mut().filter(|_| *known == ticket)
    }

    pub(super) fn take(&mut self, ticket: u64) -> Option<T> {
        let slot = ticket & SLOT_MASK;
        let (known, thing) = self.slots.get_mut(slot as usize)?;
        if *known != ticket {
            return None;
        }
        let taken = thing.take()?;
        self.free.push(slot);
        Some(taken)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let slots = self.slots.iter();
        slots.filter_map(|(ticket, thing)| Some((*ticket, thing.as_ref()?)))
    }
}
