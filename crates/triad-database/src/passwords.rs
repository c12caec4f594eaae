use std::fs;
use std::path::Path;

use triad_model::Secret;

use crate::DatabaseError;
use crate::files::write_atomically;

/// Bytes of randomness in a password: 192 bits, out of reach for guessing.
const RANDOM_BYTES: usize = 24;
const APP_FILE: &str = "database-app.password";
const REPLICATION_FILE: &str = "database-replication.password";

/// The passwords of a design's database, the same on every server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passwords {
    /// The application's.
    pub app: Secret,
    /// The one replicas give to the primary.
    pub replication: Secret,
}

impl Passwords {
    /// New random ones, of lower-case hexadecimal digits, so that they need no quoting in a URL.
    pub fn generate() -> Result<Self, DatabaseError> {
        Ok(Self { app: random_password()?, replication: random_password()? })
    }

    /// Reads what [`Passwords::write`] wrote into `directory`.
    pub fn read(directory: &Path) -> Result<Self, DatabaseError> {
        let read = |name| {
            let path = directory.join(name);
            fs::read_to_string(&path)
                .map(|text| Secret::new(text.trim_end()))
                .map_err(DatabaseError::file("read", &path))
        };
        Ok(Self { app: read(APP_FILE)?, replication: read(REPLICATION_FILE)? })
    }

    /// Writes one file for each into `directory`, which must exist, readable by their owner alone.
    pub fn write(&self, directory: &Path) -> Result<(), DatabaseError> {
        for (name, secret) in [(APP_FILE, &self.app), (REPLICATION_FILE, &self.replication)] {
            write_atomically(&directory.join(name), &format!("{}\n", secret.expose_secret()), 0o600)?;
        }
        Ok(())
    }
}

fn random_password() -> Result<Secret, DatabaseError> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(DatabaseError::Random)?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{APP_FILE, Passwords, REPLICATION_FILE};

    #[test]
    fn passwords_are_random_and_come_back_from_private_files() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let passwords = Passwords::generate().expect("random bytes");
        assert_ne!(passwords.app, passwords.replication);
        assert_eq!(passwords.app.expose_secret().len(), 48);
        assert!(Passwords::read(directory.path()).is_err(), "nothing written yet");

        passwords.write(directory.path()).expect("written");
        passwords.write(directory.path()).expect("written over");
        assert_eq!(Passwords::read(directory.path()).expect("read"), passwords);
        for name in [APP_FILE, REPLICATION_FILE] {
            let metadata = directory.path().join(name).metadata().expect("file");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let passwords = Passwords::generate().expect("random bytes");
        assert!(!format!("{passwords:?}").contains(passwords.app.expose_secret()));
    }
}
