//! Tables and paragraphs that fit a terminal nobody widened.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use crate::escape::escape;

/// Columns of a terminal that nobody widened.
pub const WIDTH: usize = 80;

/// No column is cut below this.
const NARROWEST: usize = 8;

/// Columns as wide as their widest entry, two blanks between; where they do not fit, the widest ones are cut.
pub fn table<const N: usize>(text: &mut String, head: [&str; N], rows: &[[String; N]]) {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|n| escape(&row[n])))
        .collect();
    let mut widths: [usize; N] = std::array::from_fn(|n| {
        let cells = rows.iter().map(|row| measure_text_width(&row[n]));
        cells
            .chain([measure_text_width(head[n])])
            .max()
            .unwrap_or(0)
    });
    while widths.iter().sum::<usize>() + 2 * N.saturating_sub(1) > WIDTH {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => break,
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let cell = truncate_str(cell, width, "…");
            row.push_str(&pad_str(&cell, width + 2, Alignment::Left, None));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(head);
    for row in &rows {
        line(std::array::from_fn(|n| row[n].as_str()));
    }
}

/// Broken into lines of at most [`WIDTH`] columns where words allow; all but the first are indented.
pub fn wrapped(text: &str, indent: usize) -> String {
    fill(0, indent, text)
}

/// A heading, and behind it a text whose further lines begin where its first does.
pub fn headed(heading: &str, text: &str) -> String {
    let indent = measure_text_width(heading);
    format!("{heading}{}", fill(indent, indent, text))
}

/// Words, where `start` columns of the first line are taken.
fn fill(start: usize, indent: usize, text: &str) -> String {
    let mut lines = String::new();
    let (mut column, mut empty) = (start, true);
    for word in escape(text).split_whitespace() {
        let width = measure_text_width(word);
        if !empty && column + 1 + width > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if !empty {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
        empty = false;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_cells_are_cut_and_short_ones_keep_their_width() {
        let mut text = String::new();
        let row = ["n100".to_owned(), "x".repeat(200), "v1".to_owned()];
        table(&mut text, ["HOST", "WHAT", "VERSION"], &[row]);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(text.contains("n100  xxxx") && text.contains("…  v1"));
    }

    /// Characters were counted, and a name in Chinese moved every column behind it.
    #[test]
    fn wide_characters_take_two_columns() {
        let mut text = String::new();
        let rows = ["北京", "n100"].map(|name| [name.to_owned(), "up".to_owned()]);
        table(&mut text, ["HOST", "STATE"], &rows);
        assert_eq!(text, "HOST  STATE\n北京  up\nn100  up\n");
    }

    #[test]
    fn what_a_heading_is_about_stays_behind_it() {
        let text = headed("  servers     ", &"k3s-cp-1 192.168.137.2, ".repeat(4));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("  servers     k3s-cp-1 ") && lines[0].len() <= WIDTH);
        assert_eq!(lines[1].find(|c| c != ' '), Some(14), "{text}");
        let long = "x".repeat(90);
        assert_eq!(headed("  key  ", &long), format!("  key  {long}\n"));
    }

    #[test]
    fn words_are_wrapped_and_made_harmless() {
        let text = wrapped(&"\u{1b}[2J word ".repeat(30), 4);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ")));
        assert!(!text.contains('\u{1b}'));
    }
}
