//! No two syncs may write one object: each would take the other's writes for a person's, and neither
//! would ever come to rest.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_gateway::Origin;

use super::origin::parse_origin;
use super::places::join;
use super::problem::{Code, Findings};
use super::written::{Written, WrittenEndpoint};

pub(super) fn check(written: &Written, folder: &Path, findings: &Findings) {
    let mut owners: BTreeMap<(String, String), String> = BTreeMap::new();
    for (name, sync) in &written.syncs {
        for (side, spec) in [("left", &sync.left), ("right", &sync.right)] {
            let Some((endpoint, object)) = spec
                .as_ref()
                .and_then(|spec| spec.endpoint.as_ref().zip(spec.object.as_ref()))
            else {
                continue;
            };
            let system = system_of(endpoint, written.endpoints.get(endpoint), folder);
            // Database and most CRM names ignore case, and no system has two objects apart only by case.
            let claim = (system, object.to_lowercase());
            let here = join(&join("syncs", name), side);
            match owners.get(&claim) {
                None => {
                    owners.insert(claim, here);
                }
                Some(other) => findings.error_with_help(
                    Code::SharedObject,
                    &join(&here, "object"),
                    format!("`{object}` of `{endpoint}` is written by `{other}` already"),
                    "keep an object in one sync, or give the second one an object of its own",
                ),
            }
        }
    }
}

/// Two endpoints with one main origin are one system.
fn system_of(name: &str, endpoint: Option<&WrittenEndpoint>, folder: &Path) -> String {
    let main = endpoint.and_then(|endpoint| endpoint.origins.get("main"));
    match main.map(|main| parse_origin(main, folder)) {
        Some(Ok(Origin::Http(url))) => url.to_string(),
        Some(Ok(Origin::Sqlite(path))) => {
            // Links are followed where the file is there already; `./` is dropped where it is not.
            let file = path
                .canonicalize()
                .unwrap_or_else(|_| path.components().collect());
            file.display().to_string()
        }
        Some(Err(_)) | None => format!("endpoint {name}"),
    }
}
