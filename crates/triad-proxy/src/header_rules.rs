//! The design's rules for header fields, made ready: which fields of a message pass, and which are written behind them.

use triad_http::forwarding::is_like;
use triad_http1::HeadWriter;
use triad_model::{HeaderRules as Rules, Hsts, is_header_value, reserved_header};

/// Rules for one kind of message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderRules {
    /// Names that do not pass, in lower case with hyphens.
    gone: Box<[Box<str>]>,
    /// Names in lower case, and values, each of which is a line.
    written: Box<[(Box<str>, Box<str>)]>,
}

impl HeaderRules {
    /// What `rules` say, and for answers over HTTPS `hsts`; `None` if that is nothing. The error is the name of a field
    /// that must not be written so: it would break a message, or is the edge's own.
    pub fn of(rules: &Rules, hsts: Option<Hsts>) -> Result<Option<Self>, String> {
        let hsts = hsts.map(|hsts| ("Strict-Transport-Security".to_owned(), hsts_value(hsts)));
        let set = || rules.set.iter().chain(&hsts);
        let gone = rules.remove.iter().chain(set().map(|(name, _)| name));
        let written = set().chain(&rules.add);
        if let Some(bad) = rules.remove.iter().find(|name| !is_ruled(name)) {
            return Err(bad.clone());
        }
        if let Some((bad, _)) = written.clone().find(|(name, value)| !is_ruled(name) || !is_header_value(value)) {
            return Err(bad.clone());
        }
        let rules = Self {
            gone: gone.map(|name| name.to_ascii_lowercase().replace('_', "-").into()).collect(),
            written: written.map(|(name, value)| (name.to_ascii_lowercase().into(), value.as_str().into())).collect(),
        };
        Ok((!rules.gone.is_empty() || !rules.written.is_empty()).then_some(rules))
    }

    /// Whether a field that is there passes. Underscores count as hyphens: what an application reads as one variable
    /// cannot come in by the other name.
    pub fn passes(&self, name: &[u8]) -> bool {
        !self.gone.iter().any(|gone| is_like(name, gone))
    }

    /// Writes the fields of the rules.
    pub fn write(&self, writer: &mut HeadWriter<'_>) {
        self.written.iter().for_each(|(name, value)| writer.field(name, &[value.as_bytes()]));
    }
}

/// Whether a rule can name a field so.
fn is_ruled(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token) && reserved_header(name).is_none()
}

fn hsts_value(hsts: Hsts) -> String {
    let below = if hsts.include_subdomains { "; includeSubDomains" } else { "" };
    format!("max-age={}{below}", hsts.max_age_s)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use triad_http1::{HeadWriter, ResponseHead};
    use triad_model::{HeaderRules as Rules, Hsts};

    use super::HeaderRules;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// An answer with `fields`, after the rules.
    fn after(rules: &Rules, hsts: Option<Hsts>, fields: &[(&str, &str)]) -> String {
        let rules = HeaderRules::of(rules, hsts).expect("rules").expect("some");
        let mut text = "HTTP/1.1 200 OK\r\n".to_owned();
        fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += "\r\n";
        let mut head = ResponseHead::default();
        head.parse(text.as_bytes()).expect("an answer").expect("whole");
        let mut out = Vec::new();
        let mut writer = HeadWriter::response(&mut out, 200, b"OK");
        writer.pass(&head.fields, text.as_bytes(), |_, name| rules.passes(name));
        rules.write(&mut writer);
        writer.finish();
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn set_replaces_add_adds_and_remove_removes() {
        let rules = Rules {
            set: vec![pair("X-Site", "foobar")],
            add: vec![pair("Link", "</b>")],
            remove: vec!["X-Powered-By".to_owned()],
        };
        let given = [("x-site", "other"), ("LINK", "</a>"), ("x_powered_by", "PHP"), ("etag", "1")];
        let expected = "HTTP/1.1 200 OK\r\nLINK: </a>\r\netag: 1\r\nx-site: foobar\r\nlink: </b>\r\n\r\n";
        assert_eq!(after(&rules, None, &given), expected);
    }

    #[test]
    fn strict_transport_security_is_said_once() {
        let hsts = Some(Hsts { max_age_s: 300, include_subdomains: true });
        let given = [("Strict-Transport-Security", "max-age=0")];
        let expected = "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=300; includeSubDomains\r\n\r\n";
        assert_eq!(after(&Rules::default(), hsts, &given), expected);
    }

    #[test]
    fn nothing_said_is_no_rules() {
        assert_eq!(HeaderRules::of(&Rules::default(), None), Ok(None));
    }

    #[test]
    fn a_plan_cannot_break_a_message() {
        for bad in [pair("X-Site", "a\r\nb: c"), pair("Content-Length", "0"), pair("X Site", "a"), pair("", "a")] {
            let name = bad.0.clone();
            assert_eq!(HeaderRules::of(&Rules { add: vec![bad], ..Rules::default() }, None), Err(name));
        }
        let remove = vec!["Transfer_Encoding".to_owned()];
        assert!(HeaderRules::of(&Rules { remove, ..Rules::default() }, None).is_err());
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        let field = || ("x-[a-c]", "[!-~]([ !-~]{0,5}[!-~])?");
        let fields = || prop::collection::vec(field(), 0..4);
        (fields(), fields(), prop::collection::vec("x-[a-c]", 0..4)).prop_map(|(set, add, remove)| Rules {
            set,
            add,
            remove,
        })
    }

    proptest! {
        /// Whatever is said, each line is one field, and what was there under a name that is set or removed is not.
        #[test]
        fn an_answer_stays_an_answer(rules in any_rules(), given in prop::collection::vec("x[-_][a-d]", 0..6)) {
            prop_assume!(!(rules.set.is_empty() && rules.add.is_empty() && rules.remove.is_empty()));
            let fields: Vec<(&str, &str)> = given.iter().map(|name| (name.as_str(), "given")).collect();
            let text = after(&rules, None, &fields);
            let mut head = ResponseHead::default();
            prop_assert_eq!(head.parse(text.as_bytes()).expect("an answer"), Some(text.len()));
            let folded = |name: &str| name.replace('_', "-");
            let gone = |name: &str| rules.remove.iter().chain(rules.set.iter().map(|(name, _)| name)).any(|it| *it == folded(name));
            let kept = given.iter().filter(|name| !gone(name)).count();
            prop_assert_eq!(head.fields.len(), kept + rules.set.len() + rules.add.len());
            prop_assert!(text.lines().all(|line| !line.ends_with(": given") || !gone(line.split(':').next().unwrap_or(""))));
        }
    }
}
