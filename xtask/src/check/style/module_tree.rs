//! Finds the files of a target by its `mod` declarations.
//! Follows the Rust Reference, "Module source filenames", including the `path` attribute.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};

use super::members::Target;
use super::tokens::FileTokens;

/// A file of a module tree.
pub(super) struct ModuleFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    pub(super) tokens: FileTokens,
    pub(super) module: Vec<String>,
    pub(super) is_test: bool,
}

/// Reads the module tree of `target`, parents first.
pub(super) fn read(target: &Target) -> Result<Vec<ModuleFile>> {
    let mut files = Vec::new();
    let dir = folder(&target.root);
    read_file(&target.root, dir, &[], target.is_test, &mut files)?;
    Ok(files)
}

/// Reads a file, and the declared modules from the folder `children`.
fn read_file(
    path: &Path,
    children: &Path,
    module: &[String],
    is_test: bool,
    files: &mut Vec<ModuleFile>,
) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cannot_parse = || format!("cannot parse {}", path.display());
    let tokens = FileTokens::parse(&text)
        .map_err(|error| anyhow!("{error}"))
        .with_context(cannot_parse)?;
    let syntax = syn::parse_file(&text).with_context(cannot_parse)?;
    let mut declared = Vec::new();
    declarations(&syntax.items, module, children, &mut declared);
    for child in &mut declared {
        child.is_test = is_test || tokens.is_test_line(child.line);
    }
    files.push(ModuleFile {
        path: path.to_owned(),
        text,
        syntax,
        tokens,
        module: module.to_vec(),
        is_test,
    });
    for child in declared {
        let file = child.file(folder(path))?;
        let dir = if child.path_attribute.is_some() || file.ends_with("mod.rs") {
            folder(&file).to_owned()
        } else {
            file.with_extension("")
        };
        read_file(&file, &dir, &child.module, child.is_test, files)?;
    }
    Ok(())
}

/// A declaration `mod name;`.
struct Declaration {
    module: Vec<String>,
    /// Folder of the module's file.
    dir: PathBuf,
    path_attribute: Option<String>,
    line: usize,
    is_test: bool,
}

impl Declaration {
    fn file(&self, declaring: &Path) -> Result<PathBuf> {
        if let Some(path) = &self.path_attribute {
            return Ok(declaring.join(path));
        }
        let name = self.module.last().map(String::as_str).unwrap_or_default();
        let candidates = [
            self.dir.join(format!("{name}.rs")),
            self.dir.join(name).join("mod.rs"),
        ];
        candidates
            .into_iter()
            .find(|file| file.is_file())
            .with_context(|| format!("module {name} has a missing file in {}", self.dir.display()))
    }
}

fn declarations(items: &[Item], module: &[String], dir: &Path, found: &mut Vec<Declaration>) {
    for item in items {
        let Item::Mod(item) = item else { continue };
        let name = name(item);
        let path = [module, std::slice::from_ref(&name)].concat();
        match &item.content {
            Some((_, items)) => declarations(items, &path, &dir.join(name), found),
            None => found.push(Declaration {
                module: path,
                dir: dir.to_owned(),
                path_attribute: item.attrs.iter().find_map(path_attribute),
                line: item.ident.span().start().line,
                is_test: false,
            }),
        }
    }
}

/// The name of a module without the `r#` of a raw identifier.
pub(super) fn name(item: &ItemMod) -> String {
    let name = item.ident.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    match &meta.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(path),
            ..
        }) if meta.path.is_ident("path") => Some(path.value()),
        _ => None,
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}
