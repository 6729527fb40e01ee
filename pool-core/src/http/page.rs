//! The page, and the policy under which a browser shows it.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::document::{Extent, Look, describe, document, in_short};
use super::watched::Watched;

/// One file, with its style, its script, and a place for what it shows first.
static PAGE: &str = include_str!("page.html");

/// Where that place is.
const PLACE: &str = "/*first*/";

/// As the header `Content-Security-Policy` has it: the page's own script and style, told by their hashes, and requests to where it comes from.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let script = hash(between(PAGE, "<script>", "</script>"));
    let style = hash(between(PAGE, "<style>", "</style>"));
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'self'"
    )
});

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(part, _)| part)
}

/// In the form that policies have.
fn hash(text: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * place) & 63) as usize]);
            text.push(if place > chunk.len() { '=' } else { digit });
        }
    }
    text
}

/// The longest page, in bytes: with what goes before it on its way, less than 200 KiB.
const MOST: usize = 196 * 1024;

/// Of more pools than these one is shown, and how the others are: as the page does it.
pub(super) const FEW_POOLS: usize = 4;

/// Of so many other pools, at most.
const OTHERS: usize = 400;

/// The page with what it shows at first: as much of it as there is room for. Of many pools the one that is chosen, or else the first, and how the others are.
pub(super) fn of(pools: &[Arc<Watched>], chosen: Option<&str>) -> String {
    let many = pools.len() > FEW_POOLS;
    let is_chosen = |pool: &&Arc<Watched>| chosen.is_some_and(|name| pool.name() == name);
    let one = pools.iter().find(is_chosen).or(pools.first()).filter(|_| many);
    let is_shown = |pool: &&Arc<Watched>| one.is_none_or(|one| Arc::ptr_eq(one, pool));
    let points = |pool: &Arc<Watched>| pool.history(0, Extent::PAGE.points);
    let looks: Vec<_> = pools.iter().filter(is_shown).map(|pool| (Look::at(&***pool), points(pool))).collect();
    let others: Vec<Value> =
        pools.iter().filter(|pool| !is_shown(pool)).take(OTHERS).map(|pool| in_short(&***pool)).collect();
    let with = |extent: Extent| {
        let shown = looks.iter().map(|(look, points)| describe(look, extent, points)).collect();
        let mut first = document(shown);
        first["others"] = Value::from(others.clone());
        html(&first)
    };
    let begin = Extent::PAGE.divided(looks.len().max(1));
    let mut extents = (0..7).map(|halvings| begin.divided(1 << halvings));
    let mut page = extents.next().map(with).unwrap_or_default();
    while page.len() > MOST
        && let Some(extent) = extents.next()
    {
        page = with(extent);
    }
    page
}

fn html(first: &Value) -> String {
    PAGE.replacen(PLACE, &within_script(&first.to_string()), 1)
}

/// JSON that can stand in a script element, whatever is in its texts: nothing there ends the element or begins a comment.
fn within_script(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for one in json.chars() {
        match one {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_of_less_than_100_kib_that_asks_nobody_else() {
        assert!(PAGE.len() < 100 * 1024);
        let others = [
            "http:",
            "https:",
            "src=",
            "url(",
            "@import",
            "innerHTML",
            "document.write",
            "insertAdjacentHTML",
            "eval(",
        ];
        let found: Vec<_> = others.into_iter().filter(|other| PAGE.contains(other)).collect();
        // The names of SVG are no addresses.
        let names = PAGE.matches("http:").count() == PAGE.matches("http://www.w3.org/2000/svg").count();
        assert!(found.is_empty() || (found == ["http:"] && names), "{found:?}");
        assert_eq!(
            (PAGE.matches(PLACE).count(), PAGE.matches("<script>").count(), PAGE.matches("<style>").count()),
            (1, 1, 1)
        );
        assert!(!PAGE.contains(" style=\"") && !PAGE.contains(" onclick"), "the policy allows none");
    }

    #[test]
    fn it_takes_as_many_pools_for_many_as_its_script() {
        assert!(PAGE.contains(&format!(" FEW_POOLS = {FEW_POOLS},")));
    }

    #[test]
    fn hashes_are_written_as_policies_have_them() {
        // The examples of RFC 4648, and the hash of nothing.
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
        assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert!(POLICY.contains("script-src 'sha256-") && !POLICY.contains("unsafe"));
    }

    #[test]
    fn no_text_breaks_out_of_the_page() {
        let hostile = Value::from("</script><!--<script>alert(1)</script> & \u{2028}");
        let shown = within_script(&hostile.to_string());
        assert!(!shown.contains(['<', '>', '&', '\u{2028}']), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), hostile, "and it is the same text");
    }
}
