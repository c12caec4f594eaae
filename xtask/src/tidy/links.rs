//! Relative links in Markdown lead somewhere.

use std::path::Path;

use super::Finding;
use super::sources::Source;

/// Links to files that are not there.
pub fn check(sources: &[Source], root: &Path) -> Vec<Finding> {
    let pages = sources.iter().filter(|source| source.is("md"));
    let dead = |page: &Source, target: &str| {
        let folder = root.join(&page.path).parent().map(Path::to_path_buf).unwrap_or_default();
        !folder.join(target).exists()
    };
    pages
        .flat_map(|page| targets(page).into_iter().map(move |(line, target)| (page, line, target)))
        .filter(|(page, _, target)| dead(page, target))
        .map(|(page, line, target)| Finding::new(&page.path, line, format!("links to {target}, which does not exist")))
        .collect()
}

/// Targets of inline links and images that name a file of ours, without their fragments. Code blocks are left out.
fn targets(page: &Source) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for (number, line) in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if !in_code {
            let texts = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            let files = texts.map(|text| text.split('#').next().unwrap_or_default());
            targets.extend(files.filter(|file| is_ours(file)).map(|file| (number, file)));
        }
    }
    targets
}

fn is_ours(target: &str) -> bool {
    !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::source;
    use super::{check, targets};

    #[test]
    fn only_links_to_files_count() {
        let page = source(
            "a.md",
            "[a](b.md#part) and ![c](d/e.png \"title\")\n[web](https://www.foobar.com/) [here](#part)\n\
             ```\n[not](code)\n```\n[f](../g)\n",
        );
        assert_eq!(targets(&page), [(1, "b.md"), (1, "d/e.png"), (6, "../g")]);
    }

    #[test]
    fn a_dead_link_is_found() {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join("docs")).expect("a folder");
        std::fs::write(root.path().join("README.md"), "").expect("a file");
        let page = source("docs/a.md", "[up](../README.md) [gone](gone.md)\n");
        let findings = check(&[page], root.path());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].to_string(), "docs/a.md:1: links to gone.md, which does not exist");
    }
}
