//! The part of WASI that language runtimes drag in, with nothing in it.
//!
//! No environment, no arguments, no input; output goes nowhere; clocks stand still at the time of the call;
//! random numbers are the same in every call, so that the same input gives the same run (invariant 12).
//! The file system has no folder in it. Sockets and HTTP are absent altogether.

use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::random::{Deterministic, WasiRandom};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiView};

use crate::guest::Guest;

/// Packages of which every interface is absent, with what to do instead.
pub(crate) const ABSENT: &[(&str, &str)] = &[
    (
        "wasi:sockets",
        "plugins have no sockets; make requests through the gateway",
    ),
    (
        "wasi:http",
        "plugins have no HTTP of their own; make requests through the gateway",
    ),
];

/// Functions of `wasi:filesystem` that a runtime's own baggage never needs: only code that opens, looks up or
/// changes files by path does.
pub(crate) fn touches_files(function: &str) -> bool {
    function.starts_with("[method]descriptor.") && function.ends_with("-at")
}

/// Adds the interfaces one by one: what is not here does not link.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    // Streams and polling, clocks, random numbers, the three standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| {
        guest.ctx().ctx.random()
    })?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    filesystem::types::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    Ok(())
}

/// The surroundings of one call.
pub(crate) fn empty(now_us: i64) -> WasiCtx {
    let seed: Vec<u8> = (0..=250).collect();
    WasiCtx::builder()
        .wall_clock(Still { now_us })
        .monotonic_clock(Still { now_us })
        .secure_random(Deterministic::new(seed.clone()))
        .insecure_random(Deterministic::new(seed))
        .insecure_random_seed(0)
        .max_random_size(64 << 10)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// A clock that does not move during a call.
struct Still {
    now_us: i64,
}

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.now_us).unwrap_or(0))
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        0
    }
}
