//! `countersign completions`: a shell's completion script, from the same definition as the help.

use std::io;

use clap_complete::Shell;

/// Writes the script.
///
/// # Errors
/// Those of `out`.
pub fn write(shell: Shell, out: &mut impl io::Write) -> io::Result<()> {
    // The options of `run` are completed without its name too, since they are taken without it.
    let mut command = crate::config::with_args(super::command());
    // clap_complete panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "countersign", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_completes_commands_and_settings() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            write(*shell, &mut script).expect("memory takes it");
            let script = String::from_utf8(script).expect("a script is text");
            for word in ["completions", "max-body", "api-key-command"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
