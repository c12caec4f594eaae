//! `ARCHITECTURE.md` names every crate, and no other.

use super::Finding;
use super::sources::{Source, crates};

const PATH: &str = "ARCHITECTURE.md";

/// Crates that the page's table lacks, and names in it that are no crates.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(page) = sources.iter().find(|source| source.path == PATH) else {
        return vec![Finding::new(PATH, 0, "is missing: it names every crate in a table")];
    };
    let named = named(page);
    let folders = crates(sources);
    let unnamed = folders.iter().filter(|folder| !named.iter().any(|(_, name)| name == *folder));
    let unknown = named.iter().filter(|(_, name)| !folders.contains(name));
    unnamed
        .map(|folder| Finding::new(PATH, 0, format!("does not name `{folder}` in its table of crates")))
        .chain(unknown.map(|(line, name)| Finding::new(PATH, *line, format!("`{name}` is no folder in crates/"))))
        .collect()
}

/// Names in backticks in the first column of tables, as far as they are of the form of our crates' names.
fn named(page: &Source) -> Vec<(usize, &str)> {
    let first_cells =
        page.lines().filter_map(|(number, line)| Some((number, line.strip_prefix('|')?.split('|').next()?)));
    first_cells
        .flat_map(|(number, cell)| cell.split('`').skip(1).step_by(2).map(move |name| (number, name)))
        .filter(|(_, name)| *name == "triad" || name.starts_with("triad-"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::source;
    use super::check;

    #[test]
    fn the_page_and_the_folders_agree() {
        let page = "`triad-elsewhere` in prose\n| crate | is |\n|---|---|\n| `triad` | uses `triad-x` |\n\
                    | `triad-a`, `triad-gone` | |\n";
        let manifests = ["crates/triad/Cargo.toml", "crates/triad-a/Cargo.toml", "crates/triad-b/Cargo.toml"];
        let mut sources: Vec<_> = manifests.into_iter().map(|path| source(path, "")).collect();
        sources.push(source("ARCHITECTURE.md", page));
        let messages = |sources: &[_]| check(sources).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            messages(&sources),
            [
                "ARCHITECTURE.md: does not name `triad-b` in its table of crates",
                "ARCHITECTURE.md:5: `triad-gone` is no folder in crates/",
            ]
        );
        sources.pop();
        assert_eq!(messages(&sources), ["ARCHITECTURE.md: is missing: it names every crate in a table"]);
    }
}
