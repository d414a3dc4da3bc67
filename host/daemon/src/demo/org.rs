//! Another application in the same org, and a look behind the simulator's face.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::stage::{CLIENT_ID, CLIENT_SECRET};

const API: &str = "/services/data/v60.0";

pub(super) struct Org {
    base: String,
    http: Client,
    token: OnceCell<String>,
    calls: AtomicU64,
}

/// What the org has counted so far, whoever it was.
pub(super) struct Counted {
    /// API calls by what they are.
    pub calls: BTreeMap<String, u64>,
    /// Records written, each time one was.
    pub writes: u64,
}

impl Counted {
    pub(super) fn total(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// A record as the org holds it.
pub(super) type Record = Map<String, Value>;

impl Org {
    pub(super) fn new(base: String) -> Self {
        // The HTTP client wants a provider even where nothing is encrypted; one may be installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            base,
            http: Client::new(),
            token: OnceCell::new(),
            calls: AtomicU64::new(0),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// API calls that this application made.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn token(&self) -> Result<&String> {
        self.token
            .get_or_try_init(|| async {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", CLIENT_ID),
                    ("client_secret", CLIENT_SECRET),
                ];
                let answer = self
                    .http
                    .post(format!("{}/services/oauth2/token", self.base))
                    .form(&form)
                    .send()
                    .await?;
                let body: Value = answer.json().await?;
                body["access_token"]
                    .as_str()
                    .map(str::to_owned)
                    .context("the simulator gave no token")
            })
            .await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self
            .http
            .request(method, format!("{}{API}{path}", self.base))
            .bearer_auth(self.token().await?)
            .header("sforce-call-options", "client=other-application");
        if let Some(body) = body {
            request = request.json(body);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("the org answered {status}");
        }
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    /// Creates contacts. The ids of those that the org says were made.
    pub(super) async fn create(&self, contacts: Vec<Value>) -> Result<Vec<String>> {
        let records: Vec<Value> = contacts.into_iter().map(typed).collect();
        let body = json!({"allOrNone": false, "records": records});
        let answer = self
            .call(Method::POST, "/composite/sobjects", Some(&body))
            .await?;
        Ok(ids(&answer))
    }

    /// Changes contacts by id, one after the other in one call. The ids that were written.
    pub(super) async fn update(&self, contacts: Vec<Value>) -> Result<Vec<String>> {
        let records: Vec<Value> = contacts.into_iter().map(typed).collect();
        let body = json!({"allOrNone": false, "records": records});
        let answer = self
            .call(Method::PATCH, "/composite/sobjects", Some(&body))
            .await?;
        Ok(ids(&answer))
    }

    pub(super) async fn delete(&self, id: &str) -> Result<Vec<String>> {
        let answer = self
            .call(
                Method::DELETE,
                &format!("/composite/sobjects?ids={id}&allOrNone=false"),
                None,
            )
            .await?;
        Ok(ids(&answer))
    }

    /// The contact whose key is this row.
    pub(super) async fn find(&self, row: i64) -> Result<Option<String>> {
        let query = format!("/query?q=SELECT+Id+FROM+Contact+WHERE+Tidegate_Id__c='{row}'");
        let answer = self.call(Method::GET, &query, None).await?;
        Ok(answer["records"][0]["Id"].as_str().map(str::to_owned))
    }

    async fn look(&self, path: &str) -> Result<String> {
        let answer = self
            .http
            .get(format!("{}/_sim/{path}", self.base))
            .send()
            .await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// API calls that the org has counted, whoever made them.
    pub(super) async fn calls_total(&self) -> Result<u64> {
        self.stats().await?["calls_total"]
            .as_u64()
            .context("the simulator counted no calls")
    }

    pub(super) async fn counted(&self) -> Result<Counted> {
        let mut stats = self.stats().await?;
        Ok(Counted {
            calls: serde_json::from_value(stats["calls"].take())?,
            writes: stats["journal_entries"]
                .as_u64()
                .context("the simulator counted no writes")?,
        })
    }

    pub(super) async fn stats(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.look("stats").await?)?)
    }

    pub(super) async fn live(&self, object: &str) -> Result<u64> {
        Ok(self.stats().await?["rows_live"][object]
            .as_u64()
            .unwrap_or(0))
    }

    /// All records that are not deleted, by id.
    pub(super) async fn records(&self, object: &str) -> Result<BTreeMap<String, Record>> {
        let mut found = BTreeMap::new();
        for line in self.look(&format!("records/{object}")).await?.lines() {
            let record: Record = serde_json::from_str(line)?;
            if record.get("IsDeleted") == Some(&Value::Bool(true)) {
                continue;
            }
            let id = record
                .get("Id")
                .and_then(Value::as_str)
                .context("a record without an id")?
                .to_owned();
            found.insert(id, record);
        }
        Ok(found)
    }

    pub(super) async fn journal(&self) -> Result<Vec<Record>> {
        self.look("journal")
            .await?
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    pub(super) async fn set_faults(&self, faults: &[(&str, f64)]) -> Result<()> {
        let body: Map<String, Value> = faults
            .iter()
            .map(|(name, rate)| ((*name).to_owned(), json!(rate)))
            .collect();
        let answer = self
            .http
            .put(format!("{}/_sim/faults", self.base))
            .json(&body)
            .send()
            .await?;
        answer.error_for_status()?;
        Ok(())
    }
}

fn typed(mut contact: Value) -> Value {
    contact["attributes"] = json!({"type": "Contact"});
    contact
}

fn ids(answer: &Value) -> Vec<String> {
    answer
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["success"] == true)
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
        .collect()
}
