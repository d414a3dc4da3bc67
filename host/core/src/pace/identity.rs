//! Whose budget a pool is: two endpoints on one account share what the vendor counts by account.

use std::sync::Arc;

use crate::manifest::Scope;

/// As whom an endpoint calls. Those with the same account share its pools, whatever app and user they go by;
/// so do those with nothing said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The org or account, as the vendor names it.
    pub account: Arc<str>,
    /// The connected app or credential.
    pub app: Arc<str>,
    pub user: Arc<str>,
    /// The vendor's web server that answers, where it tells; else all count as one.
    pub server: Arc<str>,
}

/// A pool of a vendor, and who it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    /// The plugin whose manifest has the pool.
    pub vendor: Arc<str>,
    pub pool: Arc<str>,
    /// What tells this one from others of the same name, widest first.
    pub holder: Vec<Arc<str>>,
}

impl PoolKey {
    pub fn new(vendor: &str, pool: &str, scope: Scope, identity: &Identity) -> Self {
        let account = identity.account.clone();
        let holder = match scope {
            Scope::Account => vec![account],
            Scope::App => vec![account, identity.app.clone()],
            Scope::User => vec![account, identity.user.clone()],
            Scope::Server => vec![account, identity.user.clone(), identity.server.clone()],
        };
        Self {
            vendor: vendor.into(),
            pool: pool.into(),
            holder,
        }
    }
}
