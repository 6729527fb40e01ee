//! What an asker would like to have.

use axum::http::{HeaderMap, header};

/// One kind of answer: its type, and its name in what asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) main: &'static str,
    pub(super) sub: &'static str,
}

pub(super) const HTML: Kind = Kind { main: "text", sub: "html" };
pub(super) const JSON: Kind = Kind { main: "application", sub: "json" };
pub(super) const TEXT: Kind = Kind { main: "text", sub: "plain" };
pub(super) const OPENMETRICS: Kind = Kind { main: "application", sub: "openmetrics-text" };

/// One of the kinds that are asked for.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    /// In thousandths.
    quality: u32,
}

/// The kind that is wanted most, of those that there are; the one that is named first, if several are wanted alike. The first one that there is, if any will do or nobody says.
/// `None` if none will do.
pub(super) fn choose(headers: &HeaderMap, there_are: &[Kind]) -> Option<Kind> {
    let fields: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> = fields.iter().flat_map(|field| field.split(',')).filter_map(parse).collect();
    if ranges.is_empty() {
        return there_are.first().copied();
    }
    let offers = there_are.iter().enumerate().filter_map(|(place, kind)| {
        let (named, range) = best_range(&ranges, *kind)?;
        // One that any would do for comes after all that are named.
        let order = if range.sub == "*" { ranges.len() + place } else { named };
        (range.quality > 0).then_some((range.quality, usize::MAX - order, *kind))
    });
    offers.max_by_key(|(quality, order, _)| (*quality, *order)).map(|(_, _, kind)| kind)
}

/// The most exact range that a kind is in, and the how manieth that is.
fn best_range<'a, 'b>(ranges: &'b [Range<'a>], kind: Kind) -> Option<(usize, &'b Range<'a>)> {
    let fits = |range: &Range<'_>| {
        let main = range.main == "*" || range.main.eq_ignore_ascii_case(kind.main);
        main && (range.sub == "*" || range.sub.eq_ignore_ascii_case(kind.sub))
    };
    let exact = |range: &Range<'_>| u8::from(range.main != "*") + u8::from(range.sub != "*");
    // Of several that are as exact, the first.
    ranges.iter().enumerate().rev().filter(|(_, range)| fits(range)).max_by_key(|(_, range)| exact(range))
}

fn parse(range: &str) -> Option<Range<'_>> {
    let mut parts = range.split(';').map(str::trim);
    let (main, sub) = parts.next()?.split_once('/')?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    // What cannot be read is taken for 1, as if it were not there.
    let quality = quality.and_then(|quality| quality.parse::<f64>().ok()).unwrap_or(1.0).clamp(0.0, 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is between 0 and 1000
    Some(Range { main, sub, quality: (quality * 1000.0) as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<Kind> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        choose(&headers, &[TEXT, HTML, JSON])
    }

    #[test]
    fn a_browser_gets_the_page_a_program_json_and_a_terminal_text() {
        assert_eq!(choose(&HeaderMap::new(), &[TEXT, HTML, JSON]), Some(TEXT));
        assert_eq!(chosen("*/*"), Some(TEXT));
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert_eq!(chosen(browser), Some(HTML));
        assert_eq!(chosen("application/json"), Some(JSON));
        assert_eq!(chosen("application/json, text/plain, */*"), Some(JSON), "what is named first");
    }

    #[test]
    fn qualities_count_and_the_exact_range_before_the_wide_one() {
        assert_eq!(chosen("text/html;q=0.5, application/json;q=0.9"), Some(JSON));
        assert_eq!(chosen("text/*;q=0.5, application/json;q=0.4, text/html;q=0"), Some(TEXT));
        assert_eq!(chosen("text/plain;q=0, */*"), Some(HTML), "anything but that");
        assert_eq!(chosen("TEXT/HTML"), Some(HTML));
        assert_eq!(chosen("image/png"), None);
        assert_eq!(chosen("text/html;q=nonsense"), Some(HTML));
        assert_eq!(chosen("nonsense"), Some(TEXT), "as if it were not there");
    }
}
