//! `plugin build`, with a compiler that hands out a module made here: what is built, when, and what is said when
//! it can't be.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_sandbox::{
    BuildError, BuildOptions, Built, World, build_plugin, component_from_core, inspect,
};

use crate::forge::{self, ECHO, MAPPING};

/// A script can't be run while somebody has it open to write, which includes a process that another thread is about to
/// start: so one of these tests at a time writes scripts or runs them.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A workspace with one plugin, a package that it depends on, and a note of a toolchain.
struct Workspace {
    root: tempfile::TempDir,
}

impl Workspace {
    fn new(language: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let workspace = Self { root };
        workspace.write(
            "Cargo.toml",
            "[workspace]\nmembers = [\"plugin\", \"shared\"]\n",
        );
        workspace.write(
            "plugin/Cargo.toml",
            "[package]\nname = \"plugin\"\n[dependencies]\nshared = { path = \"../shared\" }\n",
        );
        workspace.write(
            "plugin/plugin.toml",
            &format!("{MAPPING}\n[build]\nlanguage = \"{language}\"\n"),
        );
        workspace.write("plugin/src/lib.rs", "// the plugin");
        workspace.write("shared/Cargo.toml", "[package]\nname = \"shared\"\n");
        workspace.write("shared/src/lib.rs", "// shared");
        fs::write(workspace.path("module.wasm"), forge::mapping_module(ECHO)).unwrap();
        workspace.compiler(&format!(
            "echo once >> \"$COUNT\"\necho '{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"{}\",\"filenames\":[\"{}\"]}}'",
            workspace.path("plugin/Cargo.toml").display(),
            workspace.path("module.wasm").display(),
        ));
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The note names this script as cargo.
    fn compiler(&self, script: &str) {
        let _alone = alone();
        self.write("cargo.sh", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path("cargo.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let (cargo, count) = (self.path("cargo.sh"), self.path("count"));
        let note = format!(
            "# how to build\nCARGO={}\nCOUNT={}\n",
            cargo.display(),
            count.display()
        );
        self.write("target/guests/toolchain", &note);
    }

    fn compilations(&self) -> usize {
        fs::read_to_string(self.path("count")).map_or(0, |text| text.lines().count())
    }

    fn build(&self) -> Result<Built, BuildError> {
        let _alone = alone();
        let folder = self.path("plugin");
        build_plugin(
            &BuildOptions {
                folder,
                out: None,
                force: false,
            },
            &|_| {},
        )
    }
}

#[test]
fn nothing_is_built_twice_and_everything_that_matters_builds_again() {
    let workspace = Workspace::new("rust");
    let built = workspace.build().unwrap_or_else(|error| panic!("{error}"));
    assert!(built.fresh);
    assert_eq!(
        built.file,
        fs::canonicalize(workspace.path("target/plugins/made-for-a-test.wasm")).unwrap()
    );
    let component = fs::read(&built.file).unwrap();
    let seen = inspect(&component).unwrap();
    assert_eq!(
        (seen.sha256, seen.bytes),
        (built.sha256.clone(), built.bytes)
    );

    let again = workspace.build().unwrap();
    assert_eq!(
        again,
        Built {
            fresh: false,
            ..built.clone()
        }
    );
    assert_eq!(workspace.compilations(), 1);

    let changes: &[(&str, &str)] = &[
        ("its source", "plugin/src/lib.rs"),
        ("a new file", "plugin/src/more.rs"),
        ("a package it depends on", "shared/src/lib.rs"),
        ("the locked versions", "Cargo.lock"),
        ("the result itself", "target/plugins/made-for-a-test.wasm"),
    ];
    for (index, (name, file)) in changes.iter().enumerate() {
        workspace.write(file, &format!("# changed: {name}"));
        assert!(
            workspace.build().unwrap().fresh,
            "{name} changed and nothing was built"
        );
        assert!(
            !workspace.build().unwrap().fresh,
            "{name} did not change again"
        );
        assert_eq!(workspace.compilations(), index + 2, "{name}");
    }
}

#[test]
fn what_can_not_be_built_says_why() {
    type Spoil = fn(&Workspace);
    let cases: &[(&str, Spoil, &str)] = &[
        (
            "read-failed",
            |it| fs::remove_file(it.path("plugin/plugin.toml")).unwrap(),
            "plugin.toml",
        ),
        (
            "manifest-invalid",
            |it| it.write("plugin/plugin.toml", "[plugin]\nname = 3\n"),
            "line 2",
        ),
        (
            "build-refused",
            |it| it.write("plugin/plugin.toml", MAPPING),
            "[build]",
        ),
        (
            "build-refused",
            |it| fs::remove_file(it.path("plugin/Cargo.toml")).unwrap(),
            "Cargo.toml",
        ),
        ("build-refused", |it| it.compiler("exit 0"), "cdylib"),
        (
            "build-failed",
            |it| it.compiler("echo 'error: no such thing' >&2; exit 101"),
            "error: no such thing",
        ),
        (
            "tool-missing",
            |it| {
                it.compiler("echo 'note: the `wasm32-unknown-unknown` target may not be installed' >&2; exit 101")
            },
            "sdk/setup-guests",
        ),
        (
            "tool-missing",
            |it| fs::remove_file(it.path("cargo.sh")).unwrap(),
            "sdk/setup-guests",
        ),
        (
            "encode-failed",
            |it| fs::write(it.path("module.wasm"), forge::module("(module)")).unwrap(),
            "",
        ),
    ];
    for (index, (code, spoil, words)) in cases.iter().enumerate() {
        let workspace = Workspace::new("rust");
        spoil(&workspace);
        let error = workspace.build().expect_err("it can't be built");
        assert_eq!(error.code(), *code, "case {index}: {error}");
        assert!(error.to_string().contains(words), "case {index}: {error}");
        assert!(
            !workspace.path("target/plugins").exists(),
            "case {index} left something behind"
        );
    }
    for language in ["javascript", "c"] {
        let error = Workspace::new(language).build().expect_err("not yet");
        assert!(error.to_string().contains("rust and python"), "{error}");
    }
}

#[test]
fn a_module_for_a_command_line_is_refused() {
    let module = forge::module(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#,
    );
    let error = component_from_core(&module, MAPPING, World::Mapping).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("wasi_snapshot_preview1.fd_write"),
        "{error}"
    );
}
