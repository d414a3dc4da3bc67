//! `tidegate check`: everything that is wrong, at once, with its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tidegate_gateway::{EndpointError, Outside};
use tidegate_sandbox::SandboxError;

use super::exit::Exit;
use super::print::{Terminal, chain};
use super::runtime;
use crate::assembly::{self, Shared};
use crate::check::live::Reach;
use crate::check::plugins::Plugins;
use crate::check::{self, Planned};
use crate::config::meant::{Config, Granted};
use crate::config::places::join;
use crate::config::problem::{Code, Findings, Problem, Severity};
use crate::config::{self, Loaded};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Ask no endpoint: only what the file and the plugins tell.
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    problems: Vec<Problem>,
    /// What `tidegate run` would set up first.
    steps: Vec<Planned>,
}

impl Report {
    fn new(findings: Findings, steps: Vec<Planned>) -> Self {
        let problems = findings.into_problems();
        let count = |severity| {
            let found = problems.iter().filter(|found| found.severity == severity);
            found.count()
        };
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            problems,
            steps,
        }
    }
}

pub(super) fn run(path: &Path, arguments: &CheckArguments, terminal: &Terminal) -> Exit {
    let Loaded { config, findings } = config::load(path);
    let credentials = config::credentials(&config, &findings);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.failure("runtime", error);
            return Exit::Failed;
        }
    };
    let looked = runtime.block_on(look(&config, credentials, arguments, &findings));
    let steps = match looked {
        Ok(steps) => steps,
        Err(error) => {
            terminal.failure("sandbox", chain(&error));
            return Exit::Failed;
        }
    };
    let report = Report::new(findings, steps);
    terminal.answer(&report, text);
    match report.errors {
        0 => Exit::Done,
        _ => Exit::Usage,
    }
}

async fn look(
    config: &Config,
    credentials: BTreeMap<Arc<str>, Granted>,
    arguments: &CheckArguments,
    findings: &Findings,
) -> Result<Vec<Planned>, SandboxError> {
    let sandbox = assembly::sandbox(config)?;
    let plugins = assembly::load_plugins(config, &sandbox, findings).await;
    if arguments.offline {
        check::offline(config, &plugins, findings).await;
        return Ok(Vec::new());
    }
    let reaches = reaches(config, &plugins, credentials, findings);
    Ok(check::endpoints(config, &plugins, &reaches, findings).await)
}

/// The endpoints that can be asked: those whose part of the file has no mistake.
fn reaches(
    config: &Config,
    plugins: &Plugins,
    credentials: BTreeMap<Arc<str>, Granted>,
    findings: &Findings,
) -> BTreeMap<Arc<str>, Reach> {
    let shared = Shared::without_records("check");
    let sound = |name: &str| findings.problems_of(&join("endpoints", name)).is_empty();
    let mut reaches = BTreeMap::new();
    for (name, Granted { own, accounts }) in credentials {
        let endpoint = &config.endpoints[&name];
        let Some(plugin) = plugins.get(&endpoint.plugin).filter(|_| sound(&name)) else {
            continue;
        };
        // Each credential has a gateway of its own, so that each is asked.
        let open = |own| {
            let alone = Granted {
                own,
                accounts: BTreeMap::new(),
            };
            assembly::gateway(&name, endpoint, alone, plugin, &shared)
        };
        let opened: Result<_, EndpointError> = open(own).and_then(|outside| {
            let others = accounts.into_iter();
            let others = others.map(|(account, own)| Ok((account, open(own)? as Arc<dyn Outside>)));
            Ok((outside, others.collect::<Result<_, EndpointError>>()?))
        });
        match opened {
            Ok((outside, others)) => {
                let reach = Reach {
                    plugin: plugin.clone(),
                    outside,
                    others,
                    config: endpoint.config.to_string(),
                    now_us: shared.clock.now().wall_us,
                };
                reaches.insert(name, reach);
            }
            Err(error) => {
                let key = join("endpoints", &name);
                findings.error(Code::EndpointUnusable, &key, chain(&error));
            }
        }
    }
    reaches
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.problems.iter().map(Problem::to_string).collect();
    lines.push(match (report.errors, report.warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        (errors, warnings) => format!(
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ),
    });
    let open: Vec<&Planned> = report
        .steps
        .iter()
        .filter(|planned| !planned.step.done)
        .collect();
    if !open.is_empty() {
        lines.push("`tidegate run` will first:".to_owned());
    }
    for planned in open {
        lines.push(format!(
            "  {}: {}",
            planned.endpoint, planned.step.description
        ));
    }
    lines.join("\n")
}
