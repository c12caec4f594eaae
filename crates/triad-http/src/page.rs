//! Small pages of ours, without anything that has to be loaded.

/// A page with `title` as its heading, then paragraphs of HTML, the last of them small.
pub(crate) fn page(title: &str, paragraphs: &[&str]) -> String {
    let paragraphs: String = paragraphs.iter().map(|paragraph| format!("<p>{paragraph}</p>\n")).collect();
    format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n\
         <style>:root {{ color-scheme: light dark }} \
         body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem }} \
         p:last-child {{ font-size: .875rem; opacity: .7 }}</style>\n\
         <h1>{title}</h1>\n\
         {paragraphs}\
         </html>\n"
    )
}

/// What users get while the site is closed: the team's `template`, in which `{message}` stands for the message, or a
/// page of ours. The message is plain text.
pub fn maintenance_page(template: Option<&str>, message: Option<&str>) -> String {
    let message = escaped(message.unwrap_or("The site is being worked on."));
    match template {
        Some(template) => template.replace("{message}", &message),
        None => page("Closed for maintenance", &[&message, "Please come back in a few minutes."]),
    }
}

/// `text` as HTML, in an element or in an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::maintenance_page;

    #[test]
    fn a_message_is_text_in_both_pages() {
        let message = Some("back at <9> & \"sharp\"");
        let text = "back at &lt;9&gt; &amp; &quot;sharp&quot;";
        assert!(maintenance_page(None, message).contains(&format!("<p>{text}</p>")));
        assert_eq!(maintenance_page(Some("<b>{message}</b>"), message), format!("<b>{text}</b>"));
        assert_eq!(maintenance_page(Some("<b>back soon</b>"), message), "<b>back soon</b>");
    }
}
