//! The pages, as HTML. Whatever a visitor wrote goes through [`escape`].

use crate::Identity;
use crate::store::Entry;

/// The guestbook: a form, then the entries in the order given.
pub fn guestbook(entries: &[Entry], identity: &Identity) -> String {
    let items: String = entries.iter().map(item).collect();
    let body = format!(
        r#"<form method="post" action="/entries">
<p><label for="name">Name</label> <input id="name" name="name" required maxlength="80" autocomplete="name"></p>
<p><label for="text">Text</label> <textarea id="text" name="text" required maxlength="1000" rows="4"></textarea></p>
<p><button>Sign the guestbook</button></p>
</form>
<ol class="entries">
{items}</ol>"#
    );
    page("Guestbook", &body, identity)
}

/// A page that says what went wrong, a paragraph each, and leads back.
pub fn problem(title: &str, paragraphs: &[String], identity: &Identity) -> String {
    let paragraphs: String = paragraphs.iter().map(|text| format!("<p>{}</p>\n", escape(text))).collect();
    page(title, &format!("{paragraphs}<p><a href=\"/\">To the guestbook</a></p>"), identity)
}

fn item(entry: &Entry) -> String {
    let Entry { name, text, at, .. } = entry;
    let (name, text, at) = (escape(name), escape(text), escape(at));
    format!("<li><strong>{name}</strong>\n<p>{text}</p>\n<time datetime=\"{at}\">{at}</time></li>\n")
}

fn page(title: &str, body: &str, identity: &Identity) -> String {
    let (server, instance) = (escape(&identity.server), escape(&identity.instance));
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
<footer>served by {server}, instance {instance}</footer>
</body>
</html>
"#
    )
}

/// `text` made safe between tags and inside quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{guestbook, item};
    use crate::Identity;
    use crate::store::Entry;

    #[test]
    fn an_entry_is_escaped() {
        let entry = Entry {
            id: 1,
            name: "<b>Ann & \"Bob\"</b>".to_string(),
            text: "it's <script>".to_string(),
            at: "2026-11-22T09:30:00.123Z".to_string(),
        };
        assert_eq!(
            item(&entry),
            "<li><strong>&lt;b&gt;Ann &amp; &quot;Bob&quot;&lt;/b&gt;</strong>\n<p>it&#39;s &lt;script&gt;</p>\n\
             <time datetime=\"2026-11-22T09:30:00.123Z\">2026-11-22T09:30:00.123Z</time></li>\n"
        );
    }

    #[test]
    fn every_input_has_a_label_and_the_footer_says_who_answered() {
        let identity = Identity { server: "srv2".to_string(), instance: "1".to_string(), pid: 7 };
        let page = guestbook(&[], &identity);
        for id in ["name", "text"] {
            assert!(page.contains(&format!("<label for=\"{id}\">")), "{page}");
            assert!(page.contains(&format!(" id=\"{id}\" name=\"{id}\"")), "{page}");
        }
        assert!(page.contains("<footer>served by srv2, instance 1</footer>"), "{page}");
    }
}
