//! Guides that the gateway keeps compatible with. They aren't part of the project: their code runs as a test where their texts are in
//! `target/test-guides`.

/// The first guide that has all of these words, if it is here.
pub(crate) fn guide_with(words: &[&str]) -> Option<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-guides");
    let texts = std::fs::read_dir(directory).into_iter().flatten();
    let mut texts = texts.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    let guide = texts.find(|text| words.iter().all(|word| text.contains(word)));
    if guide.is_none() {
        println!("not tried: no guide with {words:?} in {directory}");
    }
    guide
}

/// Its first block of code in that language that has this part.
pub(crate) fn code_with<'g>(guide: &'g str, language: &'g str, part: &str) -> &'g str {
    code_of(guide, language).find(|block| block.contains(part)).expect("a block of code")
}

/// Its blocks of code in that language.
pub(crate) fn code_of<'g>(guide: &'g str, language: &'g str) -> impl Iterator<Item = &'g str> {
    let block = move |block: &'g str| block.strip_prefix(language)?.strip_prefix('\n');
    guide.split("\n```").filter_map(block)
}
