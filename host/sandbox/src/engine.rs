//! The one wasmtime engine of the process, and its clock of ticks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::cache::{Cache, CacheError};
use crate::guest::{Guest, TICK_MS};
use crate::imports;

/// What one component may need of the pool at most. Python is the hungriest known: its component is a dozen
/// linked core modules around one memory.
const CORE_INSTANCES_PER_COMPONENT: u32 = 40;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 20;
const TABLE_ELEMENTS: usize = 100_000;
const INSTANCE_BYTES: usize = 4 << 20;

/// How much of what a call has written of a memory stays mapped for the next one. It is put back to what the component's
/// file says before another call sees it, which is cheaper than giving the pages back and faulting them in again:
/// half of a short call. A batch of 1,000 rows fits; more would only raise what idle slots hold.
const KEPT_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Keeps compiled code between runs; `None` compiles afresh. The folder is made private to this user and
    /// must not be shared with anything that others can write to.
    pub cache_dir: Option<PathBuf>,
    /// Calls that run at the same time, of all plugins together.
    pub instances_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            instances_max: 32,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("this machine can't run plugins")]
    Engine(#[source] wasmtime::Error),
    #[error("the thread that counts the plugins' time could not be started")]
    Ticker(#[source] std::io::Error),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Loads plugins and gives each call a fresh instance.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) cache: Option<Cache>,
    pub(crate) linker: Linker<Guest>,
    /// One permit per instance that the pool can hold, so that it is waited for, not overrun.
    pub(crate) instances: Arc<Semaphore>,
    pooled: bool,
}

impl Sandbox {
    pub fn new(settings: Settings) -> Result<Arc<Self>, SandboxError> {
        let (engine, pooled) = start(settings.instances_max).map_err(SandboxError::Engine)?;
        tick(&engine).map_err(SandboxError::Ticker)?;
        let cache = match settings.cache_dir {
            Some(folder) => Some(Cache::open(folder, &engine)?),
            None => None,
        };
        Ok(Arc::new(Self {
            linker: imports::linker(&engine).map_err(SandboxError::Engine)?,
            engine,
            cache,
            instances: Arc::new(Semaphore::new(settings.instances_max.max(1) as usize)),
            pooled,
        }))
    }

    /// Whether instances come out of a pool; false where address space is too short for one, and then each
    /// call costs some ten microseconds more.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        // Calls are five times dearer with it; components that need it are refused at load.
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_component_model(true);
    config
}

/// Prefers a pool, and one that keeps pages. Each pooled memory reserves some 6 GiB of address space, which a container
/// may not grant; telling which pages a call has written takes Linux 6.7.
fn start(instances_max: u32) -> wasmtime::Result<(Engine, bool)> {
    let mut keeping = pool(instances_max);
    keeping
        .pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(KEPT_BYTES);
    for pool in [keeping, pool(instances_max)] {
        let mut pooled = config();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        match Engine::new(&pooled) {
            Ok(engine) => return Ok((engine, true)),
            Err(error) => {
                tracing::info!(error = %format!("{error:#}"), "no such pool for plugin instances; trying a simpler one");
            }
        }
    }
    Ok((Engine::new(&config())?, false))
}

fn pool(instances_max: u32) -> PoolingAllocationConfig {
    let instances = instances_max.max(1);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(instances * MEMORIES_PER_COMPONENT)
        .total_tables(instances * TABLES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .table_elements(TABLE_ELEMENTS);
    pool
}

/// Advances the epoch for as long as the engine lives: its thread holds it weakly.
fn tick(engine: &Engine) -> std::io::Result<()> {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("plugin-ticks".into())
        .spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(TICK_MS));
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
            }
        })
        .map(drop)
}
