//! SOAP envelopes: what a request asks, and how an answer is wrapped.

use roxmltree::{Document, Node};
use serde_json::{Map, Value, json};

use crate::salesforce::answer::Answer;
use crate::salesforce::batch::Fields;

const NIL: (&str, &str) = ("http://www.w3.org/2001/XMLSchema-instance", "nil");

/// An element without its prefix, as both WSDLs' clients write them in many ways.
#[derive(Debug, Clone, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    text: String,
    nil: bool,
    children: Vec<Element>,
}

impl Element {
    fn of(node: Node<'_, '_>) -> Self {
        let texts = node.children().filter(Node::is_text);
        Self {
            name: node.tag_name().name().to_owned(),
            text: texts.filter_map(|text| text.text()).collect(),
            nil: node.attribute(NIL) == Some("true"),
            children: node
                .children()
                .filter(Node::is_element)
                .map(Self::of)
                .collect(),
        }
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child; an empty one is none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let child = self.child(name).filter(|child| !child.nil)?;
        Some(child.text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        let children = self.children.iter().filter(|child| child.name == name);
        children.map(|child| child.text.trim()).collect()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// An sObject as the body of a write has it. What is empty or nil changes nothing, as only `fieldsToNull` clears;
    /// that an empty text does not either is not verified.
    pub(super) fn record(&self) -> Fields {
        let mut fields = Map::new();
        for child in &self.children {
            match child.name.as_str() {
                "type" => {}
                "fieldsToNull" => {
                    fields.insert(child.text.trim().to_owned(), Value::Null);
                }
                name if !child.children.is_empty() => {
                    fields.insert(name.to_owned(), Value::Object(child.record()));
                }
                name if !child.nil && !child.text.is_empty() => {
                    fields.insert(name.to_owned(), json!(child.text));
                }
                _ => {}
            }
        }
        fields
    }
}

/// A request: who asks, how, and what.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    header: Element,
    pub(crate) operation: Element,
}

impl Envelope {
    /// Nothing where the text is no envelope with an operation in it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let document = Document::parse(text).ok()?;
        let envelope = Element::of(document.root_element());
        let header = envelope.child("Header").cloned().unwrap_or_default();
        let operation = envelope.child("Body")?.children.first()?.clone();
        Some(Self { header, operation })
    }

    fn said(&self, header: &str, name: &str) -> Option<&str> {
        self.header.child(header)?.text(name)
    }

    pub(super) fn all_or_none(&self) -> bool {
        self.said("AllOrNoneHeader", "allOrNone") == Some("true")
    }

    /// The headers that the same call would have as a REST one.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let session = self.said("SessionHeader", "sessionId");
        let client = self.said("CallOptions", "client");
        let save = self.said("DuplicateRuleHeader", "allowSave");
        let header = |name: &str, value: Option<String>| Some((name.to_owned(), value?));
        [
            header("authorization", session.map(|id| format!("Bearer {id}"))),
            header(
                "sforce-call-options",
                client.map(|client| format!("client={client}")),
            ),
            header(
                "sforce-duplicate-rule-header",
                save.map(|save| format!("allowSave={save}")),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Text with markup of its own taken the meaning.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Appends `<name>text</name>`.
pub(super) fn leaf(xml: &mut String, name: &str, text: &str) {
    xml.push_str(&format!("<{name}>{}</{name}>", escaped(text)));
}

pub(super) fn nil(xml: &mut String, name: &str) {
    xml.push_str(&format!("<{name} xsi:nil=\"true\"/>"));
}

/// The answer to an operation: its results, and what has been used of the day.
pub(super) fn answer(operation: &str, results: &str, (used, limit): (u64, u64)) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns=\"urn:partner.soap.sforce.com\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Header>\
         <LimitInfoHeader><limitInfo><current>{used}</current><limit>{limit}</limit>\
         <type>API REQUESTS</type></limitInfo></LimitInfoHeader></soapenv:Header><soapenv:Body>\
         <{operation}Response>{results}</{operation}Response></soapenv:Body></soapenv:Envelope>"
    );
    Answer::text(200, MEDIA_TYPE, text)
}

/// `code` with its prefix, `sf` or `soapenv`.
pub(crate) fn fault(status: u16, code: &str, message: &str) -> Answer {
    let message = escaped(message);
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:sf=\"urn:fault.partner.soap.sforce.com\"><soapenv:Body><soapenv:Fault>\
         <faultcode>{code}</faultcode><faultstring>{message}</faultstring>\
         </soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    );
    Answer::text(status, MEDIA_TYPE, text)
}

const MEDIA_TYPE: &str = "text/xml; charset=UTF-8";
