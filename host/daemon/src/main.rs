//! The `tidegate` binary; see `tidegate --help`.

use std::process::ExitCode;

/// Long-lived processes with many small allocations fragment the system's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
