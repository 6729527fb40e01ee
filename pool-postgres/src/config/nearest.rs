//! What somebody may have meant who has mistyped a word.

/// The word that takes the fewest changes, if these are few.
pub(super) fn to(word: &str, words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // What is long for no keyword is none.
    let letters: Vec<_> = word.to_lowercase().chars().take(64).collect();
    let most = (letters.len() / 3).clamp(1, 3);
    words
        .map(|known| (distance(&letters, known), known))
        .filter(|(changes, _)| *changes <= most)
        .min()
        .map(|(_, known)| known)
}

/// How many letters have to be changed, added, left out or swapped with the next (the restricted Damerau-Levenshtein distance).
fn distance(word: &[char], known: &str) -> usize {
    let known: Vec<_> = known.chars().collect();
    let first: Vec<_> = (0..=known.len()).collect();
    let mut rows = [first.clone(), first.clone(), first];
    for (at, letter) in word.iter().enumerate() {
        rows.rotate_right(1);
        rows[0][0] = at + 1;
        for (to, other) in known.iter().enumerate() {
            let changed = rows[1][to] + usize::from(letter != other);
            let swapped = at > 0 && to > 0 && *letter == known[to - 1] && word[at - 1] == *other;
            let least = changed.min(rows[1][to + 1] + 1).min(rows[0][to] + 1);
            rows[0][to + 1] = if swapped { least.min(rows[2][to - 1] + 1) } else { least };
        }
    }
    rows[0][known.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let words = || ["host", "hostaddr", "port", "password", "sslmode", "sslrootcert", "pool_max_conns"].into_iter();
        for (mistyped, meant) in [
            ("hosst", Some("host")),
            ("HOST", Some("host")),
            ("ohst", Some("host")),
            ("pasword", Some("password")),
            ("ssl_mode", Some("sslmode")),
            ("sslrootca", Some("sslrootcert")),
            ("pool_max_con", Some("pool_max_conns")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(to(mistyped, words()), meant, "{mistyped}");
        }
        assert_eq!(to(&"x".repeat(10_000), words()), None);
    }
}
