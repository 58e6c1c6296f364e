//! Mistakes planted one by one in a sound file, and what must be said of each.

use phalanx_config::{Config, Kind};

/// (what to replace, by what, line, column, kind, part of the message); the first occurrence is replaced.
pub(crate) type Mistake = (&'static str, &'static str, usize, usize, Kind, &'static str);

/// Fails unless each mistake is told at its place, with these words, and nothing else is.
pub(crate) fn are_told<'a>(sound: &str, mistakes: impl IntoIterator<Item = &'a Mistake>) {
    let wrong: Vec<String> = mistakes.into_iter().filter_map(|mistake| untold(sound, mistake)).collect();
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

fn untold(sound: &str, &(from, to, line, column, kind, part): &Mistake) -> Option<String> {
    assert!(sound.contains(from), "{from:?} is not in the text");
    let (problems, warnings) = match Config::from_str(&sound.replacen(from, to, 1), "m1.toml") {
        Ok(config) => (Vec::new(), config.warnings),
        Err(errors) => (errors.problems, errors.warnings),
    };
    let told = if kind == Kind::Warning { &warnings } else { &problems };
    let expected_count = kind == Kind::Warning || problems.len() == 1;
    let found = told.iter().any(|problem| {
        problem.kind == kind && problem.at == Some((line, column)) && problem.to_string().contains(part)
    });
    if found && expected_count && (kind != Kind::Warning || problems.is_empty()) {
        return None;
    }
    let all: Vec<String> = problems.iter().chain(&warnings).map(|p| format!("{:?} {p}", p.kind)).collect();
    Some(format!("{to:?} wants {line}:{column} {kind:?} {part:?}, got:\n    {}", all.join("\n    ")))
}
