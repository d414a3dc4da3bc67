//! A sync's references, as written and as meant: fields that name records of another sync.

use std::sync::Arc;

use tidegate_core::sync::ReferenceSpec;

use super::places::join;
use super::problem::{Code, Findings, suggest};
use super::section::Section;
use super::written::{Written, WrittenSide, WrittenSync};

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenReference {
    /// Where it stands, such as `syncs.contacts.references[0]`.
    key: String,
    left: Option<String>,
    right: Option<String>,
    sync: Option<String>,
}

pub(super) fn read(section: &mut Section<'_, '_>) -> WrittenReference {
    WrittenReference {
        key: section.key().to_owned(),
        left: section.text("left"),
        right: section.text("right"),
        sync: section.text("sync"),
    }
}

/// Those of the sync called `name`.
pub(super) fn mean(name: &str, written: &Written, findings: &Findings) -> Vec<ReferenceSpec> {
    let references = written.syncs.get(name).into_iter();
    let references = references.flat_map(|sync| &sync.references);
    references
        .filter_map(|reference| {
            let field = |side: &str, value: &Option<String>| {
                if value.is_none() && !findings.has_key(&join(&reference.key, side)) {
                    let message = format!("`{side}` is missing");
                    findings.error(Code::MissingKey, &reference.key, message);
                }
                value.as_deref().map(Arc::from)
            };
            let left = field("left", &reference.left);
            let right = field("right", &reference.right);
            if let Some(parent) = &reference.sync {
                check_parent(&reference.key, name, parent, written, findings);
            }
            Some(ReferenceSpec {
                left: left?,
                right: right?,
                parent: reference.sync.as_deref().map(Arc::from),
            })
        })
        .collect()
}

/// The parent must be a sync of the same two endpoints: only that one knows both ids.
fn check_parent(key: &str, child: &str, parent: &str, written: &Written, findings: &Findings) {
    let key = join(key, "sync");
    let syncs = &written.syncs;
    let Some(found) = syncs.get(parent) else {
        let help = suggest(parent, syncs.keys().map(String::as_str));
        let message = format!("there is no sync `{parent}`");
        return findings.error_with_help(Code::UnknownSync, &key, message, help);
    };
    let ends = |sync: &WrittenSync| {
        let end = |side: &Option<WrittenSide>| side.as_ref()?.endpoint.clone();
        (end(&sync.left), end(&sync.right))
    };
    if syncs
        .get(child)
        .is_some_and(|child| ends(child) != ends(found))
    {
        let message = format!(
            "sync `{parent}` keeps other endpoints in step, and so knows none of these ids"
        );
        findings.error(Code::UnknownSync, &key, message);
    }
}
