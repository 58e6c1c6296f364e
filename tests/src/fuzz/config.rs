//! Any text as a configuration: a configuration or a list of problems, each with its place in the text.

use phalanx_config::{Config, reload_diff};

/// See the module.
pub(super) fn target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.matches('\n').count() + 1;
    match Config::from_str(&text, "fuzz.toml") {
        Ok(config) => {
            assert_eq!(config.digest(), config.clone().digest());
            let changes = reload_diff(&config, &config).expect("a reload of the same is allowed");
            assert!(changes.routes.is_none() && changes.log_level.is_none() && changes.balance_interval.is_none());
            assert!(config.routes.iter().all(|route| route.port < config.ports.len()));
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            for problem in errors.problems.iter().chain(&errors.warnings) {
                let (line, column) = problem.at.expect("a problem of a text has a place in it");
                assert!((1..=lines).contains(&line) && column >= 1, "{problem}");
                assert!(!problem.what.is_empty() && !problem.fix.is_empty());
                assert_eq!(problem.to_string().matches('\n').count(), 0, "one problem a line: {problem:?}");
            }
        }
    }
}
