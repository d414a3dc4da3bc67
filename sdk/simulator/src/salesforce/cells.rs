//! The values of a row, packed: an org holds a million of them, and most fields of most records are empty.

use jiff::civil::Date;

use super::cell::Cell;
use super::id::Id;

/// How many values there are, a bit for each that is not null, and these one after the other, each with a tag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cells(Box<[u8]>);

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const SHORT_TEXT: u8 = 2;
const TEXT: u8 = 3;
const NUMBER: u8 = 4;
const DAY: u8 = 5;
const MOMENT: u8 = 6;
const LINK: u8 = 7;
const COUNT_BYTES: usize = 2;

impl Cells {
    fn count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]]))
    }

    fn is_set(&self, cell: usize) -> bool {
        self.0[COUNT_BYTES + cell / 8] >> (cell % 8) & 1 == 1
    }

    fn values(&self) -> &[u8] {
        &self.0[COUNT_BYTES + self.count().div_ceil(8)..]
    }

    pub(crate) fn get(&self, cell: usize) -> Cell {
        if !self.is_set(cell) {
            return Cell::Null;
        }
        let mut rest = self.values();
        for _ in (0..cell).filter(|before| self.is_set(*before)) {
            rest = &rest[1 + size(rest)..];
        }
        read(rest)
    }

    /// All of them, to be changed.
    pub(crate) fn open(&self) -> Vec<Cell> {
        let mut rest = self.values();
        let next = |cell| {
            if !self.is_set(cell) {
                return Cell::Null;
            }
            let value = read(rest);
            rest = &rest[1 + size(rest)..];
            value
        };
        (0..self.count()).map(next).collect()
    }

    pub(crate) fn set(&mut self, cell: usize, value: Cell) {
        let mut cells = self.open();
        cells[cell] = value;
        *self = cells.into();
    }
}

impl From<Vec<Cell>> for Cells {
    fn from(cells: Vec<Cell>) -> Self {
        // An object has hundreds of fields at most.
        let count = u16::try_from(cells.len()).unwrap_or(u16::MAX);
        let mut bytes = count.to_le_bytes().to_vec();
        bytes.resize(COUNT_BYTES + cells.len().div_ceil(8), 0);
        for (place, cell) in cells.iter().enumerate() {
            if *cell != Cell::Null {
                bytes[COUNT_BYTES + place / 8] |= 1 << (place % 8);
                write(&mut bytes, cell);
            }
        }
        Self(bytes.into())
    }
}

fn write(bytes: &mut Vec<u8>, cell: &Cell) {
    match cell {
        Cell::Null => {}
        Cell::Flag(flag) => bytes.push(if *flag { TRUE } else { FALSE }),
        Cell::Text(text) => {
            match u8::try_from(text.len()) {
                Ok(length) => bytes.extend([SHORT_TEXT, length]),
                Err(_) => {
                    // No field takes as much as a megabyte.
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    bytes.push(TEXT);
                    bytes.extend(length.to_le_bytes());
                }
            }
            bytes.extend(text.as_bytes());
        }
        Cell::Number(steps) => {
            bytes.push(NUMBER);
            bytes.extend(steps.to_le_bytes());
        }
        Cell::Day(day) => {
            let [low, high] = day.year().to_le_bytes();
            let [month] = day.month().to_le_bytes();
            let [day] = day.day().to_le_bytes();
            bytes.extend([DAY, low, high, month, day]);
        }
        Cell::Moment(ms) => {
            bytes.push(MOMENT);
            bytes.extend(ms.to_le_bytes());
        }
        Cell::Link(id) => {
            bytes.push(LINK);
            bytes.extend(id.bytes());
        }
    }
}

/// Of the value behind its tag.
fn size(value: &[u8]) -> usize {
    match value[0] {
        SHORT_TEXT => 1 + usize::from(value[1]),
        TEXT => 4 + u32::from_le_bytes(array(&value[1..])) as usize,
        NUMBER | MOMENT => 8,
        DAY => 4,
        LINK => 15,
        _ => 0,
    }
}

fn read(value: &[u8]) -> Cell {
    let body = &value[1..];
    let text = |from: usize| {
        let bytes = &body[from..size(value)];
        // What is packed here was a text when it came.
        Cell::text(std::str::from_utf8(bytes).unwrap_or_default())
    };
    match value[0] {
        FALSE => Cell::Flag(false),
        TRUE => Cell::Flag(true),
        SHORT_TEXT => text(1),
        TEXT => text(4),
        NUMBER => Cell::Number(i64::from_le_bytes(array(body))),
        MOMENT => Cell::Moment(i64::from_le_bytes(array(body))),
        DAY => {
            let [low, high, month, day] = array(body);
            let year = i16::from_le_bytes([low, high]);
            let day = Date::new(year, i8::from_le_bytes([month]), i8::from_le_bytes([day]));
            day.map_or(Cell::Null, Cell::Day)
        }
        LINK => Cell::Link(Id::of(array(body))),
        _ => Cell::Null,
    }
}

fn array<const SIZE: usize>(bytes: &[u8]) -> [u8; SIZE] {
    let mut array = [0; SIZE];
    array.copy_from_slice(&bytes[..SIZE]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let day = Date::new(-5, 2, 28).expect("a day");
        let long = "ü".repeat(200);
        let cells = vec![
            Cell::Null,
            Cell::text("short"),
            Cell::text(&long),
            Cell::Flag(true),
            Cell::Null,
            Cell::Flag(false),
            Cell::Number(-12_345),
            Cell::Day(day),
            Cell::Moment(1_772_359_200_123),
            Cell::Link(Id::new(*b"003", 7)),
            Cell::text(""),
        ];
        let mut packed = Cells::from(cells.clone());
        assert_eq!(packed.open(), cells);
        for (place, cell) in cells.iter().enumerate() {
            assert_eq!(packed.get(place), *cell, "{place}");
        }
        packed.set(0, Cell::text("first"));
        packed.set(3, Cell::Null);
        assert_eq!(packed.get(0), Cell::text("first"));
        assert_eq!(packed.get(3), Cell::Null);
        assert_eq!(packed.get(9), cells[9]);
    }
}
