//! A page of `docs/`, split into sections with prose and blocks of code.
//! The pages use two constructs of CommonMark that matter here: ATX headings and fenced code blocks.

use xtask::workspace;

/// A section under a heading of the second or third level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// The heading without `##`.
    pub(crate) title: String,
    /// The level of the heading, 2 or 3.
    pub(crate) level: usize,
    /// The text outside of the blocks.
    pub(crate) prose: String,
    /// The blocks of code, in order.
    pub(crate) blocks: Vec<CodeBlock>,
}

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct CodeBlock {
    /// The info string after the opening fence.
    pub(crate) language: String,
    /// The last line of prose before the block.
    pub(crate) lead: String,
    /// The lines between the fences.
    pub(crate) code: String,
}

/// Reads a file, given by its path in the repository.
pub(crate) fn read(path: &str) -> String {
    let text = std::fs::read_to_string(workspace::root().join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sections of a page. The text before the first heading is dropped.
pub(crate) fn sections(page: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some((level, title)) = heading(line) {
            sections.push(Section {
                title: title.to_owned(),
                level,
                ..Section::default()
            });
        } else if let Some(section) = sections.last_mut() {
            match line.strip_prefix("```") {
                Some(language) => section.add_block(language, &mut lines),
                None => section.prose.extend([line, "\n"]),
            }
        }
    }
    sections
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let (marks, title) = line.split_once(' ')?;
    matches!(marks, "##" | "###").then_some((marks.len(), title))
}

impl Section {
    /// The blocks of this language.
    pub(crate) fn blocks_of(&self, language: &str) -> impl Iterator<Item = &CodeBlock> {
        self.blocks
            .iter()
            .filter(move |block| block.language == language)
    }

    fn add_block<'a>(&mut self, language: &str, lines: &mut impl Iterator<Item = &'a str>) {
        let lead = self.prose.lines().rfind(|line| !line.is_empty());
        let code: Vec<_> = lines.take_while(|line| *line != "```").collect();
        self.blocks.push(CodeBlock {
            language: language.to_owned(),
            lead: lead.unwrap_or_default().to_owned(),
            code: code.join("\n"),
        });
    }
}

/// The code spans of a text.
pub(crate) fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
