//! Domain types that share their name with another type of the crate.

use std::collections::BTreeMap;

use proc_macro2::Ident;
use syn::visit::{self, Visit};

use crate::check::style::figure::Figure;
use crate::check::style::source::{CrateSource, Place, SourceFile};

/// Modules of wire types, which are written with the module's name: `wire::Delta`.
const WIRE: &str = "wire";

pub(super) fn shared(source: &CrateSource) -> Figure {
    let mut names: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    let files = source.product_files();
    for file in files.filter(|file| file.module.iter().all(|part| part != WIRE)) {
        let mut types = TypeNames {
            file,
            names: &mut names,
        };
        types.visit_file(&file.syntax);
    }
    let total = names.values().map(Vec::len).sum();
    let mut shared: Vec<_> = names
        .into_values()
        .filter(|places| places.len() > 1)
        .collect();
    shared.sort_by_key(|places| std::cmp::Reverse(places.len()));
    Figure::share(shared.concat(), total, 100)
}

/// Collects the types of one file.
struct TypeNames<'a> {
    file: &'a SourceFile,
    names: &'a mut BTreeMap<String, Vec<Place>>,
}

impl TypeNames<'_> {
    fn add(&mut self, name: &Ident) {
        let line = name.span().start().line;
        if !self.file.is_test_line(line) {
            let places = self.names.entry(name.to_string()).or_default();
            places.push(self.file.place(line));
        }
    }
}

impl<'ast> Visit<'ast> for TypeNames<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != WIRE {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.add(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add(&item.ident);
        // A provided method may declare types too.
        visit::visit_item_trait(self, item);
    }
}
