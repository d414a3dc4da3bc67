//! The envelope around every entry, checked at every read.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the envelope |
//! | 1 | kind of the entry |
//! | 2 | length of the payload, little endian |
//! | 4 | CRC-32C of the three above, the key and the payload, little endian |
//! | n | payload |
//!
//! The key is part of the checksum, so that an entry which turns up under another key is found out.

use crate::engine::ENTRY_BYTES_MAX;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;

/// The most payload that fits into one entry.
pub(crate) const PAYLOAD_BYTES_MAX: usize = ENTRY_BYTES_MAX - HEADER_BYTES;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A record whose value is the payload.
    Whole = 1,
    /// A record whose value lies in parts; the payload describes them.
    Head = 2,
    /// One part of a value.
    Part = 3,
    /// What the store notes about itself.
    Note = 4,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is cut short")]
    Short,
    #[error("it claims format {0}, which this version does not know")]
    Version(u8),
    #[error("its kind {0} is unknown")]
    Kind(u8),
    #[error("its length is wrong")]
    Length,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("a part of it is missing")]
    PartMissing,
    #[error("it is of another kind than its place")]
    Place,
}

pub(crate) fn seal(kind: Kind, key: &[u8], payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX, "layout splits values");
    let mut entry = Vec::with_capacity(HEADER_BYTES + payload.len());
    entry.push(VERSION);
    entry.push(kind as u8);
    entry.extend_from_slice(&(payload.len() as u16).to_le_bytes());
    let sum = checksum(&entry, key, payload);
    entry.extend_from_slice(&sum.to_le_bytes());
    entry.extend_from_slice(payload);
    entry
}

/// The kind and payload of an entry that was read under `key`.
pub(crate) fn open<'a>(key: &[u8], entry: &'a [u8]) -> Result<(Kind, &'a [u8]), Damage> {
    let (header, payload) = entry.split_at_checked(HEADER_BYTES).ok_or(Damage::Short)?;
    let [version, kind, length_low, length_high, sum @ ..] = header else {
        return Err(Damage::Short);
    };
    if *version != VERSION {
        return Err(Damage::Version(*version));
    }
    if usize::from(u16::from_le_bytes([*length_low, *length_high])) != payload.len() {
        return Err(Damage::Length);
    }
    if checksum(&header[..4], key, payload).to_le_bytes() != *sum {
        return Err(Damage::Checksum);
    }
    let kind = match kind {
        1 => Kind::Whole,
        2 => Kind::Head,
        3 => Kind::Part,
        4 => Kind::Note,
        other => return Err(Damage::Kind(*other)),
    };
    Ok((kind, payload))
}

fn checksum(header: &[u8], key: &[u8], payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c(header);
    let sum = crc32c::crc32c_append(sum, key);
    crc32c::crc32c_append(sum, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a build has once sealed it: stores out there hold such entries.
    const SEALED: [u8; 11] = [1, 1, 3, 0, 186, 63, 111, 173, b'A', b'd', b'a'];

    #[test]
    fn an_old_entry_opens_and_a_newer_one_is_refused() {
        assert_eq!(seal(Kind::Whole, b"key", b"Ada"), SEALED);
        assert_eq!(open(b"key", &SEALED), Ok((Kind::Whole, &b"Ada"[..])));
        let mut newer = SEALED;
        newer[0] += 1;
        assert_eq!(open(b"key", &newer), Err(Damage::Version(2)));
    }
}
