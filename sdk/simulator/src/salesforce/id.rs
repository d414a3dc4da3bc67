//! Record ids: 15 case-sensitive characters, or the same with 3 more that say which of them are capitals.

use std::fmt;

const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Stands between the object's prefix and the serial number, as the instance does in real ids.
const INSTANCE: &[u8; 3] = b"gK0";

/// The 15-character form; its byte order is the order in which ids are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id([u8; 15]);

impl Id {
    /// Below every id that is given out.
    pub(crate) const LEAST: Self = Self([0; 15]);

    pub(crate) fn new(prefix: [u8; 3], serial: u64) -> Self {
        let mut bytes = [b'0'; 15];
        bytes[..3].copy_from_slice(&prefix);
        bytes[3..6].copy_from_slice(INSTANCE);
        let mut rest = serial;
        for place in bytes[6..].iter_mut().rev() {
            *place = DIGITS[(rest % 62) as usize];
            rest /= 62;
        }
        Self(bytes)
    }

    /// Reads either form. The suffix of the long form restores the case of the letters before it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if !text.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut bytes: [u8; 15] = text.get(..15)?.try_into().ok()?;
        match text.len() {
            15 => Some(Self(bytes)),
            18 => {
                for (chunk, suffix) in bytes.chunks_mut(5).zip(&text[15..]) {
                    restore_case(chunk, *suffix)?;
                }
                Some(Self(bytes))
            }
            _ => None,
        }
    }

    /// The number that follows the prefix; nothing for an id of another instance.
    pub(crate) fn serial(self) -> Option<u64> {
        if self.0[3..6] != *INSTANCE {
            return None;
        }
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => u64::from(byte - b'0'),
            b'A'..=b'Z' => u64::from(byte - b'A') + 10,
            _ => u64::from(byte - b'a') + 36,
        };
        Some(
            self.0[6..]
                .iter()
                .fold(0, |serial, byte| serial * 62 + digit(byte)),
        )
    }

    pub(crate) fn bytes(self) -> [u8; 15] {
        self.0
    }

    /// From the bytes of an id.
    pub(crate) fn of(bytes: [u8; 15]) -> Self {
        Self(bytes)
    }

    pub(crate) fn prefix(self) -> [u8; 3] {
        [self.0[0], self.0[1], self.0[2]]
    }
}

/// A set bit marks a capital; a bit that is set on anything but a letter makes the id malformed.
fn restore_case(chunk: &mut [u8], suffix: u8) -> Option<()> {
    let bits = SUFFIX
        .iter()
        .position(|letter| *letter == suffix.to_ascii_uppercase())?;
    for (place, byte) in chunk.iter_mut().enumerate() {
        let capital = bits >> place & 1 == 1;
        if capital && !byte.is_ascii_alphabetic() {
            return None;
        }
        *byte = if capital {
            byte.to_ascii_uppercase()
        } else {
            byte.to_ascii_lowercase()
        };
    }
    Some(())
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(formatter, "{}", char::from(byte))?;
        }
        for chunk in self.0.chunks(5) {
            let bits = chunk
                .iter()
                .enumerate()
                .filter(|(_, byte)| byte.is_ascii_uppercase())
                .fold(0, |bits, (place, _)| bits | 1 << place);
            write!(formatter, "{}", char::from(SUFFIX[bits]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs as they appear in public Salesforce documentation and forums.
    #[test]
    fn the_suffix_is_the_one_salesforce_computes() {
        for (short, long) in [
            ("001A0000006Vm9r", "001A0000006Vm9rIAC"),
            ("01gD0000002HU6K", "01gD0000002HU6KIAW"),
        ] {
            let id = Id::parse(short).expect("a short id");
            assert_eq!(id.to_string(), long);
            assert_eq!(Id::parse(long), Some(id));
            assert_eq!(
                Id::parse(&long.to_lowercase()),
                Some(id),
                "case is restored"
            );
        }
        assert_eq!(Id::parse("001A0000006Vm9rIA"), None);
        assert_eq!(Id::parse("001A0000006Vm9r!AC"), None);
    }

    #[test]
    fn an_id_tells_its_number() {
        for serial in [0, 61, 62, 500_000, 999_000_000_001] {
            assert_eq!(Id::new(*b"003", serial).serial(), Some(serial));
        }
        let foreign = Id::parse("003000000000001").expect("an id");
        assert_eq!(foreign.serial(), None);
    }

    #[test]
    fn ids_are_ordered_as_they_are_given_out() {
        let ids: Vec<String> = [0, 9, 10, 35, 36, 61, 62, 500_000]
            .map(|serial| Id::new(*b"003", serial).to_string())
            .to_vec();
        assert!(ids.is_sorted());
    }
}
