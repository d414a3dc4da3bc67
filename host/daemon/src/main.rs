//! The `tidegate` binary; see `tidegate --help`.

use std::process::ExitCode;

/// Long-lived processes with many small allocations fragment the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
