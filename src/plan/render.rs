//! A plan for people: hosts, groups, reasons, at most 80 columns.

use std::fmt::Write as _;

use super::{Plan, Role};

/// Columns of a terminal that nobody widened.
const WIDTH: usize = 80;

/// The plan as text.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    let hosts: Vec<[String; 4]> = plan
        .hosts
        .iter()
        .map(|host| {
            let slicer = match (host.slicer_installed, &host.licence_file) {
                (false, _) => "not installed",
                (true, None) => "no licence found",
                (true, Some(_)) => "installed",
            };
            [
                host.name.clone(),
                host.lan_address.to_string(),
                host.arch.to_string(),
                slicer.to_owned(),
            ]
        })
        .collect();
    table(&mut text, ["HOST", "LAN ADDRESS", "ARCH", "SLICER"], &hosts);
    for (name, why) in &plan.absent {
        text.push_str(&wrapped(
            &format!("{}  not there: {}", clean(name), clean(why)),
            2,
        ));
    }
    text.push('\n');
    let groups: Vec<[String; 6]> = plan
        .daemons
        .iter()
        .map(|daemon| {
            let vms = match daemon.role {
                Role::ControlPlane if daemon.count == 1 => "1 server".to_owned(),
                Role::ControlPlane => format!("{} servers", daemon.count),
                Role::Workers => format!("{}–{} agents", daemon.min, daemon.max),
            };
            [
                daemon.group.clone(),
                daemon.host.clone(),
                vms,
                format!("{} CPU {} GB", daemon.cpu, daemon.ram_gb),
                daemon.cidr.to_string(),
                format!("{}:{}", daemon.api_bind, daemon.api_port),
            ]
        })
        .collect();
    table(
        &mut text,
        ["GROUP", "HOST", "VMS", "EACH", "NETWORK", "API"],
        &groups,
    );
    text.push('\n');
    for (what, why) in &plan.reasons {
        text.push_str(&wrapped(&format!("{}: {}", clean(what), clean(why)), 2));
    }
    text
}

/// Columns as wide as their widest entry, two blanks between.
fn table<const N: usize>(text: &mut String, head: [&str; N], rows: &[[String; N]]) {
    let width = |n: usize| {
        let cells = rows.iter().map(|row| row[n].chars().count());
        cells.chain([head[n].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut line = |cells: [&str; N]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(row, "{:width$}  ", clean(cell));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(head);
    for row in rows {
        line(std::array::from_fn(|n| row[n].as_str()));
    }
}

/// Broken into lines of at most [`WIDTH`] columns; all but the first are indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines.push('\n');
    lines
}

/// Text from machines, safe for a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
