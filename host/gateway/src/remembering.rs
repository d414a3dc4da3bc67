//! The way of a read that may be answered by what is kept: look, join who asks already, or ask, and keep the answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_core::cache::{
    Change, Holder, Judgement, Kept, Key, Label, is_cacheable, is_conditional, judge, keeping,
};
use tidegate_core::pace::Purpose;
use tidegate_core::plugin::{
    Answer, Fault, Freshness, Header, HttpRequest, HttpResponse, Operation, Request, Response,
};
use tidegate_core::time::Now;

use crate::answers::{Boarding, Departure, Passenger, landed};
use crate::call::Call;
use crate::endpoint::{AuthSpec, MAIN};
use crate::gateway::{Gateway, fresh};
use crate::sql::Access;

/// What a read on its way to the vendor may be spared.
pub(crate) struct Remembering<'a> {
    gateway: &'a Gateway,
    origin: &'a str,
    http: &'a HttpRequest,
    label: Arc<Label>,
    /// The kept answer is in doubt.
    whole: bool,
}

/// An answer, and what it would be kept as.
pub(crate) struct Heard {
    pub(crate) response: HttpResponse,
    /// The answer's place, by the credential that got it.
    key: Option<Key>,
    asked: Now,
    /// The vendor said that what was kept still holds.
    renewed: bool,
}

impl Remembering<'_> {
    fn key(&self, auth: &AuthSpec) -> Key {
        let holder = holder(self.gateway.account().name(), auth);
        Key::new(&holder, self.origin, self.http)
    }

    /// The kept answer of this credential, and the headers that ask whether it still holds. An answer that another
    /// credential got could hold for that one alone.
    pub(crate) async fn conditions(&self, auth: &AuthSpec) -> Option<(Arc<Kept>, Vec<Header>)> {
        if self.whole || !is_conditional(self.http) {
            return None;
        }
        let now = self.gateway.clock().now();
        let kept = self.gateway.answers().find(self.key(auth), now).await?;
        let conditions = kept.validators();
        (!conditions.is_empty()).then_some((kept, conditions))
    }

    /// What the credential heard, when it had asked at this moment.
    pub(crate) fn heard(
        &self,
        auth: &AuthSpec,
        asked: Now,
        kept: Option<Arc<Kept>>,
        response: HttpResponse,
    ) -> Heard {
        let key = Some(self.key(auth));
        let renewed = kept
            .filter(|_| response.status == 304)
            .map(|kept| kept.renewed(&response.headers));
        Heard {
            renewed: renewed.is_some(),
            response: renewed.unwrap_or(response),
            key,
            asked,
        }
    }
}

impl Heard {
    /// An answer that is not kept, and that nobody else hears.
    pub(crate) fn only(response: HttpResponse, asked: Now) -> Self {
        Self {
            response,
            key: None,
            asked,
            renewed: false,
        }
    }
}

impl Gateway {
    /// A read that says how old its answer may be.
    pub(crate) async fn remembered(
        &self,
        call: &Call,
        request: &Request,
        http: &HttpRequest,
        freshness: &Freshness,
    ) -> Result<Response, Fault> {
        let origin = self.wire(http.origin.as_deref().unwrap_or(MAIN));
        let (Some(wire), true) = (origin, self.answers().is_on() && is_cacheable(http)) else {
            return self.asked(call, Access::Read, request, http).await;
        };
        let label = Label::new(self.account().name(), &http.path, &freshness.tags);
        let remembering = Remembering {
            gateway: self,
            origin: wire.origin().as_str(),
            http,
            label: Arc::new(label),
            whole: freshness.age_ms_max == 0,
        };
        let members = self.roster().serving(Purpose::Reading);
        let keys: Vec<Key> = members
            .iter()
            .map(|member| remembering.key(&member.credentials.spec()))
            .collect();
        if keys.is_empty() {
            // Nobody may read; the way of every request says why.
            return self.asked(call, Access::Read, request, http).await;
        }
        loop {
            if let Some(response) = self.recalled(&keys, freshness.age_ms_max).await {
                return Ok(response);
            }
            let passenger = Passenger {
                joined: Key::joined(&keys, &request.costs),
                label: remembering.label.clone(),
                lane: call.lane,
                whole: remembering.whole,
                now_ms: self.clock().now().mono_ms,
            };
            match self.answers().board(passenger) {
                Boarding::Leads(departure) => {
                    // Another one may have landed since the first look.
                    if let Some(response) = self.recalled(&keys, freshness.age_ms_max).await {
                        return Ok(response);
                    }
                    return self.lead(call, request, &remembering, departure).await;
                }
                Boarding::Follows(landing, since_ms) => {
                    if let Some(result) = landed(landing).await {
                        self.counts().joined.fetch_add(1, Ordering::Relaxed);
                        let age_ms = self.clock().now().mono_ms.saturating_sub(since_ms);
                        return result.map(|response| Response { age_ms, ..response });
                    }
                }
            }
        }
    }

    /// The youngest answer that any of the credentials has, if it is young enough.
    async fn recalled(&self, keys: &[Key], age_ms_max: u32) -> Option<Response> {
        if age_ms_max == 0 {
            return None;
        }
        let now = self.clock().now();
        let mut youngest: Option<Arc<Kept>> = None;
        for key in keys {
            let kept = self.answers().find(*key, now).await;
            let younger = |kept: &Arc<Kept>| {
                let known = youngest.as_ref();
                known.is_none_or(|known| kept.age_ms(now) < known.age_ms(now))
            };
            youngest = kept.filter(younger).or(youngest);
        }
        let kept = youngest?;
        let judged = |age_percent| judge(&kept, age_ms_max.into(), age_percent, now);
        let judgement = match judged(100) {
            // Levels are worked out from all pools, so only when they could matter.
            Judgement::Ask { .. } => judged(self.cache_age_percent()),
            serves => serves,
        };
        let Judgement::Serve { age_ms, stale } = judgement else {
            return None;
        };
        let count = match stale {
            true => &self.counts().recalled_stale,
            false => &self.counts().recalled,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Some(Response {
            answer: Answer::Http(kept.response.clone()),
            age_ms,
            stale,
        })
    }

    /// How much older than usual an answer may be, as the scarcest allowance asks.
    fn cache_age_percent(&self) -> u32 {
        let pools = self.pools().into_iter();
        let level = pools.map(|pool| pool.level).max().unwrap_or_default();
        level.asks().cache_age_percent
    }

    async fn lead(
        &self,
        call: &Call,
        request: &Request,
        remembering: &Remembering<'_>,
        departure: Departure,
    ) -> Result<Response, Fault> {
        let http = remembering.http;
        let sent = self.http(call, Access::Read, request, http, Some(remembering));
        let heard = match Box::pin(sent).await {
            Ok(heard) => heard,
            Err(fault) => {
                departure.fail(&fault);
                return Err(fault);
            }
        };
        let counts = self.counts();
        let count = match heard.renewed {
            true => &counts.renewed,
            false => &counts.asked,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let Some(key) = heard.key else {
            return Ok(fresh(Answer::Http(heard.response)));
        };
        let keeping = keeping(&heard.response);
        let result = Ok(fresh(Answer::Http(heard.response.clone())));
        let label = remembering.label.clone();
        let kept = || Kept::new(label, heard.response, heard.asked);
        departure.land(key, keeping, kept, &result).await;
        result
    }

    /// Records at the vendor have changed: answers that speak of the object, or of one of them, are forgotten.
    /// Returns when that will stay so over a restart, once what is stored next is durable.
    pub async fn changed<'i>(&self, object: &str, ids: impl IntoIterator<Item = &'i str>) {
        if !self.answers().has_any() {
            return;
        }
        let ids = ids.into_iter().map(|id| format!("{object}/{id}"));
        let tags: Vec<String> = std::iter::once(object.to_owned()).chain(ids).collect();
        let tags: HashSet<&str> = tags.iter().map(String::as_str).collect();
        self.forget(&Change::Tags(tags)).await;
    }

    /// Nothing that is kept of the vendor's account serves any more.
    pub async fn forget_answers(&self) {
        self.forget(&Change::All).await;
    }

    async fn forget(&self, change: &Change<'_>) {
        self.answers().change(self.account().name(), change).await;
    }

    /// Before a write leaves, so that no start after a kill finds what it changes; and again when it has ended, for
    /// what was read meanwhile.
    pub(crate) async fn unsettle(&self, run: &[Request]) -> Unsettled<'_> {
        let touched = run.iter().filter_map(|request| {
            // A database's answers are not kept.
            let Operation::Http(http) = &request.operation else {
                return None;
            };
            let freshness = request.freshness.as_ref();
            let tags = freshness.map(|freshness| freshness.tags.clone());
            Some((http.path.clone(), tags.unwrap_or_default()))
        });
        let unsettled = Unsettled {
            gateway: self,
            touched: touched.collect(),
        };
        unsettled.forget();
        self.answers().tidy().await;
        unsettled
    }
}

/// A write is under way: whatever becomes of it, what it changes is forgotten once more.
pub(crate) struct Unsettled<'a> {
    gateway: &'a Gateway,
    /// Paths, and what each write says that it changes.
    touched: Vec<(String, Vec<String>)>,
}

impl Unsettled<'_> {
    fn forget(&self) {
        let answers = self.gateway.answers();
        if !answers.has_any() {
            return;
        }
        for (path, tags) in &self.touched {
            let change = Change::of_write(path, tags);
            answers.change_here(self.gateway.account().name(), &change);
        }
    }

    pub(crate) async fn settle(self) {
        let answers = self.gateway.answers().clone();
        drop(self);
        answers.tidy().await;
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// As whom a credential reads at an account. Everything that it is made of counts: credentials that share an app may be
/// different users.
fn holder(account: &str, auth: &AuthSpec) -> Holder {
    let parts: Vec<&str> = match auth {
        AuthSpec::None => vec!["none"],
        AuthSpec::Bearer { token } => vec!["bearer", token.expose()],
        AuthSpec::ApiKeyHeader { header, key } => vec!["api-key-header", header, key.expose()],
        AuthSpec::Oauth2ClientCredentials {
            client_id,
            client_secret,
            scope,
        } => vec![
            "oauth2-client-credentials",
            client_id,
            client_secret.expose(),
            scope.as_deref().unwrap_or_default(),
        ],
        AuthSpec::Oauth2RefreshToken {
            client_id,
            client_secret,
            refresh_token,
        } => vec![
            "oauth2-refresh-token",
            client_id,
            client_secret.as_ref().map_or("", |secret| secret.expose()),
            refresh_token.expose(),
        ],
    };
    Holder::new(std::iter::once(account).chain(parts))
}
