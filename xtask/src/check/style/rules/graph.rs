//! The modules of one target, and the file that a path leads to.
//! Follows the Rust Reference, "Paths"; names that macros make are taken for items of the module that is named.

use std::collections::{BTreeMap, BTreeSet};

/// Re-exports that are followed for one path; a longer chain is a circle of globs.
const MAX_STEPS: usize = 16;

/// The modules of one target.
#[derive(Debug, Default)]
pub(super) struct Graph {
    scopes: BTreeMap<Vec<String>, ModuleScope>,
    pub(super) references: Vec<Reference>,
}

/// The names of one module.
#[derive(Debug, Default)]
pub(super) struct ModuleScope {
    /// Number of the file that has the module.
    file: usize,
    pub(super) modules: BTreeSet<String>,
    pub(super) items: BTreeSet<String>,
    /// Imported names with their paths as written.
    pub(super) imports: BTreeMap<String, Vec<String>>,
    pub(super) globs: Vec<Vec<String>>,
}

/// A path in the code of a module.
#[derive(Debug)]
pub(super) struct Reference {
    /// Number of the file with the path.
    pub(super) file: usize,
    pub(super) module: Vec<String>,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Whether the path stands in a `use` of an index, by which a module offers the names of its children.
    pub(super) is_index_entry: bool,
}

/// The target of a path.
#[derive(Debug, PartialEq)]
enum Found {
    Module(Vec<String>),
    /// An item in the module.
    Item(Vec<String>),
}

impl Graph {
    /// Adds an empty module.
    pub(super) fn declare(&mut self, module: &[String], file: usize) {
        self.scope(module).file = file;
    }

    pub(super) fn scope(&mut self, module: &[String]) -> &mut ModuleScope {
        self.scopes.entry(module.to_vec()).or_default()
    }

    /// The file on which `reference` makes its own file depend; `None` for another crate and for the file itself.
    pub(super) fn file_of(&self, reference: &Reference) -> Option<usize> {
        let module = match self.resolve(&reference.module, &reference.path, MAX_STEPS)? {
            Found::Item(module) => module,
            // An import of a module says nothing yet; the paths that begin with its name do.
            Found::Module(_) => return None,
        };
        let is_entry = reference.is_index_entry && module.starts_with(&reference.module);
        let file = self.scopes.get(&module)?.file;
        (!is_entry && file != reference.file).then_some(file)
    }

    fn resolve(&self, module: &[String], path: &[String], steps: usize) -> Option<Found> {
        let steps = steps.checked_sub(1)?;
        match path.first()?.as_str() {
            "crate" | "$crate" => self.walk(&[], &path[1..], steps),
            "self" => self.walk(module, &path[1..], steps),
            "super" => {
                let (_, parent) = module.split_last()?;
                // `super::super` is `self::super` of the parent.
                let rest = &path[1..];
                match rest.first().is_some_and(|part| part == "super") {
                    true => self.resolve(parent, rest, steps),
                    false => self.walk(parent, rest, steps),
                }
            }
            name => {
                let scope = self.scopes.get(module)?;
                let is_known = scope.modules.contains(name)
                    || scope.items.contains(name)
                    || scope.imports.contains_key(name);
                is_known.then(|| self.walk(module, path, steps))?
            }
        }
    }

    /// Follows `path` from `module` on.
    fn walk(&self, module: &[String], path: &[String], steps: usize) -> Option<Found> {
        let Some((name, rest)) = path.split_first() else {
            return Some(Found::Module(module.to_vec()));
        };
        let scope = self.scopes.get(module)?;
        // A module and an item may share a name; a module is meant where the path goes on.
        if scope.modules.contains(name) && (!rest.is_empty() || !scope.has_value(name)) {
            let child = [module, std::slice::from_ref(name)].concat();
            return self.walk(&child, rest, steps);
        }
        if scope.items.contains(name) {
            return Some(Found::Item(module.to_vec()));
        }
        if let Some(import) = scope.imports.get(name) {
            return self.resolve(module, &[import, rest].concat(), steps);
        }
        let by_glob =
            scope
                .globs
                .iter()
                .find_map(|glob| match self.resolve(module, glob, steps)? {
                    Found::Module(other) => self.scopes.get(&other)?.offers(name).then_some(other),
                    Found::Item(_) => None,
                });
        match by_glob {
            Some(other) => self.walk(&other, path, steps.checked_sub(1)?),
            None => Some(Found::Item(module.to_vec())),
        }
    }
}

impl ModuleScope {
    fn has_value(&self, name: &str) -> bool {
        self.items.contains(name) || self.imports.contains_key(name)
    }

    fn offers(&self, name: &str) -> bool {
        self.has_value(name) || self.modules.contains(name)
    }
}
