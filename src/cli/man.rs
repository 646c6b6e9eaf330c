//! `countersign man`: the man pages, from the same definition as the help.

use std::{io, path::Path};

/// Writes the program's own page, which lists the commands.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl io::Write) -> io::Result<()> {
    clap_mangen::Man::new(super::command()).render(out)
}

/// Writes a page for the program and one for each command into a directory.
///
/// # Errors
/// Those of the files, such as a directory that is not there.
pub fn write_all(dir: &Path) -> io::Result<()> {
    clap_mangen::generate_to(super::command(), dir).map_err(|error| {
        io::Error::new(error.kind(), format!("the man pages cannot be written to {}: {error}", dir.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_commands() {
        let mut page = Vec::new();
        write(&mut page).expect("memory takes it");
        let page = String::from_utf8(page).expect("a page is text");
        for part in [".TH countersign 1", "countersign\\-run(1)", "countersign demo"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn a_page_for_each_command() {
        let dir = std::env::temp_dir().join(format!("countersign-man-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a directory of our own");
        write_all(&dir).expect("the pages are written");
        let run = std::fs::read_to_string(dir.join("countersign-run.1")).expect("the page of run");
        std::fs::remove_dir_all(&dir).expect("it is ours");
        assert!(run.contains("max\\-body") && run.contains("COUNTERSIGN_MAX_BODY"), "{run}");
        assert!(write_all(&dir).is_err(), "a directory that is not there");
    }
}
