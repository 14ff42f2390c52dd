//! The tokens of a file, sorted into code and docs, with the comments between them and the lines of test-only items.
//! `syn` drops comments and leaves macro arguments unparsed; the tokens of `proc_macro2` have the positions for both.

use std::iter::Peekable;
use std::ops::{Range, RangeInclusive};

use proc_macro2::{Delimiter, Group, LexError, Span, TokenStream, TokenTree};

/// Keywords that begin an item, as far as test code has such items.
const ITEM_WORDS: &[&str] = &[
    "const", "enum", "fn", "impl", "mod", "static", "struct", "trait", "type", "use",
];

/// A token with its position.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) bytes: Range<usize>,
    /// Lines of the file, counted from 1.
    pub(super) lines: RangeInclusive<usize>,
}

/// A token; a group is its two delimiters with the content between them.
#[derive(Debug, PartialEq)]
pub(super) enum TokenKind {
    Ident(String),
    Punct(char),
    Literal,
    Open(Delimiter),
    Close,
}

/// A text of a file and the line where the text begins.
#[derive(Debug)]
pub(super) struct TextBlock {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The tokens of a file, sorted by purpose.
#[derive(Debug, Default)]
pub(super) struct FileTokens {
    pub(super) code: Vec<Token>,
    /// A block per item, from `///` and `//!` lines.
    pub(super) docs: Vec<TextBlock>,
    /// A block per line of a comment.
    pub(super) comments: Vec<TextBlock>,
    /// Lines of items that only tests compile.
    pub(super) test_lines: Vec<RangeInclusive<usize>>,
}

impl FileTokens {
    /// Sorts the tokens of `text`.
    pub(super) fn parse(text: &str) -> Result<Self, LexError> {
        let stream: TokenStream = text.parse()?;
        let mut file = Self {
            test_lines: test_lines(stream.clone()),
            ..Self::default()
        };
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        file.comments = comments(text, &tokens);
        file.sort(text, tokens);
        Ok(file)
    }

    /// Whether only tests compile the item at `line`.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// Separates doc attributes from code, and joins the lines of one item's docs.
    fn sort(&mut self, text: &str, tokens: Vec<Token>) {
        let mut tokens = tokens.into_iter().peekable();
        let mut last = None;
        while let Some(token) = tokens.next() {
            if token.kind != TokenKind::Punct('#') {
                last = None;
                self.code.push(token);
                continue;
            }
            let mut attribute = attribute(token, &mut tokens);
            let is_inner = attribute
                .get(1)
                .is_some_and(|token| token.kind == TokenKind::Punct('!'));
            match doc_text(text, &attribute) {
                // Module docs may be followed at once by the docs of the first item.
                Some(doc) if last == Some(is_inner) => self.append_doc(&doc),
                Some(doc) => self.docs.push(doc),
                // Attributes between two doc lines of an item do not separate the lines.
                None => {
                    self.code.append(&mut attribute);
                    continue;
                }
            }
            last = Some(is_inner);
        }
    }

    fn append_doc(&mut self, doc: &TextBlock) {
        if let Some(block) = self.docs.last_mut() {
            // Line feeds keep the line numbers of the words right.
            let end = block.line + block.text.matches('\n').count();
            let feeds = doc.line.saturating_sub(end).max(1);
            block.text.push_str(&"\n".repeat(feeds));
            block.text.push_str(&doc.text);
        }
    }
}

/// The tokens of the attribute that begins with `hash`.
fn attribute(hash: Token, rest: &mut Peekable<impl Iterator<Item = Token>>) -> Vec<Token> {
    let mut attribute = vec![hash];
    attribute.extend(rest.next_if(|next| next.kind == TokenKind::Punct('!')));
    let mut depth = 0;
    // A `#` without a bracket belongs to a macro.
    while let Some(next) =
        rest.next_if(|next| depth > 0 || next.kind == TokenKind::Open(Delimiter::Bracket))
    {
        match next.kind {
            TokenKind::Open(_) => depth += 1,
            TokenKind::Close => depth -= 1,
            _ => {}
        }
        attribute.push(next);
        if depth == 0 {
            break;
        }
    }
    attribute
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let token = |kind, span: Span| Token {
        kind,
        bytes: span.byte_range(),
        lines: span.start().line..=span.end().line,
    };
    for tree in stream {
        match tree {
            TokenTree::Ident(ident) => {
                tokens.push(token(TokenKind::Ident(ident.to_string()), ident.span()));
            }
            TokenTree::Punct(punct) => {
                tokens.push(token(TokenKind::Punct(punct.as_char()), punct.span()));
            }
            TokenTree::Literal(literal) => tokens.push(token(TokenKind::Literal, literal.span())),
            TokenTree::Group(group) => {
                tokens.push(token(TokenKind::Open(group.delimiter()), group.span_open()));
                flatten(group.stream(), tokens);
                tokens.push(token(TokenKind::Close, group.span_close()));
            }
        }
    }
}

/// The text of an attribute `#[doc = "..."]`, which is also how `proc_macro2` lexes a doc comment.
fn doc_text(text: &str, attribute: &[Token]) -> Option<TextBlock> {
    let is_doc = |token: &Token| matches!(&token.kind, TokenKind::Ident(name) if name == "doc");
    let doc = attribute.iter().position(is_doc)?;
    let literal = attribute.get(doc + 2)?;
    let is_text = attribute[doc - 1].kind == TokenKind::Open(Delimiter::Bracket)
        && attribute[doc + 1].kind == TokenKind::Punct('=')
        && literal.kind == TokenKind::Literal;
    is_text.then(|| TextBlock {
        text: text[literal.bytes.clone()]
            .lines()
            .map(|line| line.trim_start().trim_start_matches(['/', '!', '*']))
            .collect::<Vec<_>>()
            .join("\n"),
        line: *literal.lines.start(),
    })
}

/// The comments of a file: the text between two tokens that is not white space.
fn comments(text: &str, tokens: &[Token]) -> Vec<TextBlock> {
    let mut comments = Vec::new();
    let mut line = 1;
    let mut end = 0;
    let starts = tokens.iter().map(|token| token.bytes.clone());
    for next in starts.chain(std::iter::once(text.len()..text.len())) {
        // The tokens of one doc comment share a span.
        if next.start > end {
            let gap = &text[end..next.start];
            for (at, row) in gap.split('\n').enumerate() {
                if !row.trim().is_empty() {
                    comments.push(TextBlock {
                        text: row.trim().to_owned(),
                        line: line + at,
                    });
                }
            }
        }
        if next.end > end {
            line += text[end..next.end].matches('\n').count();
            end = next.end;
        }
    }
    comments
}

/// Lines from an attribute such as `#[cfg(test)]` or `#[tokio::test]` to the end of its item.
fn test_lines(stream: TokenStream) -> Vec<RangeInclusive<usize>> {
    let mut lines = Vec::new();
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Punct(hash) if hash.as_char() == '#' => {
                let attribute = trees.next_if(|next| matches!(next, TokenTree::Group(_)));
                let Some(TokenTree::Group(attribute)) = attribute else {
                    continue;
                };
                if is_test(&attribute) {
                    let start = hash.span().start().line;
                    lines.push(start..=end_of_item(&mut trees).unwrap_or(start));
                }
            }
            TokenTree::Group(group) => lines.extend(test_lines(group.stream())),
            _ => {}
        }
    }
    lines
}

fn is_test(attribute: &Group) -> bool {
    let words: Vec<_> = attribute.stream().into_iter().collect();
    match &*words {
        [TokenTree::Ident(name), TokenTree::Group(condition)] if name == "cfg" => {
            let condition = condition.stream().to_string();
            // `any(test, ...)` is compiled for more than tests.
            condition == "test" || condition.replace(' ', "").starts_with("all(test,")
        }
        [.., TokenTree::Ident(name)] | [.., TokenTree::Ident(name), TokenTree::Group(_)] => {
            name == "test"
        }
        _ => false,
    }
}

/// The last line of the item, field or variant after an attribute.
fn end_of_item(trees: &mut impl Iterator<Item = TokenTree>) -> Option<usize> {
    // The comma in `fn f<A, B>()` does not end the item; the comma after a field or variant does.
    let mut is_item = false;
    trees.find_map(|tree| match tree {
        TokenTree::Ident(word) => {
            is_item |= ITEM_WORDS.contains(&&*word.to_string());
            None
        }
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            Some(group.span_close().end().line)
        }
        TokenTree::Punct(end) if end.as_char() == ';' || end.as_char() == ',' && !is_item => {
            Some(end.span().end().line)
        }
        _ => None,
    })
}
