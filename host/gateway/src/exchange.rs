//! One HTTP request with its attempts.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidegate_core::plugin::{
    Executed, Fault, FaultKind, HttpMethod, HttpRequest, HttpResponse, Request,
};

use crate::call::Call;
use crate::egress;
use crate::endpoint::MAIN;
use crate::gateway::Gateway;
use crate::sql::Access;
use crate::wire::{Outgoing, Wire, WireError};

/// The first pause before a read is repeated; doubled each time.
const PAUSE_FIRST_MS: u64 = 200;

impl Gateway {
    /// Sends until there is an answer, a fault that will not pass, or no more tries.
    pub(crate) async fn http(
        &self,
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
    ) -> Result<HttpResponse, Fault> {
        let wire = self.prepare(access, http)?;
        let mut tried = 0;
        let mut executed = Executed::No;
        loop {
            tried += 1;
            let error = match self.attempt(call, access, request, http, wire).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // Once one attempt may have been carried out, a later certain failure does not undo that.
            if access == Access::Write && error.fault.executed == Executed::Unknown {
                executed = Executed::Unknown;
            }
            let harmless = access == Access::Read || error.unsent || request.idempotent;
            if !(error.passing && harmless && tried < self.limits().attempts_max) {
                return Err(error.fault.executed(executed));
            }
            self.pause(tried).await;
        }
    }

    /// Everything that can be refused without asking anybody.
    fn prepare(&self, access: Access, http: &HttpRequest) -> Result<&Wire, Fault> {
        let fits = match access {
            Access::Read => matches!(http.method, HttpMethod::Get | HttpMethod::Post),
            Access::Write => http.method != HttpMethod::Get,
        };
        if !fits {
            return Err(refused(
                "method-refused",
                "fetch-batch takes GET and POST, write-batch takes all but GET",
            ));
        }
        let name = http.origin.as_deref().unwrap_or(MAIN);
        self.wire(name).ok_or_else(|| {
            refused(
                "origin-unknown",
                format!("the endpoint has no HTTP origin called {name:?}"),
            )
        })
    }

    async fn attempt(
        &self,
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
        wire: &Wire,
    ) -> Result<HttpResponse, WireError> {
        let url = egress::url(wire.origin(), http).map_err(|error| {
            WireError::certain(refused(
                "path-refused",
                format!("the path is refused: {error}"),
            ))
        })?;
        let headers = egress::headers(&http.headers, None).map_err(WireError::certain)?;
        if access == Access::Write {
            self.intend(call, request.rows.clone())
                .await
                .map_err(WireError::certain)?;
        }
        self.counts().requests.fetch_add(1, Ordering::Relaxed);
        let outgoing = Outgoing {
            method: http.method,
            url,
            headers,
            body: Bytes::copy_from_slice(&http.body),
        };
        let response = wire.send(outgoing).await?;
        self.counts()
            .bytes_in
            .fetch_add(response.body.len() as u64, Ordering::Relaxed);
        Ok(response)
    }

    async fn pause(&self, tried: u32) {
        let pause = PAUSE_FIRST_MS << tried.min(8);
        self.clock()
            .sleep_until(self.clock().now().mono_ms + pause)
            .await;
    }
}

fn refused(code: &str, message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Refused, code, message)
}
