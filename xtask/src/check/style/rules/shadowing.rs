//! `let x = ...; let x = x.foo();` in place of one chain.

use syn::visit::{self, Visit};
use syn::{Expr, Ident, Pat, Stmt};

use crate::check::style::figure::Figure;
use crate::check::style::source::CrateSource;

pub(super) fn half_steps(source: &CrateSource) -> Figure {
    let mut places = Vec::new();
    let mut functions = 0;
    for file in &source.files {
        let mut steps = HalfSteps::default();
        steps.visit_file(&file.syntax);
        functions += steps.functions;
        places.extend(steps.lines.iter().map(|line| file.place(*line)));
    }
    Figure::share(places, functions, 1000)
}

/// Counts functions, and finds the lines of half steps.
#[derive(Default)]
struct HalfSteps {
    functions: usize,
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for HalfSteps {
    fn visit_signature(&mut self, _: &'ast syn::Signature) {
        self.functions += 1;
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let mut bound: Vec<&Ident> = Vec::new();
        for statement in &block.stmts {
            let Stmt::Local(local) = statement else {
                continue;
            };
            let Some(name) = binding(&local.pat) else {
                continue;
            };
            let root = local.init.as_ref().and_then(|init| chain_root(&init.expr));
            if root == Some(name) && bound.contains(&name) {
                self.lines.push(name.span().start().line);
            }
            bound.push(name);
        }
        visit::visit_block(self, block);
    }
}

fn binding(pattern: &Pat) -> Option<&Ident> {
    match pattern {
        Pat::Ident(pattern) => Some(&pattern.ident),
        Pat::Type(pattern) => binding(&pattern.pat),
        _ => None,
    }
}

/// The variable on which a chain of method calls begins.
fn chain_root(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::MethodCall(call) => match &*call.receiver {
            Expr::Path(receiver) => receiver.path.get_ident(),
            receiver => chain_root(receiver),
        },
        Expr::Try(inner) => chain_root(&inner.expr),
        Expr::Await(inner) => chain_root(&inner.base),
        Expr::Field(inner) => chain_root(&inner.base),
        Expr::Reference(inner) => chain_root(&inner.expr),
        _ => None,
    }
}
