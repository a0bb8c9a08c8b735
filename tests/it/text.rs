//! A text to count words in, and the counts, computed without any of the engine.

use std::collections::BTreeMap;
use std::fmt::Write;

const PROSE: &str = "\
A cofferdam is a wall around a place under water, so that people can work there in the dry. It is not the bridge, and nobody \
looks at it once the bridge stands; but without it there would be no pier, and without the pier no bridge.

“Whoever asks what a record is worth,” said the engineer, “should ask the one who lost it.” She had lost three: one in 1987, one \
in 2003, and one — the largest — on an afternoon in May that she would rather not speak about. Naïve, they had called her façade \
of logs and counters; but when the power came back, the counters were right.

Äpfel, Öl und Übermut: drei Dinge, die man nicht zählen kann, ohne sie anzufassen. ÄPFEL zählt man trotzdem.

Snapshots don't stop the river. The barrier floats down each channel, and whoever sees it writes down what he knows; when all \
have written, the river has been measured, though nobody has ever seen all of it at once.
";

/// A small generator of our own: the text must be the same on every machine and with every version of every library.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// About `size_bytes` of text: prose, again and again, between lines of words that are as unevenly frequent as words are.
pub fn generate(size_bytes: usize) -> Vec<u8> {
    let mut draw = Draw(0x5eed);
    let mut text = String::with_capacity(size_bytes + 4096);
    while text.len() < size_bytes {
        if draw.below(40) == 0 {
            text.push_str(PROSE);
        }
        for at in 0..4 + draw.below(14) {
            let separator = [" ", " ", " ", ", ", " - ", "; "][usize::try_from(draw.below(6)).expect("below 6")];
            let separator = if at == 0 { "" } else { separator };
            // Twice drawn: word 0 is by far the most frequent, and most words are rare.
            let span = 1 + draw.below(30_000);
            let rank = draw.below(span);
            write!(text, "{separator}{}", word(rank)).expect("writing to a String does not fail");
        }
        text.push_str([".\n", ".\r\n", "\n", "!\n\n"][usize::try_from(draw.below(4)).expect("below 4")]);
    }
    let mut bytes = text.into_bytes();
    // Real texts have such bytes, and no line end at the end.
    bytes.extend_from_slice(b"caf\xe9 is latin1 \xff\xfe the end");
    bytes
}

/// The same rank is always the same word; letters' case varies with the rank.
fn word(rank: u64) -> String {
    const SYLLABLES: [&str; 16] = ["ba", "ko", "the", "ri", "mun", "ste", "la", "vor", "nei", "zu", "qua", "ly", "dä", "fjor", "ik", "o"];
    let mut rest = rank;
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[usize::try_from(rest % 16).expect("below 16")]);
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    match rank % 7 {
        0 => word.to_uppercase(),
        1 => format!("{word}{rank}"),
        _ => word,
    }
}

/// How often each word occurs: a word is a longest run of alphanumeric characters, in lower case.
pub fn count(text: &[u8]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let text = String::from_utf8_lossy(text);
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.chars().flat_map(char::to_lowercase).collect()).or_insert(0) += 1;
    }
    counts
}
