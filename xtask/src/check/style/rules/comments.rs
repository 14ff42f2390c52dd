//! Comments that stand at the line that needs them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::check::style::figure::Figure;
use crate::check::style::source::{CrateSource, SourceFile};

pub(super) fn density(source: &CrateSource) -> Figure {
    let mut files: Vec<_> = source.product_files().map(FileLines::of).collect();
    let code: usize = files.iter().map(|file| file.code).sum();
    let comments: usize = files.iter().map(|file| file.comments).sum();
    files.sort_by_key(|file| (file.comments > 0, Reverse(file.code)));
    let places = files.iter().map(|lines| {
        let text = format!("{} comments in {} code lines", lines.comments, lines.code);
        lines.file.place_of(0, text)
    });
    Figure {
        value: (comments * 100) as f64 / code.max(1) as f64,
        places: places.collect(),
    }
}

/// The lines of one file outside tests.
struct FileLines<'a> {
    file: &'a SourceFile,
    code: usize,
    comments: usize,
}

impl<'a> FileLines<'a> {
    fn of(file: &'a SourceFile) -> Self {
        let tokens = file.tokens.code.iter();
        let code: BTreeSet<_> = tokens.flat_map(|token| token.lines.clone()).collect();
        let is_product = |line: &usize| !file.is_test_line(*line);
        Self {
            file,
            code: code.into_iter().filter(is_product).count(),
            comments: file
                .tokens
                .comments
                .iter()
                .filter(|comment| is_product(&comment.line))
                .count(),
        }
    }
}
