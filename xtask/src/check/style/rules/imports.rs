//! The names that a module declares, and its paths to other modules.
//! Macro arguments and attributes are searched for paths too, since `syn` leaves both as tokens.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemUse, UseTree, Visibility};

use super::graph::{Graph, Reference};
use crate::check::style::module_tree;
use crate::check::style::source::SourceFile;

/// Adds the modules of `file`, which has the number `number`, to `graph`.
pub(super) fn add(graph: &mut Graph, file: &SourceFile, number: usize) {
    let is_index = file
        .syntax
        .items
        .iter()
        .all(|item| matches!(item, Item::Mod(_) | Item::Use(_)));
    let mut collector = Collector {
        graph,
        file,
        number,
        module: file.module.clone(),
        is_index,
    };
    collector.add_items(&file.syntax.items);
}

/// Walks through one file.
struct Collector<'a> {
    graph: &'a mut Graph,
    file: &'a SourceFile,
    number: usize,
    /// The module that is walked through; inline modules lie below the file's own.
    module: Vec<String>,
    /// Whether the file holds `mod` and `use` lines only.
    is_index: bool,
}

impl Collector<'_> {
    fn add_items(&mut self, items: &[Item]) {
        self.graph.declare(&self.module, self.number);
        for item in items {
            if self.file.is_test_line(line(item)) {
                continue;
            }
            match item {
                Item::Mod(item) => {
                    let name = module_tree::name(item);
                    self.graph.scope(&self.module).modules.insert(name.clone());
                    if let Some((_, items)) = &item.content {
                        self.module.push(name);
                        self.add_items(items);
                        self.module.pop();
                    }
                }
                Item::Use(item) => self.visit_item_use(item),
                item => {
                    let scope = self.graph.scope(&self.module);
                    scope.items.extend(name(item));
                    self.visit_item(item);
                }
            }
        }
    }

    fn refer(&mut self, path: Vec<String>, line: usize, is_index_entry: bool) {
        if !self.file.is_test_line(line) {
            self.graph.references.push(Reference {
                file: self.number,
                module: self.module.clone(),
                path,
                line,
                is_index_entry,
            });
        }
    }

    /// Adds the names of a `use` tree below `prefix`.
    fn import(&mut self, tree: &UseTree, prefix: &[String], is_index_entry: bool) {
        let below = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        let (path, name) = match tree {
            UseTree::Path(tree) => {
                return self.import(&tree.tree, &below(&tree.ident), is_index_entry);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix, is_index_entry);
                }
                return;
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.span.start().line;
                let scope = self.graph.scope(&self.module);
                scope.globs.push(prefix.to_vec());
                return self.refer(prefix.to_vec(), line, is_index_entry);
            }
            UseTree::Name(tree) if tree.ident == "self" => {
                let name = prefix.last().cloned().unwrap_or_default();
                (prefix.to_vec(), (name, tree.ident.span()))
            }
            UseTree::Name(tree) => (
                below(&tree.ident),
                (tree.ident.to_string(), tree.ident.span()),
            ),
            UseTree::Rename(tree) if tree.ident == "self" => (
                prefix.to_vec(),
                (tree.rename.to_string(), tree.ident.span()),
            ),
            UseTree::Rename(tree) => (
                below(&tree.ident),
                (tree.rename.to_string(), tree.ident.span()),
            ),
        };
        let (name, span) = name;
        let scope = self.graph.scope(&self.module);
        scope.imports.insert(name, path.clone());
        self.refer(path, span.start().line, is_index_entry);
    }

    fn search(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut start = 0;
        for tree in tokens {
            match tree {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_path(&mut path, start);
                        start = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end_path(&mut path, start);
                    self.search(group.stream());
                }
                _ => self.end_path(&mut path, start),
            }
        }
        self.end_path(&mut path, start);
    }

    fn end_path(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.refer(path, line, false);
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // A leading `::` names another crate.
        if item.leading_colon.is_none() {
            let is_public = !matches!(item.vis, Visibility::Inherited);
            self.import(&item.tree, &[], is_public || self.is_index);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names = path.segments.iter().map(|part| part.ident.to_string());
            let line = path.segments[0].ident.span().start().line;
            self.refer(names.collect(), line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // `pub(in crate::a)` depends on nothing in `a`.
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.search(call.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.search(list.tokens.clone());
    }
}

/// The name that an item adds to its module.
fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn line(item: &Item) -> usize {
    syn::spanned::Spanned::span(item).start().line
}
