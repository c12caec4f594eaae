//! No function is longer than [`LINES_MAX`] lines, tests included. The list of exceptions may only shrink.

use proc_macro2::Span;
use syn::visit::{self, Visit};

use super::Finding;
use super::sources::Source;

/// Lines from `fn` to the closing brace.
const LINES_MAX: usize = 70;

/// Deliberate exceptions, as (file, function): each with a comment that says why it reads better in one piece.
pub const LONG: &[(&str, &str)] = &[];

/// Functions that are too long, and exceptions that are none any more.
pub fn check(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut long = Vec::new();
    for source in sources.iter().filter(|source| source.is("rs")) {
        match functions(&source.text) {
            Ok(functions) => long.extend(functions.into_iter().filter(|f| f.lines > LINES_MAX).map(|f| (source, f))),
            Err(error) => findings.push(Finding::new(&source.path, error.span().start().line, error.to_string())),
        }
    }
    let excepted = |path: &str, name: &str| exceptions.contains(&(path, name));
    for (source, Function { name, line, lines }) in long.iter().filter(|(source, f)| !excepted(&source.path, &f.name)) {
        let message = format!("{name} has {lines} lines; at most {LINES_MAX}: give its parts names");
        findings.push(Finding::new(&source.path, *line, message));
    }
    let over = |(path, name): &(&str, &str)| long.iter().any(|(source, f)| source.path == *path && f.name == *name);
    for (path, name) in exceptions.iter().filter(|exception| !over(exception)) {
        findings.push(Finding::new(
            path,
            0,
            format!("{name} is no longer too long: take it off the list of exceptions"),
        ));
    }
    findings
}

struct Function {
    name: String,
    /// Where it starts, from 1.
    line: usize,
    lines: usize,
}

fn functions(text: &str) -> syn::Result<Vec<Function>> {
    let mut collector = Collector(Vec::new());
    collector.visit_file(&syn::parse_file(text)?);
    Ok(collector.0)
}

/// Every function with a body: free, in an impl, in a trait, in another function.
struct Collector(Vec<Function>);

impl Collector {
    fn add(&mut self, signature: &syn::Signature, close: Span) {
        let line = signature.fn_token.span.start().line;
        self.0.push(Function { name: signature.ident.to_string(), line, lines: close.end().line - line + 1 });
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, function.block.brace_token.span.close());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, function.block.brace_token.span.close());
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block.brace_token.span.close());
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::source;
    use super::{LINES_MAX, check};

    fn messages(text: &str, exceptions: &[(&str, &str)]) -> Vec<String> {
        check(&[source("a.rs", text)], exceptions).iter().map(ToString::to_string).collect()
    }

    /// A method of `lines` lines, from the fourth line of the file.
    fn method(lines: usize) -> String {
        format!(
            "/// Doc.\nimpl A {{\n    #[test]\n    pub async fn f(&self) {{\n{}    }}\n}}\n",
            "\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_function_counts_from_fn_to_its_closing_brace() {
        assert_eq!(messages(&method(LINES_MAX), &[]), [""; 0]);
        assert_eq!(messages(&method(LINES_MAX + 1), &[]), ["a.rs:4: f has 71 lines; at most 70: give its parts names"]);
    }

    #[test]
    fn exceptions_may_only_shrink() {
        assert_eq!(messages(&method(LINES_MAX + 1), &[("a.rs", "f")]), [""; 0]);
        assert_eq!(
            messages(&method(LINES_MAX), &[("a.rs", "f")]),
            ["a.rs: f is no longer too long: take it off the list of exceptions"]
        );
    }

    #[test]
    fn what_does_not_parse_is_said() {
        assert_eq!(messages("fn f() {}\nfn ()", &[]), ["a.rs:2: expected identifier"]);
    }
}
