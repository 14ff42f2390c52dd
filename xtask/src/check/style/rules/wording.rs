//! Words of doc comments that stand in place of a noun.

use crate::check::style::figure::Figure;
use crate::check::style::source::{CrateSource, SourceFile};
use crate::check::style::words::{self, Word};

/// First words that begin a relative clause or have no noun.
const OPENERS: &[&str] = &[
    "what",
    "who",
    "whom",
    "whose",
    "how",
    "which",
    "where",
    "when",
    "those",
    "one",
    "all",
    "whoever",
    "whatever",
    "whichever",
    "why",
];

pub(super) fn relative_openers(source: &CrateSource) -> Figure {
    let mut places = Vec::new();
    let mut blocks = 0;
    for (file, words) in doc_blocks(source) {
        blocks += 1;
        let first = words.first().filter(|word| OPENERS.contains(&&*word.text));
        places.extend(first.map(|word| file.place(word.line)));
    }
    Figure::share(places, blocks, 100)
}

pub(super) fn what(source: &CrateSource) -> Figure {
    per_thousand(source, &["what", "whatever"])
}

pub(super) fn who(source: &CrateSource) -> Figure {
    per_thousand(source, &["who", "whose", "whom", "whoever"])
}

pub(super) fn nobody(source: &CrateSource) -> Figure {
    let pronouns = ["nobody", "nothing", "anybody", "somebody", "everybody"];
    per_thousand(source, &pronouns)
}

pub(super) fn it(source: &CrateSource) -> Figure {
    per_thousand(source, &["it", "its"])
}

fn per_thousand(source: &CrateSource, wanted: &[&str]) -> Figure {
    let mut places = Vec::new();
    let mut total = 0;
    for (file, words) in doc_blocks(source) {
        total += words.len();
        let found = words.iter().filter(|word| wanted.contains(&&*word.text));
        places.extend(found.map(|word| file.place(word.line)));
    }
    Figure::share(places, total, 1000)
}

fn doc_blocks(source: &CrateSource) -> impl Iterator<Item = (&SourceFile, Vec<Word>)> {
    let blocks = |file| docs(file).map(move |words| (file, words));
    source.files.iter().flat_map(blocks)
}

fn docs(file: &SourceFile) -> impl Iterator<Item = Vec<Word>> {
    file.tokens.docs.iter().map(words::of_doc)
}
