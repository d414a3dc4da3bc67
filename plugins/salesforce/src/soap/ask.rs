//! What goes into the Body of an envelope, as the partner WSDL orders it.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;
use tidegate_sdk::{Fault, OperationKind};

use crate::config::Config;
use crate::lines::Line;

/// Of an sObject's own elements; others are in the namespace that the host's envelope names.
const SOBJECT: &str = "urn:sobject.partner.soap.sforce.com";

/// One request of a call, which has one result.
#[derive(Debug)]
pub(super) enum Ask {
    One(Line),
    /// These become part of the record of that id.
    Merge {
        master: String,
        losers: Vec<Line>,
    },
}

impl Ask {
    pub(super) fn lines(&self) -> &[Line] {
        match self {
            Self::One(line) => std::slice::from_ref(line),
            Self::Merge { losers, .. } => losers,
        }
    }
}

pub(super) fn body(
    config: &Config,
    operation: OperationKind,
    object: &str,
    asks: &[Ask],
) -> Result<Vec<u8>, Fault> {
    let mut xml = Writer::new(Vec::new());
    let name = match operation {
        OperationKind::Merge => "merge",
        OperationKind::Convert => "convertLead",
        _ => "undelete",
    };
    xml.create_element(name)
        .with_attribute(("xmlns:so", SOBJECT))
        .write_inner_content(|xml| {
            asks.iter()
                .try_for_each(|ask| write(xml, config, operation, object, ask))
        })
        .map_err(|error| Fault::refused("unwritable", error.to_string()))?;
    Ok(xml.into_inner())
}

type Xml = Writer<Vec<u8>>;

fn write(
    xml: &mut Xml,
    config: &Config,
    operation: OperationKind,
    object: &str,
    ask: &Ask,
) -> io::Result<()> {
    match (ask, operation) {
        (Ask::Merge { master, losers }, _) => element(xml, "request", |xml| {
            element(xml, "masterRecord", |xml| {
                leaf(xml, "so:type", object)?;
                leaf(xml, "so:Id", master)
            })?;
            losers
                .iter()
                .try_for_each(|loser| leaf(xml, "recordToMergeIds", &loser.id))
        }),
        (Ask::One(line), OperationKind::Convert) => element(xml, "leadConverts", |xml| {
            leaf(xml, "convertedStatus", config.converted_status())?;
            leaf(
                xml,
                "doNotCreateOpportunity",
                flag(!config.makes_opportunities()),
            )?;
            leaf(xml, "leadId", &line.id)?;
            leaf(xml, "overwriteLeadSource", flag(false))?;
            leaf(xml, "sendNotificationEmail", flag(false))
        }),
        (Ask::One(line), _) => leaf(xml, "ids", &line.id),
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn element(
    xml: &mut Xml,
    name: &str,
    inner: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    xml.create_element(name).write_inner_content(inner)?;
    Ok(())
}

fn leaf(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name)
        .write_text_content(BytesText::new(text))?;
    Ok(())
}
