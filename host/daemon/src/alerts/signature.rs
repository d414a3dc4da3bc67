//! The signature that goes with a message: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY` with the
//! secret that both ends share. The moment is signed too, so that an old message can't be played again for long.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_gateway::Secret;

/// The header that carries it.
pub const HEADER: &str = "tidegate-signature";

/// Signs a body at a moment, in seconds since 1970.
pub fn sign(secret: &Secret, at_s: i64, body: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(at_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = format!("t={at_s},v1=");
    for byte in mac.finalize().into_bytes() {
        // Writing into a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python's `hmac` has it.
    #[test]
    fn another_implementation_agrees() {
        let secret = Secret::new("a secret of sixteen bytes");
        assert_eq!(
            sign(&secret, 1_700_000_000, br#"{"event":"sync-stopped"}"#),
            "t=1700000000,v1=4c7f63a3617ded12a6f3b2c4f523172eedc64671d9220103568105fa6b46c227"
        );
    }
}
