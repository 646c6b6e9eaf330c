//! What the process environment says: variables, and the places of files that follow from them.
//!
//! The AWS SDK reads the same variables by the same shim, so both see one environment. Empty is the same as unset.
//! Names and defaults: AWS SDKs and Tools Reference Guide, "Environment variables list" and "Location of the shared
//! config and credentials files".

use std::path::PathBuf;

use aws_types::os_shim_internal::Env;

/// A view of the process environment.
#[derive(Debug, Clone)]
pub(super) struct Environment(Env);

impl Environment {
    /// The environment of this process.
    pub fn process() -> Self {
        Self(Env::real())
    }

    #[cfg(test)]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self(Env::from_slice(variables))
    }

    /// For functions of the SDK that ask for its shim.
    pub const fn shim(&self) -> &Env {
        &self.0
    }

    /// A variable that is set and not blank.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).ok().filter(|value| !value.trim().is_empty())
    }

    /// The home directory, as the SDK finds it.
    pub fn home(&self) -> Option<PathBuf> {
        let windows = cfg!(windows).then(|| self.get("USERPROFILE")).flatten();
        self.get("HOME").or(windows).map(PathBuf::from)
    }

    /// The profile that is meant when none is named.
    pub fn profile(&self) -> Option<String> {
        self.get("AWS_PROFILE")
    }

    /// The region that is meant when the profile names none.
    pub fn region(&self) -> Option<String> {
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION"))
    }

    /// `~/.aws/config`, unless moved.
    pub fn config_file(&self) -> Option<PathBuf> {
        self.moved_or_home("AWS_CONFIG_FILE", ".aws/config")
    }

    /// `~/.aws/credentials`, unless moved.
    pub fn credentials_file(&self) -> Option<PathBuf> {
        self.moved_or_home("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")
    }

    /// Where `aws sso login` leaves its tokens.
    pub fn sso_cache(&self) -> Option<PathBuf> {
        Some(self.home()?.join(".aws/sso/cache"))
    }

    /// Where `aws login` leaves its tokens.
    pub fn login_cache(&self) -> Option<PathBuf> {
        self.moved_or_home("AWS_LOGIN_CACHE_DIRECTORY", ".aws/login/cache")
    }

    /// The token that EKS (IRSA) writes and rotates.
    pub fn web_identity_token(&self) -> Option<PathBuf> {
        self.get("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from)
    }

    fn moved_or_home(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        match self.get(variable) {
            Some(path) => match path.strip_prefix("~/") {
                Some(rest) => Some(self.home()?.join(rest)),
                None => Some(PathBuf::from(path)),
            },
            None => Some(self.home()?.join(below_home)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Environment;

    #[test]
    fn files_move_with_their_variables() {
        let moved =
            Environment::of(&[("HOME", "/home/ann"), ("AWS_CONFIG_FILE", "~/conf"), ("AWS_PROFILE", " ")]);
        assert_eq!(moved.config_file().as_deref(), Some(Path::new("/home/ann/conf")));
        assert_eq!(moved.credentials_file().as_deref(), Some(Path::new("/home/ann/.aws/credentials")));
        assert_eq!(moved.profile(), None, "blank is unset");
        assert_eq!(Environment::of(&[]).config_file(), None);
    }
}
