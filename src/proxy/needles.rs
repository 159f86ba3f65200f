//! What must not come back in a reply: a credential in the spellings that tools reflect it in, and the
//! search for all of them at once.
//!
//! The search is Wu and Manber's (TR-94-17, 1994): a table of three-byte blocks says how far the next
//! match must be, so most of a reply is never looked at. Needles live for one reply, so what counts is
//! the time to build plus the time to search a small body; automata and vector searches of the known
//! libraries take longer to build than this takes for both.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::{Zeroize as _, Zeroizing};

/// Shorter spellings are not searched: they would be found everywhere. So is a credential.
const SHORTEST: usize = 6;
/// In what is not text, octets that mean nothing look like a short needle now and then.
pub const LONG: usize = 16;
/// The part of a pair that is looked for alone; a shorter one is an ordinary word too often.
const SHORTEST_PART: usize = 8;

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

const BLOCK: usize = 3;
/// How much of each needle is in the table: more skips further and takes longer to build.
const WINDOW: usize = 24;
/// Of the table: as many blocks as it takes for a chance hit to be rare.
const WORDS: usize = 64;

/// All spellings of one credential. No `Debug`, no `Clone`; wiped when dropped.
pub struct Needles {
    all: Vec<Zeroizing<Vec<u8>>>,
    /// For each block, how far at least the end of the next match's first `window` octets lies ahead.
    shift: Shifts,
    /// The length of the shortest needle, at most [`WINDOW`].
    window: usize,
    longest: usize,
}

impl Needles {
    /// `secret` as it was injected: for `pair` it is `user:password`, and the password counts alone too.
    pub fn of(secret: &[u8], pair: bool) -> Option<Self> {
        let colon = memchr::memchr(b':', secret).filter(|_| pair);
        let password = colon.and_then(|colon| secret.get(colon + 1..)).unwrap_or_default();
        Self::of_each(&[secret, if password.len() >= SHORTEST_PART { password } else { b"" }])
    }

    /// Several secrets of one request; an empty one is none.
    pub fn of_each(secrets: &[&[u8]]) -> Option<Self> {
        let mut spellings = Spellings(Vec::with_capacity(16));
        secrets.iter().for_each(|secret| spellings.add_all(secret));
        let all = spellings.0;
        let window = all.iter().map(|needle| needle.len()).min()?.min(WINDOW);
        let longest = all.iter().map(|needle| needle.len()).max()?;
        let furthest = u8::try_from(window + 1 - BLOCK).unwrap_or(u8::MAX);
        let mut shift = Shifts::of(furthest);
        for needle in &all {
            for (at, block) in needle.get(..window).unwrap_or_default().windows(BLOCK).enumerate() {
                shift.lower(block, u8::try_from(window - BLOCK - at).unwrap_or(0));
            }
        }
        Some(Self { all, shift, window, longest })
    }

    /// The longest tail that may have to be kept back is one octet shorter.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Finds the matches of needles of at least `shortest` octets, by where they begin.
    pub fn find(&self, text: &[u8], shortest: usize, mut found: impl FnMut(Range<usize>)) {
        let mut end = self.window;
        while let Some(seen) = text.get(..end) {
            let Some(block) = seen.last_chunk::<BLOCK>() else { return };
            match self.shift.of_block(*block) {
                0 => {
                    let start = end - self.window;
                    let rest = &text[start..];
                    let matching = |needle: &&Zeroizing<Vec<u8>>| needle.len() >= shortest && rest.starts_with(needle);
                    if let Some(length) = self.all.iter().filter(matching).map(|needle| needle.len()).max() {
                        found(start..start + length);
                    }
                    end += 1;
                }
                far => end += usize::from(far),
            }
        }
    }

    /// Whether a field's name, which has lost its case, holds one.
    pub fn holds_ignoring_case(&self, name: &[u8]) -> bool {
        name.len() >= self.window
            && self.all.iter().any(|needle| name.windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle)))
    }

    /// How many octets at the end of `text` may be the beginning of a match that is not complete.
    pub fn begun(&self, text: &[u8], shortest: usize) -> usize {
        let mut longest = 0;
        for needle in self.all.iter().filter(|needle| needle.len() >= shortest) {
            let tail = &text[text.len() - text.len().min(needle.len() - 1)..];
            let first = needle[0];
            for at in memchr::memchr_iter(first, tail) {
                let begun = &tail[at..];
                if begun.len() <= longest {
                    break;
                }
                if needle.starts_with(begun) {
                    longest = begun.len();
                    break;
                }
            }
        }
        longest
    }
}

/// One octet for each block, eight to a word: words are wiped faster than octets.
struct Shifts(Box<Zeroizing<[u64; WORDS]>>);

impl Shifts {
    fn of(all: u8) -> Self {
        Self(Box::new(Zeroizing::new([u64::from_ne_bytes([all; 8]); WORDS])))
    }

    /// The word, and how far up in it.
    fn place([a, b, c]: [u8; BLOCK]) -> (usize, u32) {
        let hash = usize::from(a) ^ (usize::from(b) << 2) ^ (usize::from(c) << 4);
        (hash / 8 % WORDS, (hash % 8 * 8) as u32)
    }

    fn of_block(&self, block: [u8; BLOCK]) -> u8 {
        let (word, up) = Self::place(block);
        (self.0[word] >> up & 0xff) as u8
    }

    fn lower(&mut self, block: &[u8], to: u8) {
        let Ok(block) = block.try_into() else { return };
        if to < self.of_block(block) {
            let (word, up) = Self::place(block);
            self.0[word] = self.0[word] & !(0xff << up) | u64::from(to) << up;
        }
    }
}

/// Needles being collected, each once.
struct Spellings(Vec<Zeroizing<Vec<u8>>>);

impl Spellings {
    /// A text as it is, in base64 wherever it may stand in a longer text, and each of these as JSON, HTML
    /// and URLs write it.
    fn add_all(&mut self, text: &[u8]) {
        self.add_escaped(text);
        for offset in 0..3 {
            self.add_base64(text, offset);
        }
    }

    /// The digits of base64 that depend on nothing but `text` when `offset` octets (of every three) come
    /// before it; at the beginning also the last digit, as it is when nothing follows.
    fn add_base64(&mut self, text: &[u8], offset: usize) {
        let mut padded = Zeroizing::new(Vec::with_capacity(offset + text.len()));
        padded.resize(offset, 0);
        padded.extend_from_slice(text);
        let mut digits = Zeroizing::new(STANDARD_NO_PAD.encode(&*padded).into_bytes());
        let whole = padded.len() * 8 / 6;
        if offset == 0 && whole < digits.len() {
            self.add_digits(digits.clone());
        }
        digits.truncate(whole);
        digits.drain(..(offset * 8).div_ceil(6).min(whole));
        self.add_digits(digits);
    }

    /// In both alphabets.
    fn add_digits(&mut self, digits: Zeroizing<Vec<u8>>) {
        if memchr::memchr2(b'+', b'/', &digits).is_none() {
            return self.add(digits);
        }
        self.add_escaped(&digits);
        let mut url = digits;
        for digit in url.iter_mut() {
            *digit = match *digit {
                b'+' => b'-',
                b'/' => b'_',
                other => other,
            };
        }
        self.add(url);
    }

    fn add_escaped(&mut self, text: &[u8]) {
        self.add(Zeroizing::new(text.to_vec()));
        if text.iter().copied().all(is_unreserved) {
            return;
        }
        self.add_spelled(text, 3, percent_upper);
        self.add_spelled(text, 3, percent_lower);
        if memchr::memchr2(b' ', b'~', text).is_some() {
            self.add_spelled(text, 3, form);
        }
        if text
            .iter()
            .any(|byte| matches!(byte, b'"' | b'\\' | b'/' | b'<' | b'>' | b'&' | b'\'' | b'+' | b'=' | b'\t' | 0x80..))
        {
            for escape in [json, json_slash, json_html_lower, json_html_upper, html] {
                self.add_spelled(text, 6, escape);
            }
        }
    }

    /// `room` is what a spelling needs for each octet, at most: no outgrown copy stays behind.
    fn add_spelled(&mut self, text: &[u8], room: usize, spell: fn(char, &mut Vec<u8>)) {
        let mut out = Zeroizing::new(Vec::with_capacity(text.len() * room));
        // What is not UTF-8 is spelled octet by octet, as Latin-1 would be.
        match std::str::from_utf8(text) {
            Ok(text) => text.chars().for_each(|character| spell(character, &mut out)),
            Err(_) => text.iter().for_each(|byte| spell(char::from(*byte), &mut out)),
        }
        self.add(out);
    }

    fn add(&mut self, needle: Zeroizing<Vec<u8>>) {
        if needle.len() >= SHORTEST && !self.0.iter().any(|known| **known == *needle) {
            self.0.push(needle);
        }
    }
}

/// RFC 3986 §2.3: nobody escapes these.
fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

/// RFC 8259 §7, with no more escapes than it demands.
fn json(character: char, out: &mut Vec<u8>) {
    match character {
        '"' | '\\' => out.extend([b'\\', character as u8]),
        '\t' => out.extend(b"\\t"),
        other => utf8(other, out),
    }
}

fn json_slash(character: char, out: &mut Vec<u8>) {
    match character {
        '/' => out.extend(b"\\/"),
        other if other.is_ascii() => json(other, out),
        other => unicode(other, LOWER, out),
    }
}

/// What goes into a page's script: the characters of HTML and all that is not ASCII as `\u003c`.
fn json_html_lower(character: char, out: &mut Vec<u8>) {
    match character {
        '<' | '>' | '&' | '\'' | '+' | '=' | '"' => unicode(character, LOWER, out),
        other if other.is_ascii() => json(other, out),
        other => unicode(other, LOWER, out),
    }
}

fn json_html_upper(character: char, out: &mut Vec<u8>) {
    match character {
        '<' | '>' | '&' | '\'' | '+' | '=' | '"' => unicode(character, UPPER, out),
        other if other.is_ascii() => json(other, out),
        other => unicode(other, UPPER, out),
    }
}

fn html(character: char, out: &mut Vec<u8>) {
    match character {
        '<' => out.extend(b"&lt;"),
        '>' => out.extend(b"&gt;"),
        '&' => out.extend(b"&amp;"),
        '"' => out.extend(b"&quot;"),
        '\'' => out.extend(b"&#39;"),
        other => utf8(other, out),
    }
}

/// RFC 3986 §2.1.
fn percent_upper(character: char, out: &mut Vec<u8>) {
    percent(character, UPPER, out);
}

fn percent_lower(character: char, out: &mut Vec<u8>) {
    percent(character, LOWER, out);
}

/// `application/x-www-form-urlencoded`.
fn form(character: char, out: &mut Vec<u8>) {
    match character {
        ' ' => out.push(b'+'),
        '~' => out.extend(b"%7E"),
        other => percent_upper(other, out),
    }
}

fn percent(character: char, digits: &[u8; 16], out: &mut Vec<u8>) {
    let mut octets = [0; 4];
    for &byte in character.encode_utf8(&mut octets).as_bytes() {
        if is_unreserved(byte) {
            out.push(byte);
        } else {
            out.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
    octets.zeroize();
}

fn utf8(character: char, out: &mut Vec<u8>) {
    let mut octets = [0; 4];
    out.extend_from_slice(character.encode_utf8(&mut octets).as_bytes());
    octets.zeroize();
}

fn unicode(character: char, digits: &[u8; 16], out: &mut Vec<u8>) {
    let mut units = [0; 2];
    for unit in character.encode_utf16(&mut units) {
        let nibble = |at: u16| digits[usize::from(*unit >> at & 15)];
        out.extend([b'\\', b'u', nibble(12), nibble(8), nibble(4), nibble(0)]);
    }
    units.zeroize();
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &str = "s3/cr+t \"<&'\\: é>\u{1f511}=x";

    fn found(needles: &Needles, text: &[u8]) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        needles.find(text, 0, |range| ranges.push(range));
        ranges
    }

    #[test]
    fn a_secret_is_found_as_json_html_urls_and_base64_write_it() {
        let needles = Needles::of(SECRET.as_bytes(), false).expect("long enough");
        let mut texts = vec![
            SECRET.to_owned(),
            serde_json::to_string(SECRET).expect("json"),
            serde_json::to_string(SECRET)
                .expect("json")
                .replace('/', "\\/")
                .replace('é', "\\u00e9")
                .replace('\u{1f511}', "\\ud83d\\udd11"),
            "s3%2Fcr%2Bt%20%22%3C%26%27%5C%3A%20%C3%A9%3E%F0%9F%94%91%3Dx".to_owned(),
            "s3%2fcr%2bt%20%22%3c%26%27%5c%3a%20%c3%a9%3e%f0%9f%94%91%3dx".to_owned(),
            "s3%2Fcr%2Bt+%22%3C%26%27%5C%3A+%C3%A9%3E%F0%9F%94%91%3Dx".to_owned(),
            "s3/cr+t &quot;&lt;&amp;&#39;\\: é&gt;\u{1f511}=x".to_owned(),
            "s3/cr\\u002bt \\u0022\\u003c\\u0026\\u0027\\\\: \\u00e9\\u003e\\ud83d\\udd11\\u003dx".to_owned(),
            "s3/cr\\u002Bt \\u0022\\u003C\\u0026\\u0027\\\\: \\u00E9\\u003E\\uD83D\\uDD11\\u003Dx".to_owned(),
        ];
        for before in ["", "B", "Be", "Bea"] {
            for after in ["", "!", "!!", "!!!"] {
                let whole = format!("{before}{SECRET}{after}");
                texts.push(STANDARD.encode(&whole));
                texts.push(URL_SAFE.encode(&whole));
            }
        }
        for text in texts {
            let found = found(&needles, format!("before {text} after").as_bytes());
            assert!(!found.is_empty(), "{text}");
        }
        assert!(found(&needles, b"nothing of it in here, however long the text is that is searched").is_empty());
    }

    #[test]
    fn of_a_pair_the_password_is_looked_for_alone() {
        let found = |secret: &str, text: &str| {
            !found(&Needles::of(secret.as_bytes(), true).expect("long"), text.as_bytes()).is_empty()
        };
        assert!(found("bot:calendar-secret", "the password is calendar-secret."));
        assert!(found("bot:calendar-secret", &STANDARD.encode("bot:calendar-secret")));
        assert!(found("bot:calendar-secret", "bot%3Acalendar-secret"));
        assert!(!found("bot:calendar-secret", "the user is bot, the calendar-secre is kept"));
        assert!(!found("robot:secret", "a short one is a word like any other: secret"));
    }

    #[test]
    fn what_is_too_short_to_be_secret_is_not_searched() {
        assert!(Needles::of(b"", false).is_none());
        assert!(Needles::of(b"abc", false).is_none());
        assert!(Needles::of(b"s3cret", false).is_some());
    }

    /// Each way of finding is compared with the plain one, on texts made to overlap and to repeat.
    #[test]
    fn the_search_finds_what_a_plain_search_finds() {
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits") % below
        };
        for _ in 0..2_000 {
            let length = 6 + random(6);
            let secret: Vec<u8> = (0..length).map(|_| b"ab."[random(3)]).collect();
            let text: Vec<u8> = (0..random(200)).map(|_| b"ab."[random(3)]).collect();
            let needles = Needles::of(&secret, false).expect("long enough");
            let plain: Vec<_> = (0..text.len()).filter(|at| text[*at..].starts_with(&secret)).collect();
            let starts: Vec<_> = found(&needles, &text).iter().map(|range| range.start).collect();
            assert_eq!(starts, plain);
            let begun = (1..secret.len().min(text.len() + 1)).rev().find(|n| text.ends_with(&secret[..*n]));
            assert!(needles.begun(&text, 0) >= begun.unwrap_or(0));
        }
    }
}
