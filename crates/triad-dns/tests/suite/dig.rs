//! What Debian's `dig` makes of our answers. A case's first line is its arguments.

use std::net::SocketAddr;
use std::process::Command;

use crate::sockets::start;
use crate::support::goldens;

#[test]
fn dig_understands_the_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_server, address) = runtime.block_on(async { start("secured") });
    let (_wide, wide_address) = runtime.block_on(async { start("wide") });
    // The server runs on a thread of its own while this one waits for dig.
    std::thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(|| runtime.block_on(stopped));
        goldens("dig", |line| {
            let (address, arguments) = match line.strip_prefix("wide ") {
                Some(arguments) => (wide_address, arguments),
                None => (address, line),
            };
            dig(address, arguments)
        });
        drop(stop);
    });
}

fn dig(address: SocketAddr, arguments: &str) -> String {
    let output = Command::new("dig")
        .arg(format!("@{}", address.ip()))
        .args(["-p", &address.port().to_string(), "+norec", "+nocmd", "+nostats", "+nocookie", "+qid=1", "+tries=1"])
        .args(arguments.split_whitespace())
        .env("HOME", "/nonexistent")
        .output()
        .expect("dig is missing: `apt-get install bind9-dnsutils`, or run the tests with `cargo xtask test`");
    let text = String::from_utf8(output.stdout).expect("dig prints UTF-8");
    text.replace(&address.port().to_string(), "PORT")
}
