//! Ways in: OAuth's token endpoint, revocation, and the SOAP `login()` that older clients use.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

use super::answer::Answer;
use super::org::Org;
use super::soap::Element;

/// What the token endpoint needs to know of a request.
pub(crate) struct Asking<'a> {
    pub(crate) host: &'a str,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) form: HashMap<String, String>,
    /// Where the client is to go from here, without a slash at its end.
    pub(crate) base_url: &'a str,
}

pub(crate) fn token(org: &mut Org, asking: &Asking<'_>, now_ms: u64) -> Answer {
    org.meter.call("token");
    match granted(org, asking) {
        Ok(()) => {
            let organization = org.organization.to_string();
            let token = org.sessions.open(now_ms, &organization);
            let body = json!({
                "access_token": token,
                "signature": "c2ltdWxhdGVk",
                "scope": "api",
                "instance_url": asking.base_url,
                "id": format!("{}/id/{organization}/005gK0000000001AAA", asking.base_url),
                "token_type": "Bearer",
                "issued_at": now_ms.to_string(),
                "token_format": "opaque",
                "api_instance_url": asking.base_url,
            });
            Answer::json(200, body).with("cache-control", "no-store")
        }
        Err((error, description)) => {
            org.meter.refusal("token");
            let body = json!({"error": error, "error_description": description});
            Answer::json(400, body)
        }
    }
}

type Denied = (&'static str, &'static str);

fn granted(org: &Org, asking: &Asking<'_>) -> Result<(), Denied> {
    let field = |name: &str| asking.form.get(name).map(String::as_str);
    let known = &org.options.credentials;
    let grant = field("grant_type").unwrap_or_default();
    if grant == "client_credentials" && shared_host(asking.host) {
        return Err(("invalid_grant", "request not supported on this domain"));
    }
    let (id, secret) = match asking.authorization.and_then(basic) {
        Some((id, secret)) => (Some(id), Some(secret)),
        None => (
            field("client_id").map(str::to_owned),
            field("client_secret").map(str::to_owned),
        ),
    };
    if id.as_deref() != Some(&known.client_id) {
        return Err(("invalid_client_id", "client identifier invalid"));
    }
    // A public app may refresh without its secret.
    let secret_needed = grant != "refresh_token" || secret.is_some();
    if secret_needed && secret.as_deref() != Some(&known.client_secret) {
        return Err(("invalid_client", "invalid client credentials"));
    }
    let alive = !org.sessions.revoked;
    match grant {
        "client_credentials" if org.options.run_as_user && alive => Ok(()),
        "client_credentials" => Err(("invalid_grant", "no client credentials user enabled")),
        "refresh_token" if field("refresh_token") == Some(&known.refresh_token) && alive => Ok(()),
        "refresh_token" => Err(("invalid_grant", "expired access/refresh token")),
        "password" => {
            let with_token = format!("{}{}", known.password, known.security_token);
            let right = field("username") == Some(&known.username)
                && [Some(known.password.as_str()), Some(&with_token)].contains(&field("password"));
            if right && alive {
                Ok(())
            } else {
                Err(("invalid_grant", "authentication failure"))
            }
        }
        _ => Err(("unsupported_grant_type", "grant type not supported")),
    }
}

fn shared_host(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    ["login.salesforce.com", "test.salesforce.com"].contains(&name)
}

/// Ends one session, or with the refresh token the grant itself.
pub(crate) fn revoke(org: &mut Org, form: &HashMap<String, String>) -> Answer {
    let token = form.get("token").map(String::as_str).unwrap_or_default();
    if token == org.options.credentials.refresh_token {
        org.sessions.revoked = true;
        org.sessions.expire_all();
        return Answer::empty(200);
    }
    if org.sessions.close(token) {
        return Answer::empty(200);
    }
    let body =
        json!({"error": "invalid_token", "error_description": "the presented token is invalid"});
    Answer::json(400, body)
}

/// `login()` of the partner and enterprise WSDLs.
pub(crate) fn soap(
    org: &mut Org,
    path: &str,
    asked: &Element,
    base_url: &str,
    now_ms: u64,
) -> Answer {
    org.meter.call("soap-login");
    let known = &org.options.credentials;
    let password = format!("{}{}", known.password, known.security_token);
    let right = asked.text("username") == Some(&known.username)
        && asked.text("password") == Some(&password);
    if !right || org.sessions.revoked {
        org.meter.refusal("soap-login");
        return soap_fault(
            "INVALID_LOGIN",
            "Invalid username, password, security token; or user locked out.",
        );
    }
    let organization = org.organization.to_string();
    let session = org.sessions.open(now_ms, &organization);
    let server = format!("{base_url}{path}/{organization}");
    let seconds = org.options.session_timeout_ms / 1000;
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns=\"urn:partner.soap.sforce.com\"><soapenv:Body><loginResponse><result>\
         <passwordExpired>false</passwordExpired><sandbox>true</sandbox>\
         <serverUrl>{server}</serverUrl><sessionId>{session}</sessionId>\
         <userId>005gK0000000001AAA</userId><userInfo>\
         <organizationId>{organization}</organizationId>\
         <sessionSecondsValid>{seconds}</sessionSecondsValid></userInfo>\
         </result></loginResponse></soapenv:Body></soapenv:Envelope>"
    );
    Answer::text(200, "text/xml; charset=UTF-8", text)
}

fn soap_fault(code: &str, message: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:sf=\"urn:fault.partner.soap.sforce.com\"><soapenv:Body><soapenv:Fault>\
         <faultcode>{code}</faultcode><faultstring>{code}: {message}</faultstring>\
         <detail><sf:LoginFault><sf:exceptionCode>{code}</sf:exceptionCode>\
         <sf:exceptionMessage>{message}</sf:exceptionMessage></sf:LoginFault></detail>\
         </soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    );
    Answer::text(500, "text/xml; charset=UTF-8", text)
}

/// Client id and secret of a Basic header.
fn basic(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?.trim();
    let bytes = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
