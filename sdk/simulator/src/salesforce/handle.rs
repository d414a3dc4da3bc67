//! Starting the simulator, and moving it from the same process.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::admin;
use super::faults::{Fault, When};
use super::gate::Shared;
use super::journal::Entry;
use super::options::Options;
use super::org::{Org, StartError};
use super::serve::serve;
use crate::clock::Clock;
use crate::wire::{self, Wires};

/// A Salesforce org that lives in this process and answers on loopback.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts listening; the org lives until the handle is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the port is taken, the journal can't be opened or a custom field makes no sense.
    pub async fn start(options: Options) -> Result<Handle, StartError> {
        let port = options.port;
        let listen = |source| StartError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let clock = Clock::new(options.clock);
        let org = Org::new(options, clock.now_ms())?;
        let shared = Arc::new(Shared {
            clock,
            org: Mutex::new(org),
            base_url: format!("http://{address}"),
        });
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        Ok(Handle {
            shared,
            _running: wire::spawn(Wires(listener), router),
        })
    }
}

/// A running simulator. Dropping it ends it: open calls are answered, idle connections closed.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    _running: oneshot::Sender<()>,
}

impl Handle {
    /// As in `http://127.0.0.1:40123`; also the login host.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// Milliseconds since 1970 by the simulator's clock.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Puts the simulator's clock forward.
    pub fn advance_ms(&self, by_ms: u64) {
        self.shared.clock.advance_ms(by_ms);
    }

    /// Makes a fault happen at a rate or a number of times, from now on.
    pub fn set_fault(&self, fault: Fault, when: When) {
        self.shared.org().faults.set(fault, when);
    }

    /// Changes how many calls a rolling day allows.
    pub fn set_daily_limit(&self, calls: u64) {
        self.shared.org().ledger.set_limit(calls);
    }

    /// Ends every session; clients have to ask for new tokens.
    pub fn expire_sessions(&self) {
        self.shared.org().sessions.expire_all();
    }

    /// Takes the grant back, so that no new token is given either, or gives it again.
    pub fn set_revoked(&self, revoked: bool) {
        let mut org = self.shared.org();
        org.sessions.revoked = revoked;
        org.sessions.expire_all();
    }

    /// Every cursor becomes an `INVALID_QUERY_LOCATOR`.
    pub fn expire_cursors(&self) {
        self.shared.org().cursors.expire_all();
    }

    /// Calls by kind, refusals by reason, faults that happened, and for each window the most it ever held.
    pub fn stats(&self) -> Value {
        let now_ms = self.now_ms();
        self.shared.org().stats(now_ms)
    }

    /// Committed writes after this sequence number; 0 for all.
    ///
    /// # Panics
    ///
    /// If the journal's file can't be read back.
    pub fn journal(&self, after: u64) -> Vec<Entry> {
        let entries = self.shared.org().journal.after(after);
        entries.unwrap_or_else(|error| panic!("the journal can't be read: {error}"))
    }

    /// Every record of an object with all of its fields, deleted ones too; empty if there is no such object.
    pub fn records(&self, object: &str) -> Vec<Value> {
        let org = self.shared.org();
        match org.table(object) {
            Ok(table) => admin::records(&org.tables[table]).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Requests that are being answered at this moment.
    pub fn calls_in_flight(&self) -> usize {
        self.shared.org().in_flight.count()
    }
}
