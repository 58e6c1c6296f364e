//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::ops::Range;

/// The sort of a problem, for callers that match.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The file cannot be read.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// A key or section that does not exist.
    UnknownKey,
    /// A key or section that must be there is not.
    MissingKey,
    /// A value of the wrong type (text for a number, ...).
    WrongType,
    /// A text that does not mean what the key needs (an address, a word out of a list, ...).
    BadValue,
    /// A number outside its range.
    OutOfRange,
    /// The same thing twice.
    Duplicate,
    /// Two values that exclude each other.
    Contradiction,
    /// Allowed, but probably not meant.
    Warning,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file's name, as given.
    pub file: String,
    /// Line and column, from 1, the column in characters; none if the file could not be read.
    pub at: Option<(usize, usize)>,
    /// The sort.
    pub kind: Kind,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        if self.kind == Kind::Warning {
            f.write_str(" warning:")?;
        }
        write!(f, " {}; {}", self.what, self.fix)
    }
}

/// All that is wrong with a configuration, in the file's order; shown one problem a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ConfigErrors {
    /// The errors; at least one.
    pub problems: Vec<Problem>,
    /// The warnings found on the way.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// A place in the text, in bytes.
pub(crate) type Span = Range<usize>;

/// Collects problems while the text is read; knows how to turn byte offsets into lines and columns.
pub(crate) struct Problems<'a> {
    text: &'a str,
    file: &'a str,
    found: Vec<(usize, Problem)>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(text: &'a str, file: &'a str) -> Self {
        Self { text, file, found: Vec::new() }
    }

    /// Notes a problem.
    pub(crate) fn add(&mut self, at: &Span, kind: Kind, what: impl Into<String>, fix: impl Into<String>) {
        let at = at.start.min(self.text.len());
        let problem = Problem {
            file: self.file.to_owned(),
            at: Some(self.line_and_column(at)),
            kind,
            what: what.into(),
            fix: fix.into(),
        };
        self.found.push((at, problem));
    }

    /// Notes something that is allowed but probably not meant.
    pub(crate) fn warn(&mut self, at: &Span, what: impl Into<String>, fix: impl Into<String>) {
        self.add(at, Kind::Warning, what, fix);
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// The value and its warnings if no error was found, else all errors in the file's order.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Problem>), ConfigErrors> {
        self.found.sort_by_key(|(offset, _)| *offset);
        let (warnings, problems): (Vec<_>, Vec<_>) =
            self.found.into_iter().map(|(_, problem)| problem).partition(|problem| problem.kind == Kind::Warning);
        match value {
            Some(value) if problems.is_empty() => Ok((value, warnings)),
            _ => Err(ConfigErrors { problems, warnings }),
        }
    }
}
