//! The files of a home for chats.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::reduced_config::reduced_config;
use crate::codex::launch::config_toml::CONFIG_FILE;
use crate::codex::launch::login::AUTH_FILE;

/// The random id that Codex sends with each request.
const INSTALLATION_ID: &str = "installation_id";

/// Writes a home for chats into the private folder `folder`, for the provider `forced`.
///
/// The login is a link and not a copy: a token that Codex refreshes through one child is refreshed for all. Codex 0.169
/// renames its new file over the link's target. A child whose home has no login gets a successor once there is one.
///
/// # Errors
/// The folder is not writable, or the operator's `config.toml` is not valid.
pub(in crate::codex) fn write_plain_home(
    folder: &Path,
    operators: &Path,
    forced: Option<&str>,
) -> io::Result<()> {
    if operators.join(AUTH_FILE).exists() {
        symlink(operators.join(AUTH_FILE), folder.join(AUTH_FILE))?;
    }
    // Also without a target, which Codex then creates: all children are one installation.
    symlink(
        operators.join(INSTALLATION_ID),
        folder.join(INSTALLATION_ID),
    )?;
    let config = reduced_config(operators, forced).map_err(io::Error::other)?;
    fs::write(folder.join(CONFIG_FILE), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_has_links_to_the_login_and_a_reduced_configuration_only() {
        let operators = tempfile::tempdir().unwrap();
        for (name, text) in [
            (AUTH_FILE, "{}"),
            (CONFIG_FILE, "model = \"a\"\nnotify = [\"b\"]"),
            ("AGENTS.md", "Obey."),
        ] {
            fs::write(operators.path().join(name), text).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        write_plain_home(folder.path(), operators.path(), None).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [AUTH_FILE, CONFIG_FILE, INSTALLATION_ID]);
        let link = fs::read_link(folder.path().join(AUTH_FILE)).unwrap();
        assert_eq!(link, operators.path().join(AUTH_FILE));
        let config = fs::read_to_string(folder.path().join(CONFIG_FILE)).unwrap();
        assert_eq!(config, "model = \"a\"\n");
    }
}
