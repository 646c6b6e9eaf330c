//! What the AWS configuration files say about a profile, read before the SDK reads them.
//!
//! The SDK does not tell which profile a chain of `source_profile` ends in, what kind of source that is or which
//! names exist; a hint that names the fix needs all three. It also runs `credential_process` without a time-out; the
//! [`Survey`] finds such a profile, so that `process.rs` can run the command instead. The walk follows the rules of
//! the AWS SDKs and Tools Reference Guide ("Assume role credential provider", "Process credential provider").

use std::{borrow::Cow, fs::File, io::ErrorKind, path::PathBuf};

use aws_config::profile::{self, Profile, ProfileSet};
use aws_types::os_shim_internal::Fs;

use super::{
    environment::Environment,
    problem::{Kind, Problem},
};

/// Where a chain of profiles ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// Keys in the file, or nothing at all.
    Keys,
    /// `aws sso login`.
    Sso,
    /// `aws login`.
    Login,
    /// A command that prints credentials. Its arguments may be secrets: never shown.
    Process(Command),
    /// A token file that is exchanged for a role.
    WebIdentity,
    /// `credential_source`: environment, container or instance.
    Named,
}

/// A command line whose arguments may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Command(String);

impl Command {
    pub fn line(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command(hidden)")
    }
}

/// A role that a profile assumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub arn: String,
    pub external_id: Option<String>,
    pub session_name: Option<String>,
}

/// What is known of one profile.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    /// The profile that is meant.
    pub profile: String,
    /// Whether it exists in one of the files.
    pub exists: bool,
    /// All names, sorted.
    pub names: Vec<String>,
    /// The profile's own `region`.
    pub region: Option<String>,
    /// The profile where the chain ends, and what it holds.
    pub base: (String, Base),
    /// The roles on the way, the first to be assumed first.
    pub roles: Vec<Step>,
    /// The profile that sets `mfa_serial` beside a role.
    pub mfa: Option<String>,
    /// The profile's `web_identity_token_file`.
    pub token_file: Option<PathBuf>,
}

impl Survey {
    /// Reads the files and looks at `profile`, or at the one the environment means.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be read, or that is not in the format.
    pub async fn read(environment: &Environment, profile: Option<&str>) -> Result<Self, Problem> {
        for path in [environment.config_file(), environment.credentials_file()].into_iter().flatten() {
            // The SDK takes an unreadable file for an empty one.
            let opened = File::open(&path).and_then(|file| file.metadata());
            match opened {
                Ok(metadata) if metadata.is_dir() => {
                    return Err(Problem::unreadable(&path, &ErrorKind::IsADirectory.into()));
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(Problem::unreadable(&path, &error)),
            }
        }
        let selected = profile.map(|name| Cow::Owned(name.to_owned()));
        #[expect(deprecated, reason = "the type's old name is the one that `load` takes")]
        let files = profile::profile_file::ProfileFiles::default();
        let set = profile::load(&Fs::real(), environment.shim(), &files, selected).await.map_err(|_| {
            Problem::new(
                Kind::BadProfile,
                format!("{} cannot be parsed", place(environment)),
                "mend the line that `aws configure list` complains of",
            )
        })?;
        Ok(Self::of(&set))
    }

    fn of(set: &ProfileSet) -> Self {
        let profile = set.selected_profile().to_owned();
        let mut names: Vec<String> = set.profiles().map(ToOwned::to_owned).collect();
        names.sort_unstable();
        let mut survey = Self {
            exists: set.get_profile(&profile).is_some(),
            names,
            region: set.get("region").map(ToOwned::to_owned),
            base: (profile.clone(), Base::Keys),
            roles: Vec::new(),
            mfa: None,
            token_file: None,
            profile,
        };
        survey.walk(set);
        survey
    }

    /// Follows `source_profile`. Whatever is wrong on the way is left for the SDK to find.
    fn walk(&mut self, set: &ProfileSet) {
        let mut visited: Vec<&str> = Vec::new();
        let mut name = set.selected_profile();
        while let Some(profile) = set.get_profile(name).filter(|_| !visited.contains(&name)) {
            visited.push(name);
            let keys =
                profile.get("aws_access_key_id").is_some() && profile.get("aws_secret_access_key").is_some();
            // Keys in a source profile win over everything else it says.
            if visited.len() > 1 && keys {
                self.base = (name.to_owned(), Base::Keys);
                return;
            }
            let role = profile.get("role_arn").filter(|_| profile.get("web_identity_token_file").is_none());
            let Some(arn) = role else {
                return self.end(profile);
            };
            self.roles.insert(
                0,
                Step {
                    arn: arn.to_owned(),
                    external_id: profile.get("external_id").map(ToOwned::to_owned),
                    session_name: profile.get("role_session_name").map(ToOwned::to_owned),
                },
            );
            if profile.get("mfa_serial").is_some() && self.mfa.is_none() {
                self.mfa = Some(name.to_owned());
            }
            match profile.get("source_profile") {
                Some(next) if next != name => name = next,
                _ => return self.end(profile),
            }
        }
    }

    fn end(&mut self, profile: &Profile) {
        let base = if profile.get("credential_source").is_some() {
            Base::Named
        } else if let Some(path) = profile.get("web_identity_token_file") {
            self.token_file = Some(path.into());
            Base::WebIdentity
        } else if ["sso_session", "sso_start_url", "sso_account_id"]
            .iter()
            .any(|key| profile.get(key).is_some())
        {
            Base::Sso
        } else if profile.get("login_session").is_some() {
            Base::Login
        } else if let Some(line) = profile.get("credential_process") {
            Base::Process(Command(line.to_owned()))
        } else {
            Base::Keys
        };
        self.base = (profile.name().to_owned(), base);
    }

    /// The problem of a profile that does not exist, with the names that do.
    pub fn missing(&self, name: &str, environment: &Environment) -> Problem {
        let message = format!("there is no profile `{name}` in {}", place(environment));
        if environment.config_file().is_none() {
            return Problem::new(
                Kind::NoHome,
                message,
                "HOME is not set, so ~/.aws cannot be found: set HOME, or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE",
            );
        }
        let nearest = self
            .names
            .iter()
            .map(|there| (strsim::damerau_levenshtein(there, name), there))
            .filter(|(distance, there)| *distance <= there.len().max(name.len()) / 2)
            .min();
        let hint = match (nearest, self.names.is_empty()) {
            (_, true) => "make it with `aws configure sso` or `aws configure`; in a container, mount ~/.aws and set HOME".to_owned(),
            (Some((_, near)), _) => format!("did you mean `{near}`? There are: {}", self.listed()),
            (None, _) => format!("there are: {}", self.listed()),
        };
        Problem::new(Kind::NoProfile, message, hint)
    }

    /// The names, shortened when there are many.
    pub fn listed(&self) -> String {
        const SHOWN: usize = 20;
        let mut text = self.names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        if self.names.len() > SHOWN {
            text.push_str(&format!(" and {} more", self.names.len() - SHOWN));
        }
        text
    }
}

/// The configuration file, as a person calls it.
pub(super) fn place(environment: &Environment) -> String {
    match environment.get("AWS_CONFIG_FILE") {
        Some(path) => path,
        None => "~/.aws/config".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Base, Kind, Survey};
    use crate::credentials::environment::Environment;

    const CONFIG: &str = "\
[profile dev]
sso_session = corp
sso_account_id = 111122223333
sso_role_name = dev
region = eu-west-1
[profile caller]
role_arn = arn:aws:iam::111122223333:role/outer
source_profile = middle
external_id = e
[profile middle]
role_arn = arn:aws:iam::111122223333:role/inner
source_profile = tool
[profile tool]
credential_process = /bin/tool --password hunter2
[profile code]
role_arn = arn:aws:iam::111122223333:role/outer
source_profile = dev
mfa_serial = arn:aws:iam::111122223333:mfa/ann
[profile ring]
role_arn = arn:aws:iam::111122223333:role/outer
source_profile = ring2
[profile ring2]
role_arn = arn:aws:iam::111122223333:role/outer
source_profile = ring
";

    async fn survey(profile: &str) -> Survey {
        let directory = tempdir("survey");
        let path = directory.join(profile);
        std::fs::write(&path, CONFIG).unwrap();
        let environment = Environment::of(&[
            ("AWS_CONFIG_FILE", path.to_str().unwrap()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/absent"),
        ]);
        Survey::read(&environment, Some(profile)).await.unwrap()
    }

    fn tempdir(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("countersign-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[tokio::test]
    async fn chains_are_followed_to_their_base() {
        let caller = survey("caller").await;
        let roles: Vec<_> = caller.roles.iter().map(|step| step.arn.rsplit('/').next().unwrap()).collect();
        assert_eq!(roles, ["inner", "outer"]);
        assert_eq!(caller.roles[1].external_id.as_deref(), Some("e"));
        assert_eq!(caller.base.0, "tool");
        assert!(
            matches!(&caller.base.1, Base::Process(line) if line.line() == "/bin/tool --password hunter2")
        );
        assert!(!format!("{caller:?}").contains("hunter2"));

        let dev = survey("dev").await;
        assert_eq!((dev.base.1, dev.region.as_deref()), (Base::Sso, Some("eu-west-1")));
        assert_eq!(survey("code").await.mfa.as_deref(), Some("code"));
        assert_eq!(survey("ring").await.roles.len(), 2, "a ring of profiles ends");
    }

    #[tokio::test]
    async fn a_missing_profile_is_named_with_the_nearest() {
        let absent = survey("midle").await;
        assert!(!absent.exists);
        let environment = Environment::of(&[("HOME", "/home/ann")]);
        let problem = absent.missing("midle", &environment);
        assert_eq!(problem.kind(), Kind::NoProfile);
        assert!(
            problem.message().contains("`midle`") && problem.message().contains("~/.aws/config"),
            "{problem}"
        );
        assert!(problem.hint().contains("did you mean `middle`?"), "{problem}");
        assert!(problem.hint().contains("caller, code, dev, middle, ring, ring2, tool"), "{problem}");
        let homeless = absent.missing("midle", &Environment::of(&[]));
        assert_eq!(homeless.kind(), Kind::NoHome);
    }

    #[tokio::test]
    async fn a_directory_in_place_of_a_file_is_a_problem() {
        let directory = tempdir("mounted");
        let environment = Environment::of(&[
            ("AWS_CONFIG_FILE", directory.to_str().unwrap()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/absent"),
        ]);
        let problem = Survey::read(&environment, None).await.unwrap_err();
        assert_eq!(problem.kind(), Kind::File);
        assert!(problem.hint().contains("is a directory"), "{problem}");
    }
}
