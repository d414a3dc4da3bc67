//! Variable-length values behind one another: ids, keys, versions, and the text in columns.

use crate::bindings::connector::tidegate::plugin::records;

pub use records::Packed;

impl Packed {
    /// Without values.
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// No values at all.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of one value; the empty slice past the end.
    pub fn get(&self, row: usize) -> &[u8] {
        let Some(end) = self.ends.get(row) else {
            return &[];
        };
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes
            .get(start as usize..*end as usize)
            .unwrap_or_default()
    }

    /// One value as text. The host checks what it sends, so anything else than UTF-8 reads as empty.
    pub fn text(&self, row: usize) -> &str {
        std::str::from_utf8(self.get(row)).unwrap_or_default()
    }

    /// Appends a value.
    pub fn push(&mut self, value: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(value.as_ref());
        self.ends.push(self.bytes.len() as u32);
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The values in order, as text.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.text(row))
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Packed {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut packed = Self::new();
        for value in values {
            packed.push(value);
        }
        packed
    }
}
