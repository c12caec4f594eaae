//! What holds for any path.

use proptest::prelude::*;

use crate::site::{SECRET, Site, bytes};

/// Paths made of what matters to a path.
fn any_path() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        prop::sample::select(vec![
            "/",
            "/",
            "/",
            "..",
            ".",
            "%2e",
            "%2E%2e",
            "%2f",
            "%5c",
            "\\",
            "%00",
            "%",
            "?",
            "//",
            "secret.txt",
            "outside",
            "outside.txt",
            "absolute.txt",
            "inside.txt",
            "docs",
            "root",
            ".git",
            "config",
            ".env",
            ".hidden",
            ".well-known",
            "index.html",
            "pipe",
            "loop.txt",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    prop::collection::vec(fragment, 0..10).prop_map(|fragments| format!("/{}", fragments.concat()))
}

#[test]
fn no_path_reaches_a_file_that_is_not_to_be_served() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let site = Site::new();
    proptest!(|(path in any_path())| {
        if let Some(response) = runtime.block_on(site.get(&path)) {
            prop_assert!(response.status().as_u16() < 400, "{path}: {}", response.status());
            let body = runtime.block_on(bytes(response));
            prop_assert!(!String::from_utf8_lossy(&body).contains(SECRET), "{path} leads to a secret");
        }
    });
}

#[tokio::test]
async fn no_known_trick_leads_out_of_the_root() {
    let site = Site::new();
    let tricks = [
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/%252e%252e/secret.txt",
        "/..\\secret.txt",
        "/....//secret.txt",
        "//etc/passwd",
        "/etc/passwd",
        "/%2fetc/passwd",
        "/outside.txt",
        "/absolute.txt",
        "/outside/secret.txt",
        "/outside/root/hello.txt",
        "/.git/config",
        "/%2egit/config",
        "/docs/../.git/config",
        "/.env",
        "/docs/.hidden",
        "/.well-known/../.env",
        "/secret.txt%00.html",
        "/pipe",
        "/loop.txt",
    ];
    for path in tricks {
        assert!(site.get(path).await.is_none(), "{path}");
    }
    let outside = site.folder.path().join("secret.txt");
    assert!(site.get(outside.to_str().expect("UTF-8")).await.is_none());
    assert!(site.get("/inside.txt").await.is_some(), "a link that stays inside is followed");
}
