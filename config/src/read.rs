//! Reading a parsed TOML tree by hand, so that *all* problems of a file are found in one pass.
//!
//! A derived deserialiser stops at its first error. Here a [`Section`] wraps one table: each reading method takes a
//! key, notes what is wrong with its value (if anything) and goes on; [`Section::finish`] then refuses every key that
//! nobody asked for, with the nearest known one as a suggestion. A reading method gives `None` only when it has noted
//! a problem, so a `?` after it never loses one; sections read all their keys before the first `?`.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Kind, Problems, Span};
use crate::suggest::nearest;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> At<T> {
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), span: self.span }
    }
}

/// One table of the file under reading.
pub(crate) struct Section<'t, 'a> {
    /// How the operator writes it: `[cluster]`, `[[port]]`.
    name: &'static str,
    /// Where it begins.
    pub(crate) span: Span,
    table: Option<&'t DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'t, 'a> Section<'t, 'a> {
    pub(crate) fn new(name: &'static str, table: &'t DeTable<'a>, span: Span) -> Self {
        Self { name, span, table: Some(table), asked: Vec::new() }
    }

    /// A section that the file leaves out: all its keys are absent.
    pub(crate) fn absent(name: &'static str) -> Self {
        Self { name, span: 0..0, table: None, asked: Vec::new() }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Says that this key is known: what it holds is read elsewhere.
    pub(crate) fn has_sections(&mut self, key: &'static str) {
        self.asked.push(key);
    }

    /// What it reads from, for sections within it; none if the file leaves it out.
    pub(crate) fn table(&self) -> Option<&'t DeTable<'a>> {
        self.table
    }

    /// Whether the file gives the key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.keys().any(|name| name.get_ref() == key))
    }

    /// Reads a key with `read`: `Some(None)` if it is absent, `None` if it is wrong (and noted).
    pub(crate) fn optional<T>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Reading<'_, '_, 'a>) -> Option<T>,
    ) -> Option<Option<At<T>>> {
        let Some(value) = self.value(key) else { return Some(None) };
        let mut reading = Reading { problems, section: self.name, key, value };
        let read = read(&mut reading)?;
        Some(Some(At { value: read, span: value.span() }))
    }

    /// Reads a key that must be there.
    pub(crate) fn required<T>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&mut Reading<'_, '_, 'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let read = self.optional(problems, key, read)?;
        // An absent section is one problem, not one per key: whoever looked for it has noted it.
        if read.is_none() && self.table.is_some() {
            problems.add(
                &self.span,
                Kind::MissingKey,
                format!("{} has no `{key}`", self.name),
                format!("add a line such as `{key} = {example}`"),
            );
        }
        read
    }

    /// Reads a key that has a default.
    pub(crate) fn or<T>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        default: T,
        read: impl FnOnce(&mut Reading<'_, '_, 'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let span = self.span.clone();
        Some(self.optional(problems, key, read)?.unwrap_or(At { value: default, span }))
    }

    /// Refuses every key that was not asked for.
    pub(crate) fn finish(self, problems: &mut Problems<'_>) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                unknown(problems, &key.span(), &format!("{} has no key `{name}`", self.name), name, &self.asked);
            }
        }
    }
}

/// Notes an unknown word with the nearest known one, or with all of them.
pub(crate) fn unknown(problems: &mut Problems<'_>, span: &Span, what: &str, word: &str, known: &[&'static str]) {
    let fix = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("remove it, or use one of: {}", known.join(", ")),
    };
    problems.add(span, Kind::UnknownKey, what, fix);
}

/// One value under reading.
pub(crate) struct Reading<'p, 'q, 'a> {
    pub(crate) problems: &'p mut Problems<'q>,
    section: &'static str,
    key: &'static str,
    value: &'p Spanned<DeValue<'a>>,
}

impl<'a> Reading<'_, '_, 'a> {
    /// Notes a problem of this sort with the value.
    pub(crate) fn wrong<T>(&mut self, kind: Kind, what: impl std::fmt::Display, fix: impl Into<String>) -> Option<T> {
        let what = format!("{} `{}`: {what}", self.section, self.key);
        self.problems.add(&self.value.span(), kind, what, fix);
        None
    }

    fn wrong_type<T>(&mut self, wanted: &str, example: &str) -> Option<T> {
        let got = self.value.get_ref().type_str();
        self.wrong(
            Kind::WrongType,
            format!("{got} where {wanted} belongs"),
            format!("write it like `{} = {example}`", self.key),
        )
    }

    /// Notes that the value is allowed, but probably not meant.
    pub(crate) fn warn(&mut self, what: impl std::fmt::Display, fix: impl Into<String>) {
        let what = format!("{} `{}`: {what}", self.section, self.key);
        self.problems.warn(&self.value.span(), what, fix);
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref().to_owned()),
            _ => self.wrong_type("a text", "\"...\""),
        }
    }

    /// A text that is not empty.
    pub(crate) fn filled(&mut self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return self.wrong(Kind::BadValue, "it is empty", "fill it in");
        }
        Some(text)
    }

    /// A text that goes into certificates, metrics and log lines.
    pub(crate) fn name(&mut self) -> Option<String> {
        let text = self.text()?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts_well || text.len() > crate::defaults::NAME_LENGTH_MAX || !text.chars().all(allowed) {
            let fix = format!(
                "use 1 to {} letters, digits, hyphens or underscores, the first a letter or digit",
                crate::defaults::NAME_LENGTH_MAX
            );
            return self.wrong(Kind::BadValue, format!("{text:?} is not a name"), fix);
        }
        Some(text)
    }

    /// A text that `T` can be parsed from.
    pub(crate) fn parsed<T: FromStr>(&mut self, wanted: &str, example: &str) -> Option<T> {
        let text = self.text()?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => self.wrong(
                Kind::BadValue,
                format!("{text:?} is not {wanted}"),
                format!("write {wanted} like {example:?}"),
            ),
        }
    }

    /// One word out of a list.
    pub(crate) fn word<T: Copy>(&mut self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let list = known.join(", ");
        let fix = match nearest(&text, known) {
            Some(near) => format!("did you mean {near:?}? (one of: {list})"),
            None => format!("use one of: {list}"),
        };
        self.wrong(Kind::BadValue, format!("{text:?} is not known"), fix)
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong_type("true or false", "true"),
        }
    }

    fn integer(&mut self) -> Option<i128> {
        let DeValue::Integer(number) = self.value.get_ref() else { return self.wrong_type("a whole number", "1") };
        match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number),
            Err(_) => self.wrong(Kind::OutOfRange, format!("{} is too large", number.as_str()), "use a smaller number"),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number<T>(&mut self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + std::fmt::Display + TryFrom<i128> + PartialOrd,
    {
        let number = self.integer()?;
        match T::try_from(number) {
            Ok(value) if range.contains(&value) => Some(value),
            _ => self.wrong(
                Kind::OutOfRange,
                format!("{number} is out of range"),
                format!("use a number from {} to {}", range.start(), range.end()),
            ),
        }
    }

    /// A whole number within bounds, or 0 for none at all.
    pub(crate) fn number_or_none(&mut self, (least, most): (u64, u64)) -> Option<u64> {
        let number = self.integer()?;
        match u64::try_from(number) {
            Ok(value) if value == 0 || (least..=most).contains(&value) => Some(value),
            _ => self.wrong(
                Kind::OutOfRange,
                format!("{number} is out of range"),
                format!("use a number from {least} to {most}, or 0 for none"),
            ),
        }
    }

    /// A time in the unit that `unit_ns` nanoseconds make and the key's last part names; fractions are allowed.
    pub(crate) fn time(&mut self, unit: Duration, (least, most): (Duration, Duration)) -> Option<Duration> {
        let number = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str().parse::<f64>().unwrap_or(f64::NAN),
            DeValue::Integer(_) => self.integer()? as f64,
            _ => return self.wrong_type("a number", "10"),
        };
        let in_units = |time: Duration| time.as_secs_f64() / unit.as_secs_f64();
        let time = Duration::try_from_secs_f64(number * unit.as_secs_f64()).ok();
        match time.filter(|time| (least..=most).contains(time)) {
            Some(time) => Some(time),
            None => self.wrong(
                Kind::OutOfRange,
                format!("{number} is out of range"),
                format!("use a number from {} to {}", in_units(least), in_units(most)),
            ),
        }
    }

    /// Seconds within bounds, or 0 for none at all.
    pub(crate) fn seconds_or_none(&mut self, (least, most): (Duration, Duration)) -> Option<Duration> {
        let time = self.time(Duration::from_secs(1), (Duration::ZERO, most))?;
        if time.is_zero() || time >= least {
            return Some(time);
        }
        let fix = format!("use a number from {} to {}, or 0 for none", least.as_secs(), most.as_secs());
        self.wrong(Kind::OutOfRange, format!("{} is out of range", time.as_secs_f64()), fix)
    }

    /// A list; each entry is read with `read`, and every wrong one is noted.
    pub(crate) fn list<T>(
        &mut self,
        example: &str,
        mut read: impl FnMut(&mut Reading<'_, '_, 'a>) -> Option<T>,
    ) -> Option<Vec<At<T>>> {
        let DeValue::Array(entries) = self.value.get_ref() else { return self.wrong_type("a list", example) };
        let mut list = Vec::new();
        let mut all = true;
        for entry in entries.iter() {
            let mut reading =
                Reading { problems: &mut *self.problems, section: self.section, key: self.key, value: entry };
            match read(&mut reading) {
                Some(value) => list.push(At { value, span: entry.span() }),
                None => all = false,
            }
        }
        all.then_some(list)
    }

    /// Whether the value is a text (for keys that take a number or a word).
    pub(crate) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Notes that the value will not do.
    pub(crate) fn refuse<T>(&mut self, what: impl std::fmt::Display, fix: impl Into<String>) -> Option<T> {
        self.wrong(Kind::BadValue, what, fix)
    }
}
