//! `User: ARN is not authorized to perform: ACTION on resource: ARN …`: who, what, and the policy that would allow it.
//!
//! The gateway masks the account of the resource, but for its last four digits. The signer's own account fits when it
//! ends in the same digits (STS tells it, or the text's own user); otherwise the API is another account's, and the mask
//! stays: its stars are wildcards to IAM.
//!
//! The text may be a backend's own, or a stranger's. Its words are told; a policy, which people paste, is made of them only
//! where it is for calling an API, of a resource in the very shape that AWS gives it.

use serde_json::{Value, json};

use super::{Diagnosis, facts::Facts};

/// A denial, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied<'t> {
    pub(super) user: &'t str,
    pub(super) action: &'t str,
    pub(super) resource: &'t str,
}

/// The part of `text` after `before`, whatever the case, up to white space.
fn word_after<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    let at = text.to_ascii_lowercase().find(before)? + before.len();
    text[at..].split_whitespace().next().map(|word| word.trim_end_matches(['.', ',']))
}

pub(super) fn read(text: &str) -> Option<Denied<'_>> {
    Some(Denied {
        user: word_after(text, "user:")?,
        action: word_after(text, "to perform:")?,
        resource: word_after(text, "on resource:").filter(|arn| arn.starts_with("arn:"))?,
    })
}

/// The account in an ARN.
pub(super) fn account(arn: &str) -> Option<&str> {
    let account = arn.split(':').nth(4)?;
    (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())).then_some(account)
}

/// The partition of a region.
pub(super) fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

/// `arn` with the masked account replaced, if one of `known` fits.
fn unmasked(arn: &str, known: [Option<&str>; 2]) -> String {
    let mut parts: Vec<&str> = arn.splitn(6, ':').collect();
    let Some(masked) = parts.get(4).copied() else { return arn.to_owned() };
    let shown = masked.trim_start_matches('*');
    let fits = |account: &&str| masked.len() == account.len() && account.ends_with(shown);
    if masked.starts_with('*')
        && let Some(account) = known.into_iter().flatten().find(fits)
    {
        parts[4] = account;
    }
    parts.join(":")
}

/// What a caller of an API has to be allowed.
const INVOKE: &str = "execute-api:Invoke";

/// The ARN of an API's method as a policy's resource that means it and nothing else: its path is no pattern, and of the
/// stars only those of a masked account are left. None for what is not of AWS's shape.
fn resource(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "execute-api", region, account, called] = parts[..] else { return None };
    let is = |text: &str, allowed: fn(u8) -> bool| !text.is_empty() && text.bytes().all(allowed);
    let is_place = |text| is(text, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let shown = account.trim_start_matches('*');
    let is_account = account.len() == 12 && shown.len() >= 4 && is(shown, |byte| byte.is_ascii_digit());
    let called: Vec<&str> = called.splitn(4, '/').collect();
    let [api, stage, method, path] = called[..] else { return None };
    let is_method = is_api(api) && is_stage(stage) && is(method, |byte| byte.is_ascii_uppercase());
    let is_path = path.is_empty() || is(path, |byte| byte.is_ascii_graphic());
    (partition.starts_with("aws")
        && is_place(partition)
        && is_place(region)
        && is_account
        && is_method
        && is_path)
        .then(|| {
            format!("arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/{method}/{}", literal(path))
        })
}

/// An API's id.
pub(super) fn is_api(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A stage's name.
fn is_stage(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    text == "$default" || (!text.is_empty() && text.bytes().all(is_word))
}

/// `text` as IAM's pattern that matches nothing else: `${*}` is a star, and so on (IAM user guide, "Policy elements:
/// Variables and tags").
#[must_use]
pub fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => out.extend(['$', '{', c, '}']),
            other => out.push(other),
        }
    }
    out
}

/// A policy with the one statement that allows to call `resource`.
pub(super) fn policy(resource: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": INVOKE, "Resource": resource }],
    })
}

/// Whom an ARN of a user, a role's session or a root names: `user/ann`. None for what is no such ARN.
fn whom(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "iam" | "sts", "", _, named] = parts[..] else { return None };
    let is_name = (1..=200).contains(&named.len()) && named.bytes().all(|byte| byte.is_ascii_graphic());
    (account(arn).is_some() && is_name).then_some(named)
}

pub(super) fn add(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let denied = read(&facts.text);
    let signer = facts.seen.identity_arn;
    // The text's own word goes before who signed: a backend may have been denied something, in its own name.
    let who = denied.as_ref().and_then(|denied| whom(denied.user)).or_else(|| signer.and_then(whom));
    if let Some(who) = who {
        diagnosis.title.push_str(&format!(" to {who}"));
    }
    let Some(denied) = denied else {
        if let Some(signer) = signer {
            diagnosis.why.push_str(&format!(" It was signed by {signer}, as STS says."));
        }
        return;
    };
    let (ours, users) = (facts.seen.identity_arn.and_then(account), account(denied.user));
    let resource = unmasked(denied.resource, [ours, users]);
    let whose = if denied.user.starts_with("arn:") { denied.user } else { "Whoever signed" };
    diagnosis.why.push_str(&format!(" {whose} may not perform {} on {resource}.", denied.action));
    if let Some(signer) = signer.filter(|signer| whom(denied.user).is_some() && *signer != denied.user) {
        diagnosis.why.push_str(&format!(
            " That is not who signed: STS says that the credentials are of {signer}. A backend that was denied something \
             in its own name answers like this."
        ));
    }
    let kind = diagnosis.rule;
    if kind != "explicit-deny-in-resource-policy"
        && let Some(which) = facts.lower.split("explicit deny in a").nth(1)
    {
        let which = which.trim_start_matches('n').trim();
        let named: Vec<_> = which.split_whitespace().take(4).collect();
        let end = named.iter().position(|word| word.trim_end_matches('.') == "policy" || *word == "boundary");
        if let Some(end) = end.filter(|_| kind == "explicit-deny") {
            let name = named[..=end].join(" ");
            diagnosis.why.push_str(&format!(" The text names the {}.", name.trim_end_matches('.')));
        }
    }
    let of_resource = account(&resource);
    if let (Some(signer), Some(owner)) = (ours.or(users), of_resource)
        && signer != owner
    {
        diagnosis.steps.push(format!(
            "The API is of the account {owner}, the signer of {signer}: both the signer's policy and the API's resource \
             policy have to allow it."
        ));
    } else if of_resource.is_none() && ours.or(users).is_some() {
        diagnosis.steps.push(
            "The API is of another account than the signer, and its id is masked: both the signer's policy and the API's \
             resource policy have to allow it."
                .to_owned(),
        );
    }
    let pasted = self::resource(&resource).filter(|_| denied.action.eq_ignore_ascii_case(INVOKE));
    diagnosis.policy = pasted.map(|resource| policy(&resource));
}

#[cfg(test)]
mod tests {
    use super::{resource, unmasked, whom};

    #[test]
    fn who_is_named_in_a_title_is_a_principal() {
        for (arn, named) in [
            ("arn:aws:iam::111122223333:user/team/ann", Some("user/team/ann")),
            ("arn:aws-cn:sts::111122223333:assumed-role/orders/me@x", Some("assumed-role/orders/me@x")),
            ("arn:aws:iam::111122223333:root", Some("root")),
            ("arn:aws:iam::********3333:user/ann", None),
            ("arn:aws:iam:us-east-1:111122223333:user/ann", None),
            ("arn:aws:s3::111122223333:bucket", None),
            ("arn:aws:iam::111122223333:", None),
            ("arn:aws:iam::111122223333:user/\u{1b}[2J", None),
            ("x", None),
        ] {
            assert_eq!(whom(arn), named, "{arn}");
        }
    }

    #[test]
    fn only_what_is_an_apis_method_goes_into_a_policy() {
        let whole = |account: &str, called: &str| format!("arn:aws:execute-api:us-east-1:{account}:{called}");
        for (arn, expected) in [
            (whole("111122223333", "abc1/prod/GET/a:b"), Some(whole("111122223333", "abc1/prod/GET/a:b"))),
            (whole("********3333", "abc1/$default/GET/"), Some(whole("********3333", "abc1/$default/GET/"))),
            (
                whole("111122223333", "abc1/prod/GET/*/${aws:username}/a?"),
                Some(whole("111122223333", "abc1/prod/GET/${*}/${$}{aws:username}/a${?}")),
            ),
            (whole("************", "abc1/prod/GET/a"), None),
            (whole("*********333", "abc1/prod/GET/a"), None),
            (whole("*", "abc1/prod/GET/a"), None),
            (whole("111122223333", "*/prod/GET/a"), None),
            (whole("111122223333", "abc1/*/GET/a"), None),
            (whole("111122223333", "abc1/prod/*/a"), None),
            (whole("111122223333", "abc1/prod/GET/\u{1b}[2J"), None),
            (whole("111122223333", "abc1/prod/GET/\u{9b}2J"), None),
            (whole("111122223333", "*"), None),
            ("arn:aws:execute-api:*:111122223333:abc1/prod/GET/a".to_owned(), None),
            ("arn:*:execute-api:us-east-1:111122223333:abc1/prod/GET/a".to_owned(), None),
            ("arn:aws:iam::123456789012:role/*".to_owned(), None),
            ("arn:aws:iam:us-east-1:123456789012:abc1/prod/GET/a".to_owned(), None),
            ("arn:x".to_owned(), None),
        ] {
            assert_eq!(resource(&arn), expected, "{arn}");
        }
    }

    #[test]
    fn the_masked_account_is_filled_in_only_when_its_digits_fit() {
        let arn = |account: &str| format!("arn:aws:execute-api:us-east-1:{account}:abc/prod/GET/a:b");
        for (masked, known, becomes) in [
            ("********3333", [Some("111122223333"), None], "111122223333"),
            ("********3333", [None, Some("111122223333")], "111122223333"),
            ("********3333", [Some("999988887777"), Some("111122223333")], "111122223333"),
            ("********3333", [Some("999988887777"), None], "********3333"),
            ("444455556666", [Some("111122223333"), None], "444455556666"),
        ] {
            assert_eq!(unmasked(&arn(masked), known), arn(becomes));
        }
        assert_eq!(unmasked("arn:x", [Some("111122223333"), None]), "arn:x");
    }
}
