//! Credentials that stand in a request's body: the host writes the SOAP envelope, the plugin only what goes into it.
//!
//! The token comes before the plugin's bytes, in a header of the host's own, and these must be one well-formed element
//! by themselves: nothing in them can close what the host has opened, or declare an entity. So no body can carry the
//! token into a field that its plugin reads back (invariant 10).

use bytes::Bytes;
use roxmltree::{Document, Node};
use tidegate_core::manifest::Envelope;
use tidegate_core::plugin::{Fault, FaultKind};

use crate::secret::Secret;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The request's body around the plugin's.
pub(crate) fn sealed(
    envelope: &Envelope,
    token: Option<&Secret>,
    body: &[u8],
) -> Result<Bytes, Fault> {
    let body = one_element(body).map_err(|why| {
        let message = format!("what goes into the envelope {why}");
        Fault::new(FaultKind::Refused, "envelope-refused", message)
    })?;
    let token = token.map(Secret::expose).unwrap_or_default();
    if token.is_empty() || token.contains(|c: char| c.is_control() || "<>&".contains(c)) {
        return Err(Fault::new(
            FaultKind::Config,
            "credential-unusable",
            "requests of this kind carry a token in an envelope, and the credential has none that can stand there",
        ));
    }
    let open: String = envelope
        .token
        .iter()
        .map(|name| format!("<{name}>"))
        .collect();
    let names = envelope.token.iter().rev();
    let close: String = names.map(|name| format!("</{name}>")).collect();
    let namespace = &envelope.namespace;
    Ok(Bytes::from(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"{SOAP}\" xmlns=\"{namespace}\">\
         <soapenv:Header>{open}{token}{close}</soapenv:Header><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )))
}

/// Text that is one element and nothing else, by itself.
fn one_element(body: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8")?;
    let named = |first: char| first.is_alphabetic() || first == '_';
    if !text
        .strip_prefix('<')
        .is_some_and(|rest| rest.starts_with(named))
    {
        return Err("must begin with an element");
    }
    // A document type is refused by the parser, and with it every entity but the five of XML.
    let document = Document::parse(text).map_err(
        |_| "must be one well-formed element without a document type, its prefixes declared in it",
    )?;
    if document.root().children().count() != 1 {
        return Err("must be one element and nothing after it");
    }
    Ok(text)
}

/// The code and text of a fault, without the code's prefix before either.
pub(crate) fn fault(body: &[u8]) -> Option<(String, String)> {
    let document = Document::parse(std::str::from_utf8(body).ok()?).ok()?;
    let fault = document
        .descendants()
        .find(|node| node.has_tag_name((SOAP, "Fault")))?;
    let text = |name: &str| {
        let mut children = fault.children().filter(Node::is_element);
        let child = children.find(|child| child.tag_name().name() == name)?;
        child.text().map(str::trim)
    };
    let code = text("faultcode")?;
    let code = code.rsplit_once(':').map_or(code, |(_, code)| code);
    let told = text("faultstring").unwrap_or_default();
    let bare = told
        .strip_prefix(code)
        .and_then(|rest| rest.strip_prefix(':'));
    Some((
        code.to_owned(),
        bare.unwrap_or(told).trim_start().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            path_prefix: "/services/Soap/".to_owned(),
            namespace: "urn:partner.soap.sforce.com".to_owned(),
            token: vec!["SessionHeader".to_owned(), "sessionId".to_owned()],
        }
    }

    /// Whatever a plugin writes, the token stands in the host's header and nowhere else, or nothing is sent.
    #[test]
    fn nothing_in_a_body_can_move_the_token() {
        let token = Secret::new("00D!s3cret");
        let refused = [
            "",
            "text",
            " <undelete/>",
            "<undelete>",
            "<undelete/><delete/>",
            "<undelete/>text",
            "<undelete/><!-- more -->",
            "</soapenv:Body></soapenv:Envelope>",
            "<a/></soapenv:Body><soapenv:Body><a/>",
            "<a></soapenv:Body><soapenv:Header/><soapenv:Body></a>",
            "<?xml version=\"1.0\"?><a/>",
            "<!DOCTYPE a [<!ENTITY s SYSTEM \"file:///etc/passwd\">]><a>&s;</a>",
            "<!-- --><a/>",
            "<a>&s;</a>",
            "<soapenv:Header/>",
            "<![CDATA[<a/>]]>",
            "<a><![CDATA[</a>",
            "<a b=\"</a>\">",
        ];
        for body in refused {
            let fault = sealed(&envelope(), Some(&token), body.as_bytes()).expect_err(body);
            assert_eq!(fault.code, "envelope-refused", "{body}");
        }
        assert!(sealed(&envelope(), Some(&token), b"<a>\xff</a>").is_err());
        let accepted = [
            "<undelete><ids>003</ids></undelete>",
            "<a><!-- </soapenv:Body> --></a>",
            "<a><![CDATA[</soapenv:Body>]]></a>",
            "<h:Header xmlns:h=\"http://schemas.xmlsoap.org/soap/envelope/\"/>",
        ];
        for body in accepted {
            let sealed = sealed(&envelope(), Some(&token), body.as_bytes()).expect(body);
            let text = std::str::from_utf8(&sealed).expect("UTF-8");
            assert_eq!(text.matches("00D!s3cret").count(), 1, "{text}");
            let document = Document::parse(text).expect("well-formed");
            let holder = document
                .descendants()
                .find(|node| node.is_text() && node.text() == Some("00D!s3cret"))
                .expect("the token");
            let path: Vec<&str> = holder
                .ancestors()
                .filter(Node::is_element)
                .map(|node| node.tag_name().name())
                .collect();
            assert_eq!(path, ["sessionId", "SessionHeader", "Header", "Envelope"]);
            let parts: Vec<&str> = document
                .root_element()
                .children()
                .map(|node| node.tag_name().name())
                .collect();
            assert_eq!(parts, ["Header", "Body"], "{body}");
        }
    }

    #[test]
    fn a_token_that_is_markup_is_not_sent() {
        for token in ["", "a<b", "a&b", "a\nb"] {
            let fault = sealed(&envelope(), Some(&Secret::new(token)), b"<a/>").expect_err(token);
            assert_eq!(fault.code, "credential-unusable");
        }
        assert!(sealed(&envelope(), None, b"<a/>").is_err());
    }

    #[test]
    fn a_fault_says_its_code_and_why() {
        let answer = |code: &str, text: &str| {
            format!(
                "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Body><s:Fault><faultcode>{code}</faultcode>\
                 <faultstring>{text}</faultstring></s:Fault></s:Body></s:Envelope>"
            )
        };
        let cases = [
            (
                answer(
                    "sf:INVALID_SESSION_ID",
                    "INVALID_SESSION_ID: Illegal Session",
                ),
                Some(("INVALID_SESSION_ID", "Illegal Session")),
            ),
            (
                answer("soapenv:Client", "No operation available"),
                Some(("Client", "No operation available")),
            ),
            ("<a/>".to_owned(), None),
            ("{}".to_owned(), None),
        ];
        for (body, expected) in cases {
            let found = fault(body.as_bytes());
            let found = found
                .as_ref()
                .map(|(code, text)| (code.as_str(), text.as_str()));
            assert_eq!(found, expected, "{body}");
        }
    }
}
