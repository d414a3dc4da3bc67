//! The connector against canned answers: every file in `tests/cases` is a conversation.
//!
//! A line that begins with `call` is a call by the host, `>` a request that the plugin must make next, `<`
//! Salesforce's answer to it, `=` what the call must give. The plugin's cursors are handed back from call to
//! call, as the host would.

mod kit;

use std::fs;
use std::path::Path;

#[test]
fn conversations_go_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "case")
        })
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 8,
        "cases are missing in {}",
        folder.display()
    );
    let mut failures = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a case");
        if let Err(failure) = kit::run(&folder, &text) {
            failures.push(format!("{}: {failure}", path.display()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}
