//! Every bad config in `tests/configs` and `tests/against` against all the problems that it has, at once and in
//! their places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate::config::problem::Problem;
use tidegate::config::{self, Loaded};
use tidegate_core::manifest::Manifest;

type Manifests = BTreeMap<Arc<str>, Manifest>;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// The tables of a folder, by their names without the extension.
fn tables(folder: &Path) -> BTreeMap<String, String> {
    let mut tables = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("a file").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path.file_stem().and_then(|name| name.to_str());
            let text = std::fs::read_to_string(&path).expect("a readable file");
            tables.insert(name.expect("a name in UTF-8").to_owned(), text);
        }
    }
    tables
}

/// All problems of a config, as `line:column severity[code] key: message (help)`.
fn problems(name: &str, text: &str, folder: &Path, manifests: &Manifests) -> Vec<String> {
    let Loaded { config, findings } = config::parse(name, text, folder);
    config::credentials(&config, &findings);
    config::against::check(&config, manifests, &findings);
    let show = |problem: Problem| {
        let severity = format!("{:?}", problem.severity).to_lowercase();
        let place = &problem.place;
        let mut line = format!(
            "{}:{} {severity}[{}] {}: {}",
            place.line,
            place.column,
            problem.code.name(),
            place.key,
            problem.message
        );
        if !problem.help.is_empty() {
            line.push_str(&format!(" ({})", problem.help));
        }
        line.replace(&folder.display().to_string(), "FOLDER")
    };
    findings.into_problems().into_iter().map(show).collect()
}

fn check(folder: &Path, manifests: &Manifests) {
    let mut wrong = String::new();
    let configs = tables(folder);
    assert!(configs.len() >= 2, "only {} configs", configs.len());
    for (name, text) in configs {
        let found = problems(&name, &text, folder, manifests);
        let expected = std::fs::read_to_string(folder.join(format!("{name}.problems")));
        // A config without a list of problems has none.
        let expected = expected.unwrap_or_default();
        if found != expected.lines().collect::<Vec<_>>() {
            let path = folder.join(name);
            wrong.push_str(&format!("== {}\n{}\n", path.display(), found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "these were found instead:\n{wrong}");
}

#[test]
fn every_problem_is_found_at_once() {
    check(&folder("configs"), &Manifests::new());
}

#[test]
fn the_manifests_have_their_say() {
    let folder = folder("against");
    let manifests = tables(&folder.join("manifests"))
        .into_iter()
        .map(|(name, text)| (name.into(), toml::from_str(&text).expect("a manifest")))
        .collect();
    check(&folder, &manifests);
}

/// Neither a secret nor a text that may hold one is ever repeated (invariant 10).
#[test]
fn no_secret_is_repeated() {
    let folder = folder("configs");
    for name in ["secrets", "origins", "alerts"] {
        let text = &tables(&folder)[name];
        assert!(text.contains("do-not-repeat-me"));
        let found = problems(name, text, &folder, &Manifests::new()).join("\n");
        assert!(!found.contains("do-not-repeat-me"), "{found}");
    }
}

/// Wherever a good file is torn, reading it ends in findings and never in a panic, and every place lies within
/// the file.
#[test]
fn torn_files_are_findings() {
    let folder = folder("configs");
    let text = &tables(&folder)["good"];
    let lines = text.lines().count();
    for (cut, _) in text.char_indices() {
        for torn in [&text[..cut], &text[cut..]] {
            let Loaded { findings, .. } = config::parse("torn.toml", torn, &folder);
            for problem in findings.into_problems() {
                assert!(problem.place.line <= lines + 1, "{problem}");
            }
        }
    }
}
