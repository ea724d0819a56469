//! What a VM said last.

use crate::plan::Daemon;
use crate::world::World;

/// Lines to look through: a login prompt's blank ones come last.
const LINES: u32 = 20;

/// The last line of a VM's serial console that is not blank.
pub(crate) async fn last_line(world: &World, daemon: &Daemon, vm: &str) -> Option<String> {
    let slicer = world.slicer(daemon).await.ok()?;
    let logs = slicer.logs(vm, LINES).await.ok()?;
    last(&logs.content)
}

fn last(content: &str) -> Option<String> {
    let line = content
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())?;
    Some(line.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_no_words() {
        let content = "[ OK ] Started\r\n[FAILED] Failed to mount /dev/vda1\r\n\r\n  \n";
        assert_eq!(last(content).unwrap(), "[FAILED] Failed to mount /dev/vda1");
        assert_eq!(last("\n \n"), None);
    }
}
