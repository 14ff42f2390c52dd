//! `mod.rs` files that are more than an index.

use proc_macro2::Span;
use syn::visit::{self, Visit};

use crate::check::style::figure::Figure;
use crate::check::style::source::CrateSource;

pub(super) fn with_code(source: &CrateSource) -> Figure {
    let files = source.files.iter();
    let indexes = files.filter(|file| file.path.ends_with("mod.rs"));
    let places = indexes.filter_map(|file| {
        let mut code = FirstCode(None);
        code.visit_file(&file.syntax);
        code.0.map(|line| file.place(line))
    });
    Figure::count(places.collect())
}

/// The line of the first function or implementation of a file.
struct FirstCode(Option<usize>);

impl FirstCode {
    fn add(&mut self, span: Span) {
        self.0 = self.0.or(Some(span.start().line));
    }
}

impl<'ast> Visit<'ast> for FirstCode {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.add(item.impl_token.span);
        visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.add(signature.fn_token.span);
    }
}
