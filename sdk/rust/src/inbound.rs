//! What a connector implements beside [`Connector`] when its vendor sends events.
//!
//! The host looks for this export and offers a webhook address only where it is there; the manifest's
//! `[webhook]` says how deliveries are signed. The contract stands in `wit/v0.1/connector.wit`.

use crate::bindings::connector::exports::tidegate::plugin::inbound;
use crate::connector::{ChangeSet, Connector, Context};
use crate::fault::Fault;
use crate::gateway::Gateway;

pub use inbound::{Acknowledgement, EventRequest, Received};

/// Understands what the vendor sends. Export it with
/// [`export_inbound_connector!`](crate::export_inbound_connector), which exports the connector too.
pub trait Inbound: Connector {
    /// One delivery, whose signature the host has checked. Looks nothing up: a record whose fields did not
    /// come along is a hint.
    fn receive(
        gateway: &dyn Gateway,
        context: &Context,
        request: EventRequest,
    ) -> Result<Received, Fault>;
}

impl EventRequest {
    /// The first header of this name, in whatever case it is asked for.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| &*header.value)
    }
}

impl Acknowledgement {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

impl Received {
    /// These changes, from the delivery that the vendor calls `delivery`; acknowledged with 200.
    pub fn changes(delivery: impl Into<String>, changes: Vec<ChangeSet>) -> Self {
        Self {
            changes,
            aliases: Vec::new(),
            deliveries: vec![delivery.into()],
            acknowledgement: Acknowledgement::status(200),
            gap: None,
        }
    }
}

/// Makes a component of a type that implements [`Inbound`]. Does nothing outside wasm.
#[macro_export]
macro_rules! export_inbound_connector {
    ($connector:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(
            unsafe_code,
            reason = "the canonical ABI's entry points are raw functions; the SDK writes them"
        )]
        const _: () = {
            use $crate::bindings::connector::exports::tidegate::plugin::inbound as wit;

            struct Component;

            $crate::connector_guest!(Component, $connector);

            impl wit::Guest for Component {
                fn receive(
                    context: $crate::Context,
                    request: wit::EventRequest,
                ) -> Result<wit::Received, $crate::Fault> {
                    <$connector as $crate::Inbound>::receive(&$crate::Host, &context, request)
                }
            }

            $crate::bindings::connector::export_inbound_connector_world!(
                Component with_types_in $crate::bindings::connector
            );
        };
    };
}
