//! Every dependency has a licence that `deny.toml` allows. cargo-deny checks the same and more (`cargo xtask deny`);
//! this part needs nothing installed, so it runs with every test.

use std::collections::HashSet;

use anyhow::{Context, bail};
use cargo_metadata::Metadata;
use serde::Deserialize;

use super::Finding;
use super::sources::Source;

/// The file with the one list.
pub const LIST: &str = "deny.toml";

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: HashSet<String>,
}

/// A crate we build, with its licence as an SPDX expression.
pub struct Package {
    name: String,
    licence: Option<String>,
}

/// The licences that `deny.toml` allows.
pub fn allowed(deny: &Source) -> anyhow::Result<HashSet<String>> {
    let deny: Deny = toml::from_str(&deny.text).with_context(|| format!("cannot read {LIST}"))?;
    Ok(deny.licenses.allow)
}

/// What is built for our platform.
pub fn packages(metadata: &Metadata) -> Vec<Package> {
    let built: HashSet<_> = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| &node.id).collect();
    let packages = metadata.packages.iter().filter(|package| built.contains(&package.id));
    packages
        .map(|package| Package {
            name: format!("{} {}", package.name, package.version),
            licence: package.license.clone(),
        })
        .collect()
}

/// Packages whose licence is unknown or not allowed.
pub fn check(packages: &[Package], allowed: &HashSet<String>) -> Vec<Finding> {
    packages.iter().filter_map(|package| objection(package, allowed)).collect()
}

fn objection(package: &Package, allowed: &HashSet<String>) -> Option<Finding> {
    let name = &package.name;
    let message = match package.licence.as_deref().map(|licence| (licence, permits(licence, allowed))) {
        Some((_, Ok(true))) => return None,
        Some((licence, Ok(false))) => format!("{name} is under {licence:?}, which this list does not allow"),
        Some((licence, Err(error))) => format!("{name} is under {licence:?}, which cannot be read: {error}"),
        None => format!("{name} does not say its licence"),
    };
    Some(Finding::new(LIST, 0, message))
}

/// Whether the SPDX expression can be met with licences from `allowed` alone.
fn permits(expression: &str, allowed: &HashSet<String>) -> anyhow::Result<bool> {
    // Before SPDX, crates wrote a slash for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut parser = Parser { tokens: spaced.split_whitespace().collect(), next: 0, allowed };
    let permitted = parser.alternatives()?;
    match parser.peek() {
        None => Ok(permitted),
        Some(rest) => bail!("{rest:?} was not expected"),
    }
}

/// SPDX 2.3, annex D: OR binds weaker than AND, AND weaker than WITH.
struct Parser<'a> {
    tokens: Vec<&'a str>,
    next: usize,
    allowed: &'a HashSet<String>,
}

impl<'a> Parser<'a> {
    fn alternatives(&mut self) -> anyhow::Result<bool> {
        let mut permitted = self.conjunction()?;
        while self.take("OR") {
            permitted |= self.conjunction()?;
        }
        Ok(permitted)
    }

    fn conjunction(&mut self) -> anyhow::Result<bool> {
        let mut permitted = self.licence()?;
        while self.take("AND") {
            permitted &= self.licence()?;
        }
        Ok(permitted)
    }

    fn licence(&mut self) -> anyhow::Result<bool> {
        if self.take("(") {
            let permitted = self.alternatives()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(permitted);
        }
        let name = self.name()?;
        if self.take("WITH") {
            return Ok(self.allowed.contains(&format!("{name} WITH {}", self.name()?)));
        }
        Ok(self.allowed.contains(name))
    }

    fn name(&mut self) -> anyhow::Result<&'a str> {
        match self.peek() {
            None | Some("OR" | "AND" | "WITH" | "(" | ")") => bail!("a licence's name is missing"),
            Some(name) => {
                self.next += 1;
                Ok(name)
            }
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.next).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.peek() == Some(token);
        self.next += usize::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Package, check, permits};

    fn allowed() -> HashSet<String> {
        ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into()
    }

    #[test]
    fn an_expression_is_met_by_allowed_licences_alone() {
        let permits = |expression| permits(expression, &allowed()).map_err(|error| error.to_string());
        for good in ["MIT", "MIT OR GPL-2.0", "GPL-2.0/MIT", "MIT AND ISC", "GPL-2.0 OR MIT AND ISC"] {
            assert_eq!(permits(good), Ok(true), "{good}");
        }
        for good in ["Apache-2.0 WITH LLVM-exception OR GPL-2.0", "ISC AND (GPL-2.0 OR MIT)"] {
            assert_eq!(permits(good), Ok(true), "{good}");
        }
        for bad in ["GPL-2.0", "MIT AND GPL-2.0", "(MIT OR ISC) AND GPL-2.0", "Apache-2.0", "MIT WITH LLVM-exception"] {
            assert_eq!(permits(bad), Ok(false), "{bad}");
        }
        assert_eq!(permits("MIT OR"), Err("a licence's name is missing".to_string()));
        assert_eq!(permits("(MIT"), Err("a parenthesis is not closed".to_string()));
        assert_eq!(permits("MIT ISC"), Err("\"ISC\" was not expected".to_string()));
    }

    #[test]
    fn every_package_needs_an_allowed_licence() {
        let package =
            |name: &str, licence: Option<&str>| Package { name: name.to_string(), licence: licence.map(String::from) };
        let packages = [package("a 1.0.0", Some("MIT")), package("b 2.0.0", Some("GPL-2.0")), package("c 3.0.0", None)];
        let messages: Vec<String> = check(&packages, &allowed()).iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "deny.toml: b 2.0.0 is under \"GPL-2.0\", which this list does not allow",
                "deny.toml: c 3.0.0 does not say its licence",
            ]
        );
    }
}
