//! What the tests of the whole share.

/// Where `make` puts what the tests run.
pub mod built {
    use std::path::PathBuf;

    fn target() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
    }

    /// The `tidegate` binary.
    ///
    /// # Panics
    ///
    /// When it has not been built.
    pub fn program() -> PathBuf {
        let program = target().join("debug/tidegate");
        assert!(
            program.exists(),
            "{} is missing; `make host` builds it",
            program.display()
        );
        program
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
