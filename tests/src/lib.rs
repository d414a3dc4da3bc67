//! What the tests of the whole share.

pub mod crm;
pub mod hook;
pub mod host;
pub mod native;
pub mod outsider;
pub mod things;

/// Where `make` puts what the tests run.
pub mod built {
    use std::path::PathBuf;

    fn target() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
    }

    /// Compiled plugins, for all tests.
    pub fn compiled() -> PathBuf {
        target().join("plugins/cache")
    }

    /// The interpreter that `sdk/setup-guests` prepares, with what `tests/requirements.txt` asks for.
    ///
    /// # Panics
    ///
    /// When it has not been prepared.
    pub fn python() -> PathBuf {
        let python = target().join("guests/python/bin/python");
        assert!(
            python.exists(),
            "{} is missing; `make setup` prepares it",
            python.display()
        );
        python
    }

    /// The `tidegate` binary, of the profile that this is built in.
    ///
    /// # Panics
    ///
    /// When it has not been built.
    pub fn program() -> PathBuf {
        let (profile, make) = if cfg!(debug_assertions) {
            ("debug", "make host")
        } else {
            ("release", "make host PROFILE=release")
        };
        let program = target().join(profile).join("tidegate");
        assert!(
            program.exists(),
            "{} is missing; `{make}` builds it",
            program.display()
        );
        program
    }

    /// One of the store's own programs, `load` or `crash`, of the profile that this is built in.
    ///
    /// # Panics
    ///
    /// When it has not been built.
    pub fn store_example(name: &str) -> PathBuf {
        let (profile, flag) = if cfg!(debug_assertions) {
            ("debug", "")
        } else {
            ("release", " --release")
        };
        let example = target().join(profile).join("examples").join(name);
        assert!(
            example.exists(),
            "{} is missing; `cargo build{flag} -p tidegate-store --examples` builds it",
            example.display()
        );
        example
    }

    /// The folder of the built plugins, which holds at least those named.
    ///
    /// # Panics
    ///
    /// When one of them has not been built.
    pub fn plugins(names: &[&str]) -> PathBuf {
        let folder = target().join("plugins");
        for name in names {
            let file = folder.join(format!("{name}.wasm"));
            assert!(
                file.exists(),
                "{} is missing; `make plugins` builds it",
                file.display()
            );
        }
        folder
    }
}
