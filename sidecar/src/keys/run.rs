//! The commands of `sidecar key`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use filter::config::{Config, ConfigError, Environment};

use super::args::{KeyCommand, NewArgs};
use super::edit::{self, EditError, ListedKey};
use super::entry::{Entry, NewKey};
use super::file::WatchedFile;
use super::yaml::ConfigScalar;

/// A command that has failed. No file is changed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KeyError(#[from] Failure);

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the system has no random source: {0}")]
    Random(#[from] getrandom::Error),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: no `value` in single quotes or as a block (`|`) after the type StringValue", .0.display())]
    Form(PathBuf),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("the filter rejects the result: {0}")]
    Rejected(ConfigError),
    #[error("the filter rejects the file as it is: {0}")]
    RejectedBefore(ConfigError),
}

/// Runs a command, and returns the text to print.
///
/// # Errors
/// The file cannot be read or written, or the filter rejects the result.
pub fn run(command: &KeyCommand) -> Result<String, KeyError> {
    Ok(match command {
        KeyCommand::New(args) => new(args)?,
        KeyCommand::List { file } => list(file)?,
        KeyCommand::Disable { id, into } => {
            change(into, |config| edit::with_disabled(config, id))?;
            format!("disabled {id} in {}\n", into.display())
        }
    })
}

fn new(args: &NewArgs) -> Result<String, Failure> {
    let key = NewKey::random()?;
    let entry = Entry::new(args, &key).json();
    let alone = format!("{{\"hold_headers\": true, \"keys\": [{entry}]}}");
    check(&alone).map_err(Failure::Rejected)?;
    let NewKey { key, sha256 } = &key;
    let printed = format!(
        "key     {key}\nsha256  {sha256}\n\nThe key is not stored anywhere: give it to the client now. "
    );
    let Some(path) = &args.into else {
        let value = alone.replace('\'', "''");
        return Ok(format!(
            "{printed}In filter.yaml, add the entry to `keys`:\n\n        value: '{value}'\n"
        ));
    };
    change(path, |config| edit::with_key(config, &entry))?;
    Ok(format!(
        "{printed}Added to {}:\n\n        {entry}\n",
        path.display()
    ))
}

/// Replaces the file by one with the changed configuration, if the filter takes both.
fn change(
    path: &Path,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<(), Failure> {
    let at_path = |error| Failure::File {
        path: path.to_owned(),
        error,
    };
    let file = WatchedFile::open(path).map_err(at_path)?;
    let scalar = ConfigScalar::find(&file.text).ok_or_else(|| Failure::Form(path.to_owned()))?;
    let config = scalar.json(&file.text);
    check(&config).map_err(Failure::RejectedBefore)?;
    let changed = change(&config)?;
    check(&changed).map_err(Failure::Rejected)?;
    let mut text = file.text.clone();
    text.replace_range(scalar.range.clone(), &scalar.written(&changed));
    file.replace(&text).map_err(at_path)
}

fn check(config: &str) -> Result<(), ConfigError> {
    // Envoy may have a key in its environment, which this process does not know.
    let key = (
        "PROXY_API_KEY".to_owned(),
        "a-key-of-the-environment".to_owned(),
    );
    let environment = Environment::from_iter([key]);
    Config::load(config.as_bytes(), &environment, SystemTime::now()).map(drop)
}

fn list(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::File {
        path: path.to_owned(),
        error,
    })?;
    let scalar = ConfigScalar::find(&text).ok_or_else(|| Failure::Form(path.to_owned()))?;
    let keys = edit::keys(&scalar.json(&text))?;
    Ok(keys.iter().map(line).collect())
}

fn line(key: &ListedKey) -> String {
    let mut words = vec![key.id.clone().unwrap_or_else(|| "-".to_owned())];
    let mut add = |name: &str, value: Option<&String>| {
        words.extend(value.map(|value| format!("{name}={value}")));
    };
    add("budget", key.budget.as_ref());
    add(
        "models",
        key.models.as_ref().map(|models| models.join(",")).as_ref(),
    );
    add("profile", key.profile.as_ref());
    add("expires_at", key.expires_at.as_ref());
    let flags = [(key.admin, "admin"), (key.disabled, "disabled")];
    words.extend(
        flags
            .iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, flag)| (*flag).to_owned()),
    );
    format!("{}\n", words.join("  "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    const SHIPPED: &str = include_str!("../../../envoy/filter.yaml");

    /// A folder with a `filter.yaml`.
    struct Stand(TempDir);

    impl Stand {
        fn new(text: &str) -> Self {
            let stand = Self(tempfile::tempdir().unwrap());
            fs::write(stand.path(), text).unwrap();
            fs::set_permissions(stand.path(), fs::Permissions::from_mode(0o640)).unwrap();
            stand
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("filter.yaml")
        }

        fn text(&self) -> String {
            fs::read_to_string(self.path()).unwrap()
        }

        /// Runs a command; `FILE` stands for the file.
        fn run(&self, command: &str) -> Result<String, String> {
            let path = self.path().display().to_string();
            let words = command.split(' ').map(|word| word.replace("FILE", &path));
            let command = KeyCommand::parse_from(["key".to_owned()].into_iter().chain(words));
            run(&command).map_err(|error| error.to_string())
        }

        /// Returns the clients that the filter admits.
        fn clients(&self) -> Vec<String> {
            let text = self.text();
            let config = ConfigScalar::find(&text).unwrap().json(&text);
            let config = Config::load(config.as_bytes(), &Environment::new(), SystemTime::now());
            let config = config.unwrap();
            let mut ids: Vec<_> = config
                .keyring
                .clients()
                .map(|client| client.id.clone())
                .collect();
            ids.sort();
            ids
        }
    }

    #[test]
    fn key_is_printed_once_with_a_line_that_the_filter_reads() {
        let printed = Stand::new("")
            .run("new --id ann@example.com --budget day=200000 --models *-low")
            .unwrap();
        let line = printed
            .lines()
            .find_map(|line| line.trim().strip_prefix("value: '")?.strip_suffix('\''));
        let config = Config::load(
            line.unwrap().as_bytes(),
            &Environment::new(),
            SystemTime::now(),
        )
        .unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
        let client = config.keyring.clients().next().expect("a client");
        assert_eq!(client.id, "ann@example.com");
        assert!(client.budget.is_some() && client.models.is_some());
        let key = |text: &str| text.lines().next().unwrap().to_owned();
        let other = Stand::new("").run("new --id ann").unwrap();
        assert_eq!(key(&printed).len(), "key     sk-codex-edge-".len() + 32);
        assert_ne!(key(&printed), key(&other));
    }

    #[test]
    fn shipped_file_keeps_every_other_byte_its_mode_and_its_owner() {
        let stand = Stand::new(SHIPPED);
        let printed = stand
            .run("new --id ann --budget day=5 --models *-low --models it's --into FILE")
            .unwrap();
        stand
            .run("new --id bob --profile agent --admin --into FILE")
            .unwrap();
        assert_eq!(stand.clients(), ["ann", "bob"]);
        let key = printed.lines().next().unwrap().replace("key     ", "");
        assert!(!stand.text().contains(&key), "only its hash is stored");
        let line = |text: &str| {
            text.lines()
                .position(|line| line.contains("value: '{"))
                .unwrap()
        };
        let without = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.remove(line(text));
            lines
        };
        assert_eq!(without(&stand.text()), without(SHIPPED));
        assert_eq!(
            fs::metadata(stand.path()).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(
            fs::read_dir(stand.0.path()).unwrap().count(),
            1,
            "no other file is left"
        );
        let listed = "ann  budget=day=5  models=*-low,it's\nbob  profile=agent  admin\n";
        assert_eq!(stand.run("list FILE").unwrap(), listed);
        stand.run("disable --id ann --into FILE").unwrap();
        assert_eq!(stand.clients(), ["bob"]);
        assert!(
            stand
                .run("list FILE")
                .unwrap()
                .starts_with("ann  budget=day=5  models=*-low,it's  disabled\n")
        );
    }

    #[test]
    fn block_of_lines_keeps_its_shape() {
        let quoted = "value: '{\"hold_headers\": true}'";
        let block = "value: |\n          {\n            \"hold_headers\": true,\n            \"keys\": [\n              {\"id\": \"ann\", \"key\": \"sk-of-the-tests-0000\"}\n            ]\n          }";
        let stand = Stand::new(&SHIPPED.replace(quoted, block));
        stand.run("new --id bob --into FILE").unwrap();
        assert_eq!(stand.clients(), ["ann", "bob"]);
        assert!(
            stand
                .text()
                .contains("0000\"},\n              {\"id\":\"bob\""),
            "{}",
            stand.text()
        );
        stand.run("disable --id ann --into FILE").unwrap();
        assert_eq!(stand.clients(), ["bob"]);
    }

    #[test]
    fn refused_changes_leave_the_file_as_it_is() {
        let with_ann = Stand::new(SHIPPED);
        with_ann.run("new --id ann --into FILE").unwrap();
        let text = with_ann.text();
        for (text, command, expected) in [
            (
                text.as_str(),
                "new --id ann --into FILE",
                "another key has this id",
            ),
            (&text, "new --id a'b --into FILE", "id"),
            (&text, "new --id bob --budget day --into FILE", "budget"),
            (
                &text,
                "new --id bob --expires-at soon --into FILE",
                "expires_at",
            ),
            (
                &text,
                "disable --id bob --into FILE",
                "no key has the id \"bob\"",
            ),
            (
                &text.replace("hold_headers", "hold"),
                "new --id bob --into FILE",
                "as it is",
            ),
            (
                &text.replace("value: '", "value: \""),
                "new --id bob --into FILE",
                "single quotes",
            ),
            ("", "new --id bob --into FILE", "single quotes"),
        ] {
            let stand = Stand::new(text);
            let error = stand.run(command).expect_err(command);
            assert!(error.contains(expected), "{command}: {error}");
            assert_eq!(stand.text(), *text, "{command}");
        }
        let missing = with_ann
            .run("new --id bob --into FILE.missing")
            .unwrap_err();
        assert!(missing.contains("filter.yaml.missing"), "{missing}");
    }
}
