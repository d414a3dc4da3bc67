//! Who may call: credentials, access tokens that slide, and grants that die.

use std::collections::HashMap;

/// The one connected app and its user.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The consumer key.
    pub client_id: String,
    /// The consumer secret.
    pub client_secret: String,
    /// For the SOAP login and the password grant.
    pub username: String,
    /// For the SOAP login and the password grant.
    pub password: String,
    /// Follows the password in the SOAP login.
    pub security_token: String,
    /// Still good at the start; a new one is given only where rotation is on, which it is not.
    pub refresh_token: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            client_id: "simulated-client".to_owned(),
            client_secret: "simulated-secret".to_owned(),
            username: "integration@example.com".to_owned(),
            password: "simulated-password".to_owned(),
            security_token: "simulated-token".to_owned(),
            refresh_token: "simulated-refresh".to_owned(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    timeout_ms: u64,
    /// Token to the time of its last use.
    used_ms: HashMap<String, u64>,
    given: u64,
    pub(crate) revoked: bool,
}

impl Sessions {
    pub(crate) fn new(timeout_ms: u64) -> Self {
        Self {
            timeout_ms,
            used_ms: HashMap::new(),
            given: 0,
            revoked: false,
        }
    }

    /// A new access token; nothing in it tells when it ends.
    pub(crate) fn open(&mut self, now_ms: u64, organization: &str) -> String {
        self.given += 1;
        let token = format!(
            "{}!AQ4AQ{:08}.{}simulated",
            &organization[..15],
            self.given,
            now_ms
        );
        self.used_ms.insert(token.clone(), now_ms);
        token
    }

    /// Use keeps a session alive; a session unused for too long is gone.
    pub(crate) fn touch(&mut self, token: &str, now_ms: u64) -> bool {
        match self.used_ms.get_mut(token) {
            Some(used_ms) if *used_ms + self.timeout_ms > now_ms => {
                *used_ms = now_ms;
                true
            }
            Some(_) => {
                self.used_ms.remove(token);
                false
            }
            None => false,
        }
    }

    pub(crate) fn close(&mut self, token: &str) -> bool {
        self.used_ms.remove(token).is_some()
    }

    pub(crate) fn expire_all(&mut self) {
        self.used_ms.clear();
    }

    pub(crate) fn given(&self) -> u64 {
        self.given
    }
}
