//! `User: ARN is not authorized to perform: ACTION on resource: ARN …`: who, what, and the policy that would allow it.
//!
//! The gateway masks the account of the resource, but for its last four digits. The signer's own account fits when it
//! ends in the same digits (STS tells it, or the text's own user); otherwise the API is another account's, and the mask
//! stays: its stars are wildcards to IAM.

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

/// A policy with the one statement that allows `action` on `resource`.
pub(super) fn policy(action: &str, resource: &Value) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": action, "Resource": resource }],
    })
}

pub(super) fn add(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let Some(denied) = read(&facts.text) else { return };
    let (ours, users) = (facts.seen.identity_arn.and_then(account), account(denied.user));
    let resource = unmasked(denied.resource, [ours, users]);
    let whose = if denied.user.starts_with("arn:") { denied.user } else { "Whoever signed" };
    diagnosis.why.push_str(&format!(" {whose} may not perform {} on {resource}.", denied.action));
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
    diagnosis.policy = Some(policy(denied.action, &json!(resource)));
}

#[cfg(test)]
mod tests {
    use super::unmasked;

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
