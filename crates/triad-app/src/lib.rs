//! Instances of the team's application on one server.
//!
//! What an instance may rely on: it runs in the application's folder, as a user of its own, listens on 127.0.0.1 at
//! `$PORT`, reaches the database through the relay at 127.0.0.1 by `$DATABASE_URL`, for reading alone by
//! `$DATABASE_READ_URL`, knows where it runs
//! (`$TRIAD_SERVER`, `$TRIAD_INSTANCE`), gets SIGTERM when it is to finish, and traffic only while its health path
//! answers.

#![forbid(unsafe_code)]

use std::path::Path;

use triad_model::{
    App, DATABASE, DATABASE_READ, Design, INSTANCE_FIRST, ProcessSpec, Role, Secret, ServerName, ServiceUser,
};

/// Time an instance has to finish what it is doing, in milliseconds.
const STOP_TIMEOUT_MS: u64 = 10_000;

/// The instances `server` runs, none if it has not the role. `folder` is the design's; `password` the application's
/// for the database.
pub fn instances(design: &Design, server: &ServerName, folder: &Path, password: &Secret) -> Vec<ProcessSpec> {
    let Some(app) = design.app.as_ref().filter(|_| design.carries(server, Role::App)) else { return Vec::new() };
    (1..=app.instances)
        .map(|number| ProcessSpec {
            name: format!("app-{number}"),
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), replacing_the_shell(&app.command)],
            environment: environment(design, app, server, number, password),
            directory: folder.join(&app.directory),
            user: ServiceUser::App,
            stop_timeout_ms: STOP_TIMEOUT_MS,
        })
        .collect()
}

/// `command` so that a simple one takes the shell's place: then the instance itself gets SIGTERM, and its end is the
/// end the supervisor sees. dash keeps waiting beside its child otherwise. A compound command stays as it is; whoever
/// writes one puts `exec` before its last part.
fn replacing_the_shell(command: &str) -> String {
    let is_compound = command.contains([';', '&', '|', '(', ')', '{', '}', '\n', '`']);
    let first = command.split_whitespace().next().unwrap_or_default();
    let is_assignment = first.contains('=');
    if is_compound || is_assignment || first == "exec" { command.to_owned() } else { format!("exec {command}") }
}

fn environment(
    design: &Design,
    app: &App,
    server: &ServerName,
    number: u16,
    password: &Secret,
) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> =
        app.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    environment.push(("PORT".to_owned(), (INSTANCE_FIRST + number - 1).to_string()));
    environment.push(("TRIAD_SERVER".to_owned(), server.to_string()));
    environment.push(("TRIAD_INSTANCE".to_owned(), number.to_string()));
    if let Some(database) = &design.database {
        let (user, name, password) = (&database.user, &database.name, password.expose_secret());
        let url = |port| format!("mysql://{user}:{password}@127.0.0.1:{port}/{name}");
        environment.push(("DATABASE_URL".to_owned(), url(DATABASE)));
        environment.push(("DATABASE_READ_URL".to_owned(), url(DATABASE_READ)));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::replacing_the_shell;

    #[test]
    fn only_a_simple_command_replaces_the_shell() {
        for (command, run) in [
            ("./guestbook", "exec ./guestbook"),
            ("gunicorn -b 127.0.0.1:$PORT app:app", "exec gunicorn -b 127.0.0.1:$PORT app:app"),
            ("exec ./guestbook", "exec ./guestbook"),
            ("cd api && exec ./serve", "cd api && exec ./serve"),
            ("RUST_LOG=info ./serve", "RUST_LOG=info ./serve"),
        ] {
            assert_eq!(replacing_the_shell(command), run);
        }
    }
}
