//! Data within a page.

use serde_json::Value as Json;

/// JSON that can stand within a `script` element: no text of it ends the element or begins a
/// comment, and what reads it as JSON gets the same value.
pub(super) fn json_in_html(value: &Json) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_text_ends_the_element() {
        let value = json!({"</script><script>": "<!-- & ]]> é\u{2028}"});
        let written = json_in_html(&value);
        assert!(!written.contains(['<', '>', '&']), "{written}");
        assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), value);
    }
}
