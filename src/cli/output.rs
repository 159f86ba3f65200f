//! What verbs print: aligned text for people, or the same facts as JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use super::CliError;

/// Where results go, and in which form.
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Shows a result in the form that was asked for.
    pub fn show(&self, value: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.json {
            let text = serde_json::to_string_pretty(value).map_err(|e| CliError::failed(e.to_string()))?;
            write(format!("{text}\n").as_bytes())
        } else {
            write(human().as_bytes())
        }
    }

    /// Shows one record of a stream: a line each way.
    pub fn record(&self, value: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.json {
            let text = serde_json::to_string(value).map_err(|e| CliError::failed(e.to_string()))?;
            write(format!("{text}\n").as_bytes())
        } else {
            write(human().as_bytes())
        }
    }
}

/// Writes to standard output. A reader that went away (`| head`) ends the program without a word.
pub fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(CliError::failed(format!("cannot write: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// Rows in aligned columns under a header; two spaces between columns, none at a line's end.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|text| (*text).to_owned()).collect()] }
    }

    /// Rows alone.
    pub fn headless() -> Self {
        Self { rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| clean(&cell)).to_vec());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Facts under one heading: `  label   value`, labels aligned; facts without a value are left out.
pub fn facts(facts: &[(&str, String)]) -> String {
    let facts: Vec<_> = facts.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = facts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    facts.iter().fold(String::new(), |mut text, (label, value)| {
        let _ = writeln!(text, "  {label:<width$}  {}", clean(value));
        text
    })
}

/// `count` of something: `1 grant`, `3 grants`.
pub fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Text from elsewhere cannot move the cursor or end a line here.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The same, for text that may have several lines.
pub fn clean_lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_spaces() {
        let mut table = Table::new(&["HANDLE", "STATE", ""]);
        table.row(["travel-bot".into(), "active".into(), "x".into()]);
        table.row(["b\u{1b}ü".into(), "frozen".into(), String::new()]);
        assert_eq!(table.text(), "HANDLE      STATE\ntravel-bot  active  x\nb\u{fffd}ü         frozen\n");
    }

    #[test]
    fn facts_align_and_absent_ones_are_left_out() {
        let text = facts(&[("id", "1".into()), ("name", String::new()), ("AAN", "7284".into())]);
        assert_eq!(text, "  id   1\n  AAN  7284\n");
    }
}
