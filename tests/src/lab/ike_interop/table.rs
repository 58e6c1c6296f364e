//! What became of all.

use std::fmt::Write as _;
use std::path::Path;

use super::{End, Row};
use crate::lab::{Outcome, failure};

/// What did not end as it was to.
pub fn judge(rows: &[Row]) -> Vec<String> {
    rows.iter().filter_map(|row| Some(format!("{}: {}", row.case.name, row.unexpected()?))).collect()
}

/// Writes the table that README has.
pub fn write_table(path: &Path, rows: &[Row]) -> Outcome<()> {
    let mut text = String::from("| case | IKE | ESP | result | ms |\n| --- | --- | --- | --- | --- |\n");
    for row in rows {
        let ms = row.connected_ms.map_or_else(|| "–".to_owned(), |ms| ms.to_string());
        let [ike, esp] = [(&row.ike, &row.case.ike), (&row.esp, &row.case.esp)]
            .map(|(used, proposed)| if used.is_empty() { format!("proposed: {proposed}") } else { used.clone() });
        let _ = writeln!(text, "| {} | {ike} | {esp} | {} | {ms} |", row.case.name, row.result());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(path, text)).map_err(failure)
}

impl Row {
    /// What is wrong, if it did not end as it was to.
    fn unexpected(&self) -> Option<String> {
        match (self.case.end, &self.problem) {
            (End::Works, None) => None,
            (End::Refused(said), Some(problem)) if problem.contains(said) => None,
            (_, Some(problem)) => Some(problem.clone()),
            (end, None) => Some(format!("it works, where {end:?} was expected")),
        }
    }

    fn result(&self) -> String {
        match (self.unexpected(), self.case.end) {
            (Some(_), _) => "**failed**".into(),
            (None, End::Works) if self.note.is_empty() => "works".into(),
            (None, End::Works) => format!("works: {}", self.note),
            (None, End::Refused(said)) => format!("refused, as it must be: {said}"),
        }
    }
}
