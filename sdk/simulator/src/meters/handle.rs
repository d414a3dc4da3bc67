//! Starting a vendor's meters, and moving them from the same process.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::desk::Desk;
use super::options::{Failing, Neighbour, Options, OptionsError};
use super::serve::{Shared, serve};
use super::told::{Refusal, Stats};
use crate::clock::Clock;
use crate::wire::{self, Wires};

/// Why the meters did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As when the port is taken.
    #[error("can't listen on port {port} of 127.0.0.1")]
    Listen { port: u16, source: std::io::Error },
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// A vendor's meters, which live in this process and answer on loopback.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts listening; the meters live until the handle is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the port is taken, or an option names what the vendor has not.
    pub async fn start(options: Options) -> Result<Handle, StartError> {
        let port = options.port;
        let listen = |source| StartError::Listen { port, source };
        let clock = Clock::new(options.clock);
        let profile = options.vendor.profile();
        let desk = Desk::new(options, clock.now_ms())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared {
            clock,
            desk: Mutex::new(desk),
            profile,
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

/// Running meters. Dropping it ends them: open calls are answered, idle connections closed.
pub struct Handle {
    shared: Arc<Shared>,
    _running: oneshot::Sender<()>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut handle = formatter.debug_struct("Handle");
        handle.field("base_url", &self.shared.base_url).finish()
    }
}

impl Handle {
    /// As in `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// Milliseconds since 1970 by the simulator's clock, which the vendor's own may be ahead of.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Puts the simulator's clock forward.
    pub fn advance_ms(&self, by_ms: u64) {
        self.shared.clock.advance_ms(by_ms);
    }

    /// When the next thing happens to a call that is on its way or at work, by the simulator's clock.
    pub fn due_ms(&self) -> Option<u64> {
        self.shared.clock.due_ms()
    }

    /// Calls that have arrived so far.
    pub fn arrived(&self) -> u64 {
        self.shared.desk().arrived()
    }

    /// Changes a limit, for every credential that it counts by itself.
    ///
    /// # Errors
    ///
    /// If the vendor has no such meter.
    pub fn set_limit(&self, meter: &str, units: u64) -> Result<(), OptionsError> {
        self.shared.desk().set_limit(meter, units)
    }

    /// Makes answers fail from now on.
    pub fn fail(&self, failing: Failing) {
        let now_ms = self.now_ms();
        self.shared.desk().fail(now_ms, failing);
    }

    /// Others begin to use what the first meter counts, or end.
    pub fn neighbour(&self, set: Option<&Neighbour>) {
        let now_ms = self.now_ms();
        self.shared.desk().neighbour(now_ms, set);
    }

    /// A credential, as its header has it, is no longer accepted, or is again.
    pub fn set_revoked(&self, credential: &str, revoked: bool) {
        self.shared.desk().set_revoked(credential, revoked);
    }

    /// For each window the most that it ever saw, and what became of the calls.
    pub fn stats(&self) -> Stats {
        let now_ms = self.now_ms();
        self.shared.desk().stats(now_ms)
    }

    /// How often each record was carried out that came in a list with a number for an `id`: what the vendor has, whatever
    /// its callers think. Of more than a million the first.
    pub fn carried(&self) -> BTreeMap<u64, u64> {
        self.shared.desk().carried()
    }

    /// Calls that were refused for a limit, oldest first; of very many the latest.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.desk().refusals()
    }
}
