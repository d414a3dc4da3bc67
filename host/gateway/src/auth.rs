//! Logging in: which credential a request carries, and how a new one is had.
//!
//! One refresh at a time per endpoint; who comes meanwhile waits for its result. A grant that the vendor calls
//! dead is remembered and not tried again until the operator reloads the credentials or a long time has passed.
//! No secret gets into a fault or a log (invariant 10).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use tidegate_core::plugin::{Executed, Fault, FaultKind, HttpMethod, HttpResponse};
use tokio::sync::Notify;
use url::{Url, form_urlencoded};

use crate::endpoint::{AuthSpec, MAIN};
use crate::secret::Secret;

/// How long a dead grant is left alone at first; doubled each time it is found dead again.
const DEAD_FIRST_MS: u64 = 900_000;
const DEAD_MAX_MS: u64 = 21_600_000;
/// The same for a token endpoint that does not answer as it should.
const AILING_FIRST_MS: u64 = 1_000;
const AILING_MAX_MS: u64 = 60_000;

/// The endpoint's credentials and what they have brought.
pub(crate) struct Credentials {
    spec: Mutex<Arc<AuthSpec>>,
    /// Locked during a refresh, so that there is one at a time; not while leave for it is waited for.
    pub(crate) session: tokio::sync::Mutex<Session>,
    /// A refresh has ended, well or not.
    pub(crate) changed: Notify,
    /// How often the operator has renewed them.
    reloads: AtomicU64,
}

/// What a login has brought so far.
#[derive(Default)]
pub(crate) struct Session {
    token: Option<Token>,
    /// A rotated refresh token replaces the configured one.
    rotated: Option<Secret>,
    refused: Option<Refused>,
    /// Tokens had so far; names the one that a request carried.
    generation: u64,
}

struct Token {
    text: Secret,
    /// The origin that requests without one go to with this token.
    home: String,
}

struct Refused {
    fault: Fault,
    until_ms: u64,
    lasts_ms: u64,
}

/// What one request carries.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// What the header carries, for requests that want it in their body.
    pub(crate) token: Option<Secret>,
    pub(crate) home: String,
    /// The token's, for telling whether it has been replaced since.
    pub(crate) generation: u64,
}

/// A request for a token.
pub(crate) struct TokenRequest {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    instance_url: Option<String>,
}

#[derive(Default, Deserialize)]
struct Denied {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Credentials {
    pub(crate) fn new(spec: AuthSpec) -> Self {
        Self {
            spec: Mutex::new(Arc::new(spec)),
            session: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            reloads: AtomicU64::new(0),
        }
    }

    /// What was refused before a reload says nothing of those that are there after it.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Acquire)
    }

    pub(crate) fn spec(&self) -> Arc<AuthSpec> {
        self.spec
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes new credentials and forgets all that the old ones brought. The same ones again are tried once more,
    /// and keep what they have brought: a rotated refresh token stands nowhere else.
    pub(crate) async fn reload(&self, spec: AuthSpec) {
        let mut session = self.session.lock().await;
        self.reloads.fetch_add(1, Ordering::AcqRel);
        if *self.spec() == spec {
            session.refused = None;
            return;
        }
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
        let generation = session.generation + 1;
        *session = Session {
            generation,
            ..Session::default()
        };
    }
}

impl AuthSpec {
    /// Whether there is a token to be fetched.
    pub(crate) fn is_oauth2(&self) -> bool {
        matches!(
            self,
            Self::Oauth2ClientCredentials { .. } | Self::Oauth2RefreshToken { .. }
        )
    }

    /// A header of the plugin's that would get in the way of the credentials.
    pub(crate) fn own_header(&self) -> Option<&str> {
        match self {
            Self::ApiKeyHeader { header, .. } => Some(header),
            _ => None,
        }
    }

    /// The login of schemes that need no token endpoint.
    pub(crate) fn standing(&self) -> Result<Login, Fault> {
        let header = match self {
            Self::Bearer { token } => Some((AUTHORIZATION, bearer(token)?)),
            Self::ApiKeyHeader { header, key } => {
                let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| unusable())?;
                Some((name, sensitive(key.expose())?))
            }
            _ => None,
        };
        let token = match self {
            Self::Bearer { token } => Some(token.clone()),
            _ => None,
        };
        Ok(Login {
            header,
            token,
            home: MAIN.to_owned(),
            generation: 0,
        })
    }
}

impl Session {
    /// The token at hand, if any.
    pub(crate) fn login(&self) -> Result<Option<Login>, Fault> {
        let Some(token) = &self.token else {
            return Ok(None);
        };
        Ok(Some(Login {
            header: Some((AUTHORIZATION, bearer(&token.text)?)),
            token: Some(token.text.clone()),
            home: token.home.clone(),
            generation: self.generation,
        }))
    }

    /// Drops the token that a request carried, unless another one has come since.
    pub(crate) fn expire(&mut self, generation: u64) {
        if self.generation == generation {
            self.token = None;
        }
    }

    /// The fault of an earlier refusal, while it stands.
    pub(crate) fn still_refused(&self, now_ms: u64) -> Option<Fault> {
        let refused = self.refused.as_ref()?;
        let rest = refused
            .until_ms
            .checked_sub(now_ms)
            .filter(|rest| *rest > 0)?;
        Some(refused.fault.clone().retry_after_ms(rest))
    }

    pub(crate) fn request(&self, spec: &AuthSpec) -> TokenRequest {
        let mut form = form_urlencoded::Serializer::new(String::new());
        match spec {
            AuthSpec::Oauth2ClientCredentials {
                client_id,
                client_secret,
                scope,
            } => {
                form.append_pair("grant_type", "client_credentials")
                    .append_pair("client_id", client_id)
                    .append_pair("client_secret", client_secret.expose());
                if let Some(scope) = scope {
                    form.append_pair("scope", scope);
                }
            }
            AuthSpec::Oauth2RefreshToken {
                client_id,
                client_secret,
                refresh_token,
            } => {
                let refresh_token = self.rotated.as_ref().unwrap_or(refresh_token);
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", client_id)
                    .append_pair("refresh_token", refresh_token.expose());
                if let Some(secret) = client_secret {
                    form.append_pair("client_secret", secret.expose());
                }
            }
            AuthSpec::None | AuthSpec::Bearer { .. } | AuthSpec::ApiKeyHeader { .. } => {}
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        TokenRequest {
            headers,
            body: form.finish().into(),
        }
    }

    /// Takes the token endpoint's answer. `home_of` finds the configured origin that a URL belongs to.
    pub(crate) fn take(
        &mut self,
        now_ms: u64,
        spec: &AuthSpec,
        response: &HttpResponse,
        home_of: impl Fn(&Url) -> Option<String>,
    ) -> Result<(), Fault> {
        match response.status {
            200..=299 => {}
            400..=499 if !matches!(response.status, 408 | 425 | 429) => {
                let fault = denied(spec, response);
                return Err(self.refuse(now_ms, fault, DEAD_FIRST_MS, DEAD_MAX_MS));
            }
            status => {
                let fault = Fault::new(
                    FaultKind::Transient,
                    "token-endpoint-ailing",
                    format!("the token endpoint answers {status}; it is asked again"),
                );
                return Err(self.refuse(now_ms, fault, AILING_FIRST_MS, AILING_MAX_MS));
            }
        }
        let Ok(granted) = serde_json::from_slice::<Granted>(&response.body) else {
            let fault = Fault::new(
                FaultKind::Broken,
                "token-answer-broken",
                "the token endpoint's answer holds no access_token",
            );
            return Err(self.refuse(now_ms, fault, AILING_FIRST_MS, AILING_MAX_MS));
        };
        let home = match &granted.instance_url {
            None => MAIN.to_owned(),
            Some(text) => match Url::parse(text).ok().as_ref().and_then(home_of) {
                Some(home) => home,
                None => {
                    let fault = Fault::new(
                        FaultKind::Config,
                        "instance-not-allowed",
                        "the token is for another origin than those configured; add the instance's URL to the endpoint's origins",
                    );
                    return Err(self.refuse(now_ms, fault, DEAD_FIRST_MS, DEAD_MAX_MS));
                }
            },
        };
        if let Some(rotated) = granted.refresh_token {
            self.rotated = Some(Secret::new(rotated));
        }
        self.generation += 1;
        self.refused = None;
        self.token = Some(Token {
            text: Secret::new(granted.access_token),
            home,
        });
        Ok(())
    }

    /// Remembers a refusal, longer each time in a row.
    pub(crate) fn refuse(
        &mut self,
        now_ms: u64,
        fault: Fault,
        first_ms: u64,
        most_ms: u64,
    ) -> Fault {
        let before = self
            .refused
            .as_ref()
            .filter(|refused| refused.fault.code == fault.code);
        let lasts_ms = before.map_or(first_ms, |refused| (refused.lasts_ms * 2).min(most_ms));
        let fault = fault.executed(Executed::No).retry_after_ms(lasts_ms);
        self.refused = Some(Refused {
            fault: fault.clone(),
            until_ms: now_ms + lasts_ms,
            lasts_ms,
        });
        fault
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, Fault> {
    sensitive(&format!("Bearer {}", token.expose()))
}

fn sensitive(text: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(text).map_err(|_| unusable())?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable() -> Fault {
    Fault::new(
        FaultKind::Config,
        "credential-unusable",
        "the credential holds characters that no header can carry",
    )
}

/// The grant is dead, in the vendor's words as far as they are safe to show.
fn denied(spec: &AuthSpec, response: &HttpResponse) -> Fault {
    let denied: Denied = serde_json::from_slice(&response.body).unwrap_or_default();
    let plain = |text: &str| {
        !text.is_empty()
            && text.len() <= 60
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let code = if plain(&denied.error) {
        denied.error
    } else {
        "token-refused".to_owned()
    };
    let words = &denied.error_description;
    let reason = if words.is_empty() || words.len() > 200 || mentions(spec, words) {
        String::new()
    } else {
        format!(" ({words})")
    };
    Fault::new(
        FaultKind::Auth,
        code,
        format!(
            "the vendor refuses the credentials{reason}; reconnect the endpoint with working ones"
        ),
    )
}

fn mentions(spec: &AuthSpec, text: &str) -> bool {
    let holds = |secret: &Secret| text.contains(secret.expose());
    match spec {
        AuthSpec::Oauth2ClientCredentials { client_secret, .. } => holds(client_secret),
        AuthSpec::Oauth2RefreshToken {
            client_secret,
            refresh_token,
            ..
        } => holds(refresh_token) || client_secret.as_ref().is_some_and(holds),
        AuthSpec::None | AuthSpec::Bearer { .. } | AuthSpec::ApiKeyHeader { .. } => false,
    }
}

/// Tokens are asked for by POST.
pub(crate) const TOKEN_METHOD: HttpMethod = HttpMethod::Post;
