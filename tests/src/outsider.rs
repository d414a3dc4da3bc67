//! Another application in a simulated org.

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method};
use serde_json::Value;
use tidegate_simulator::salesforce::{Credentials, Handle};

const API: &str = "/services/data/v60.0";

pub struct Outsider {
    http: Client,
    base: String,
    token: String,
}

impl Outsider {
    pub async fn login(org: &Handle) -> Result<Self> {
        // The HTTP client wants a provider even where nothing is encrypted; one may be installed already.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let http = Client::new();
        let base = org.base_url().to_owned();
        let credentials = Credentials::default();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &credentials.client_id),
            ("client_secret", &credentials.client_secret),
        ];
        let answer = http
            .post(format!("{base}/services/oauth2/token"))
            .form(&form)
            .send()
            .await?;
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        let token = answer["access_token"].as_str().context("a token")?;
        Ok(Self {
            token: token.to_owned(),
            http,
            base,
        })
    }

    /// What an administrator does, as `sdk/simulator` describes it.
    pub async fn administer(&self, path: &str, body: &Value) -> Result<()> {
        let url = format!("{}/_sim/{path}", self.base);
        let request = self.http.put(url).body(body.to_string());
        let answer = request.header("content-type", "application/json");
        let status = answer.send().await?.status();
        ensure!(status.is_success(), "{path}: {status}");
        Ok(())
    }

    /// One call by SOAP, with this in its Body; the answer as it came.
    pub async fn soap(&self, body: &str) -> Result<String> {
        let envelope = format!(
            "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns=\"urn:partner.soap.sforce.com\"><soapenv:Header><SessionHeader><sessionId>{}</sessionId>\
             </SessionHeader></soapenv:Header><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>",
            self.token
        );
        let request = self
            .http
            .post(format!("{}/services/Soap/u/60.0", self.base))
            .header("content-type", "text/xml; charset=UTF-8")
            .header("soapaction", "\"\"");
        let answer = request.body(envelope).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status} {text}");
        Ok(text)
    }

    /// One call below the API's version; its answer, null when that is empty.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let method = Method::from_bytes(method.as_bytes())?;
        let mut request = self
            .http
            .request(method, format!("{}{API}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&text)?)
    }
}
