//! Record ids: 18 characters, whatever form they came in.

/// The 18-character form, which compares without regard to case; a 15-character id is the same record's
/// case-sensitive form. What is neither stays as it is, for the vendor to judge.
pub(crate) fn canonical(id: &str) -> String {
    const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    if !has_form(id) || id.len() != 15 {
        return id.to_owned();
    }
    let mut whole = id.to_owned();
    for five in id.as_bytes().chunks(5) {
        // One character tells which of five letters are capitals, the first letter's bit lowest.
        let capitals = five.iter().rev().fold(0, |bits, byte| {
            bits << 1 | usize::from(byte.is_ascii_uppercase())
        });
        whole.push(char::from(SUFFIX[capitals]));
    }
    whole
}

/// Whether the text could be an id at all.
pub(crate) fn has_form(id: &str) -> bool {
    matches!(id.len(), 15 | 18) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_get_their_suffix() {
        let cases = [
            ("001D000000IqhSL", "001D000000IqhSLIAZ"),
            ("006j000000PuMxT", "006j000000PuMxTAAV"),
            ("001D000000IqhSLIAZ", "001D000000IqhSLIAZ"),
            ("001D000000Iqh-L", "001D000000Iqh-L"),
            ("", ""),
        ];
        for (id, expected) in cases {
            assert_eq!(canonical(id), expected);
        }
        assert!(!has_form("001D000000Iqh'L"));
    }
}
