//! From text to [`Config`]: the file's sections one by one, then what only shows when they are seen together.

mod cluster;
mod ike;
mod ipsec;
mod local;
mod pool;
mod port;
mod proof;
mod reach;
mod relay;
mod route;
mod rules;
mod start;
mod together;

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::defaults;
use crate::problem::{ConfigErrors, Kind, Problem, Problems};
use crate::read::{At, Section, unknown};
use crate::schema::Config;

/// The sections of a file, in the order in which the examples have them.
const SECTIONS: &[&str] = &[
    "cluster",
    "member",
    "link",
    "port",
    "route",
    "relay",
    "ipsec",
    "workers",
    "cluster_thread",
    "eal",
    "management",
    "log",
    "limits",
];

/// The machine that a configuration is held against.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The cores that a process may use there; none: unknown.
    pub cores: &'a [usize],
    /// Whether the member is to run there: then a core that is not there is an error. Else it may be a file for another
    /// machine, and it is a warning.
    pub runs_here: bool,
}

impl Config {
    /// Reads a configuration from text. `file_name` is used in messages, and relative paths are taken from its folder.
    ///
    /// # Errors
    /// All problems of the text that can be found at once, each with line, column and what to do.
    #[allow(clippy::should_implement_trait, reason = "FromStr has no room for the file's name")]
    pub fn from_str(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        Self::from_text(text, file_name, None)
    }

    fn from_text(text: &str, file_name: &str, machine: Option<&Machine<'_>>) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::new(text, file_name);
        let (tree, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            let span = error.span().unwrap_or(0..0);
            problems.add(&span, Kind::Syntax, error.message().trim(), "correct the TOML here");
        }
        // What follows a syntax error is guesswork: missing keys would be reported that are there.
        let config = match syntax.is_empty() {
            true => read(&mut problems, tree.get_ref(), Path::new(file_name), machine),
            false => None,
        };
        let (mut config, warnings) = problems.finish(config)?;
        config.warnings = warnings;
        Ok(config)
    }

    /// Reads a configuration from a file.
    ///
    /// # Errors
    /// As [`Config::from_str`], and if the file cannot be read or is not UTF-8.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(path, None)
    }

    /// Reads a configuration from a file, and holds it against a machine.
    ///
    /// # Errors
    /// As [`Config::load`], and if the file names cores that the machine lacks and a member is to run there.
    pub fn load_on(path: &Path, machine: &Machine<'_>) -> Result<Self, ConfigErrors> {
        Self::load_with(path, Some(machine))
    }

    fn load_with(path: &Path, machine: Option<&Machine<'_>>) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(&text, &name, machine),
            Err(error) => Err(ConfigErrors {
                problems: vec![Problem {
                    file: name,
                    at: None,
                    kind: Kind::Unreadable,
                    what: format!("cannot be read: {error}"),
                    fix: "check the path and its permissions".to_owned(),
                }],
                warnings: Vec::new(),
            }),
        }
    }
}

fn read(problems: &mut Problems<'_>, tree: &DeTable<'_>, file: &Path, machine: Option<&Machine<'_>>) -> Option<Config> {
    for key in tree.keys() {
        let name = key.get_ref().as_ref();
        if !SECTIONS.contains(&name) {
            unknown(problems, &key.span(), &format!("there is no section `{name}`"), name, SECTIONS);
        }
    }
    let s = Sections::find(problems, tree);
    let cluster = cluster::cluster(problems, s.cluster);
    let member = cluster::member(problems, s.member, file);
    let link = cluster::link(problems, s.link);
    let ports = port::ports(problems, s.ports);
    let workers = local::workers(problems, s.workers);
    let cluster_thread = local::cluster_thread(problems, s.cluster_thread);
    let eal = local::eal(problems, s.eal);
    let name = member.as_ref().map(|member| member.name.as_str());
    let management = local::management(problems, s.management, name, file);
    let log = local::log(problems, s.log);
    let limits = local::limits(problems, s.limits);
    // Routes refer to ports: with a wrong port, every route through it would be reported too.
    let routes = route::routes(problems, s.routes, ports.as_deref(), limits.as_ref());
    let relays = relay::relays(problems, s.relays);
    let ipsec = ipsec::ipsec(problems, tree, file);

    if let Some(ports) = &ports {
        together::addresses_of_ports(problems, ports);
        if let Some(link) = &link {
            together::link_beside_ports(problems, link, ports);
        }
        for relay in relays.iter().flatten() {
            reach::relay(problems, relay, ports, routes.as_deref());
        }
        if let Some(ipsec) = &ipsec {
            ipsec.beside_ports(problems, ports);
        }
    }
    if let (Some(cluster), Some(relays)) = (&cluster, &relays) {
        together::relays_under_scheme(problems, relays, cluster.scheme);
    }
    if let (Some(cluster), Some(ipsec)) = (&cluster, &ipsec) {
        ipsec.in_cluster(problems, cluster);
    }
    if let (Some(member), Some(ipsec)) = (&member, &ipsec) {
        pool::for_member(problems, &ipsec.pools, member);
    }
    if let (Some(workers), Some(thread)) = (&workers, &cluster_thread) {
        together::cores(problems, workers, thread);
        if let Some(machine) = machine {
            together::cores_exist(problems, workers, thread, machine);
        }
    }
    if let (Some(workers), Some(ports)) = (&workers, &ports) {
        together::queues(problems, ports, workers);
    }
    let ipsec = ipsec?;
    let (cluster, link, workers, limits) = (cluster?, link?, workers?, limits?);
    let ports: Vec<_> = ports?.into_iter().map(port::Draft::finish).collect();
    let workers = local::finish_workers(workers);
    let limits = local::finish_limits(problems, limits, &ports, workers.count())?;
    Some(Config {
        cluster,
        member: member?,
        link: link.value,
        ports,
        routes: routes?,
        relays: relay::finish(relays?),
        ipsec_engine: ipsec.engine,
        clamp_mss: ipsec.clamp_mss,
        ike_users: ipsec.users,
        static_sas: ipsec::finish(ipsec.sas),
        ipsec_rules: ipsec.rules,
        ike_connections: ike::finish(ipsec.connections),
        pools: pool::finish(ipsec.pools),
        workers,
        cluster_thread: cluster_thread?.value,
        eal: eal?,
        management: management?,
        log: log?,
        limits,
        warnings: Vec::new(),
    })
}

/// The file's tables, by section.
struct Sections<'t, 'a> {
    cluster: Section<'t, 'a>,
    member: Section<'t, 'a>,
    link: Section<'t, 'a>,
    ports: Vec<Section<'t, 'a>>,
    routes: Vec<Section<'t, 'a>>,
    relays: Vec<Section<'t, 'a>>,
    workers: Section<'t, 'a>,
    cluster_thread: Section<'t, 'a>,
    eal: Section<'t, 'a>,
    management: Section<'t, 'a>,
    log: Section<'t, 'a>,
    limits: Section<'t, 'a>,
}

impl<'t, 'a> Sections<'t, 'a> {
    fn find(problems: &mut Problems<'_>, tree: &'t DeTable<'a>) -> Self {
        Self {
            cluster: section(problems, tree, "cluster", "[cluster]", true),
            member: section(problems, tree, "member", "[member]", true),
            link: section(problems, tree, "link", "[link]", true),
            ports: repeated(problems, tree, "port", "[[port]]"),
            routes: repeated(problems, tree, "route", "[[route]]"),
            relays: repeated(problems, tree, "relay", "[[relay]]"),
            workers: section(problems, tree, "workers", "[workers]", false),
            cluster_thread: section(problems, tree, "cluster_thread", "[cluster_thread]", false),
            eal: section(problems, tree, "eal", "[eal]", false),
            management: section(problems, tree, "management", "[management]", false),
            log: section(problems, tree, "log", "[log]", false),
            limits: section(problems, tree, "limits", "[limits]", false),
        }
    }
}

/// The section of this name; noted if it must be there and is not, or is not a table.
fn section<'t, 'a>(
    problems: &mut Problems<'_>,
    tree: &'t DeTable<'a>,
    key: &str,
    name: &'static str,
    required: bool,
) -> Section<'t, 'a> {
    match tree.iter().find(|(known, _)| known.get_ref() == key) {
        Some((_, value)) => match value.get_ref() {
            DeValue::Table(table) => return Section::new(name, table, value.span()),
            _ => problems.add(
                &value.span(),
                Kind::WrongType,
                format!("`{key}` is not a section"),
                format!("begin the section with a line `{name}`, once"),
            ),
        },
        None if required => {
            let fix = format!("add it; the examples beside the documentation show one ({name})");
            problems.add(&(0..0), Kind::MissingKey, format!("there is no section {name}"), fix);
        }
        None => {}
    }
    Section::absent(name)
}

/// All sections of this name that may be repeated.
fn repeated<'t, 'a>(
    problems: &mut Problems<'_>,
    tree: &'t DeTable<'a>,
    key: &str,
    name: &'static str,
) -> Vec<Section<'t, 'a>> {
    let Some((_, value)) = tree.iter().find(|(known, _)| known.get_ref() == key) else { return Vec::new() };
    let mut sections = Vec::new();
    let entries = match value.get_ref() {
        DeValue::Array(entries) => entries.iter().collect(),
        _ => vec![value],
    };
    let is_list = value.get_ref().is_array();
    for entry in entries {
        match entry.get_ref() {
            DeValue::Table(table) if is_list => sections.push(Section::new(name, table, entry.span())),
            _ => problems.add(
                &entry.span(),
                Kind::WrongType,
                format!("`{key}` can be there several times and needs double brackets"),
                format!("begin each with a line `{name}`"),
            ),
        }
    }
    sections
}

/// Notes each value that an earlier one equals.
fn no_duplicates<'v, T: PartialEq + 'v>(
    problems: &mut Problems<'_>,
    values: impl IntoIterator<Item = &'v At<T>>,
    what: impl Fn(&T) -> String,
    fix: &str,
) {
    let mut seen: Vec<&T> = Vec::new();
    for At { value, span } in values {
        if seen.contains(&value) {
            problems.add(span, Kind::Duplicate, what(value), fix);
        }
        seen.push(value);
    }
}

/// The folder that the file's relative paths start from.
fn beside(file: &Path, path: &str) -> std::path::PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// At most this many data ports: kept here so that the sections' modules share it.
const PORTS_MAX: usize = defaults::PORTS_MAX;
