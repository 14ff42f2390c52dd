//! "Not a number" with "no" in place of "not".

use crate::check::style::figure::Figure;
use crate::check::style::source::{CrateSource, SourceFile};
use crate::check::style::tokens::TokenKind;
use crate::check::style::words::{self, Word};

const VERBS: &[&str] = &["is", "are", "was", "were"];
/// Words after "no" with which the phrase is idiomatic: "is no longer", "is no more than".
const IDIOMS: &[&str] = &["longer", "more", "less", "fewer", "later", "earlier"];

pub(super) fn is_no(source: &CrateSource) -> Figure {
    let mut places = Vec::new();
    for file in &source.files {
        let docs = file.tokens.docs.iter().map(words::of_doc);
        for text in docs.chain(literals(file)) {
            places.extend(negations(&text).map(|word| file.place(word.line)));
        }
    }
    Figure::count(places)
}

fn literals(file: &SourceFile) -> impl Iterator<Item = Vec<Word>> {
    let literals = file.tokens.code.iter();
    literals
        .filter(|token| token.kind == TokenKind::Literal)
        .map(|token| words::of_literal(&file.text[token.bytes.clone()], *token.lines.start()))
}

fn negations(words: &[Word]) -> impl Iterator<Item = &Word> {
    words.windows(2).enumerate().filter_map(|(at, pair)| {
        let is_pair = VERBS.contains(&&*pair[0].text) && pair[1].is_adjacent;
        let next = words.get(at + 2).filter(|next| next.is_adjacent);
        let is_negation = match &*pair[1].text {
            "none" => true,
            "no" => !next.is_some_and(|next| IDIOMS.contains(&&*next.text)),
            _ => false,
        };
        (is_pair && is_negation).then_some(&pair[1])
    })
}
