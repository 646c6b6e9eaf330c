//! What a rule adds for one exchange: the names and times of the answer, and what can be ruled out.

use super::{
    Diagnosis, RouteAuth, denial,
    facts::{Facts, amz_date, in_words, seconds_between},
    mismatch,
};

/// What a rule of the table has in its last column.
pub(super) type Add = fn(&Facts<'_>, &mut Diagnosis);

/// By how many seconds a gateway lets dates differ from its clock.
pub(super) const TOLERANCE: i64 = 300;

fn say(diagnosis: &mut Diagnosis, sentence: &str) {
    diagnosis.why.push(' ');
    diagnosis.why.push_str(sentence);
}

fn first(diagnosis: &mut Diagnosis, step: String) {
    diagnosis.steps.insert(0, step);
}

fn rule_out(diagnosis: &mut Diagnosis, text: impl Into<String>) {
    diagnosis.excluded.push(text.into());
}

pub(super) const fn nothing(_: &Facts<'_>, _: &mut Diagnosis) {}

/// The first text between single quotes in `text` after `before` (in lower case, as is `lower`).
fn quoted<'t>(text: &'t str, lower: &str, before: &str) -> Option<&'t str> {
    let after = lower.find(before)? + before.len();
    let (quoted, _) = text.get(after..)?.split_once('\'')?.1.split_once('\'')?;
    Some(quoted).filter(|quoted| !quoted.is_empty())
}

fn asked(facts: &Facts<'_>) -> String {
    format!("{} {}", facts.seen.method, facts.seen.path)
}

pub(super) fn not_signed(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    say(diagnosis, &format!("It was asked for {}.", asked(facts)));
    if matches!(facts.seen.route_auth, Some(RouteAuth::None | RouteAuth::ApiKey)) {
        say(diagnosis, "The route's auth has the proxy send it unsigned.");
    }
}

pub(super) fn unknown_route(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    say(diagnosis, &format!("It was asked for {}.", asked(facts)));
    let path = facts.seen.path;
    if path.len() > 1 && path.ends_with('/') {
        first(diagnosis, format!("Try it without the slash at the end: {}", path.trim_end_matches('/')));
    }
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    if let (Some(stage), Some(again)) = (segments.next(), segments.next())
        && stage == again
    {
        first(
            diagnosis,
            format!(
                "The path begins with /{stage} twice: the stage's url has it already, so ask for the rest alone."
            ),
        );
    }
}

pub(super) fn missing_parts(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let missing: Vec<_> = ["Credential", "Signature", "SignedHeaders", "X-Amz-Date"]
        .into_iter()
        .filter(|part| facts.text.contains(&format!("'{part}'")))
        .collect();
    if !missing.is_empty() {
        say(diagnosis, &format!("Missing: {}.", missing.join(", ")));
    }
}

pub(super) fn wrong_scope(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let (text, lower) = (&facts.text, &facts.lower);
    let ours = facts.seen.ours;
    if let Some(region) = quoted(text, lower, "valid region, not").or(ours.map(|ours| ours.region))
        && lower.contains("valid region")
    {
        say(diagnosis, &format!("It was signed for the region {region}."));
        let wanted = quoted(text, lower, "expecting").or(facts.invoked().map(|(_, region)| region));
        if let Some(wanted) = wanted.filter(|wanted| *wanted != region) {
            first(diagnosis, format!("Set region = \"{wanted}\" on the stage: that is the API's."));
        }
    }
    if let Some(service) = quoted(text, lower, "correct service:") {
        let signed = ours.map(|ours| format!(", and it was signed for {}", ours.service)).unwrap_or_default();
        say(diagnosis, &format!("The gateway names the service {service}{signed}."));
        first(diagnosis, format!("Set service = \"{service}\" on the stage."));
    }
}

/// From `Signature expired: SIGNED is now earlier than BOUND (NOW - 5 min.)`.
pub(super) fn skew(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let words = facts.text.split(|c: char| !c.is_ascii_alphanumeric());
    let mut dates = words.filter_map(|word| amz_date(&word.to_ascii_uppercase()));
    let (signed, now) = (dates.next(), dates.nth(1));
    if let (Some(signed), Some(now)) = (signed, now) {
        let late = seconds_between(now, signed);
        let by = in_words(late.unsigned_abs());
        let side = if late >= 0 { "behind" } else { "ahead of" };
        say(diagnosis, &format!("The signature's date is {by} {side} the gateway's clock."));
    }
    if facts.seen.clock_offset != 0 {
        let by = in_words(facts.seen.clock_offset.unsigned_abs());
        say(
            diagnosis,
            &format!("The proxy had already shifted its time by {by}, as the gateway said before."),
        );
    }
}

pub(super) fn access_key(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let Some(ours) = facts.seen.ours else { return };
    let token = facts.signed_header("x-amz-security-token").is_some();
    let with = if token { "with" } else { "without" };
    say(diagnosis, &format!("The access key was {}, {with} a session token.", ours.access_key_id));
}

/// What a signature hangs on beside the secret, as far as it can be judged from here.
pub(super) fn clock_and_scope(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let Some(ours) = facts.seen.ours else { return };
    if let Some(skew) = facts.skew() {
        if skew.abs() <= TOLERANCE {
            let by = in_words(skew.unsigned_abs());
            rule_out(
                diagnosis,
                format!("The clock: the answer's Date is {by} from the date that was signed."),
            );
        } else {
            let by = in_words(skew.unsigned_abs());
            let side = if skew > 0 { "behind" } else { "ahead of" };
            say(diagnosis, &format!("The date that was signed is {by} {side} the Date of the answer."));
        }
    }
    match facts.invoked() {
        Some((_, region)) if region == ours.region => {
            rule_out(
                diagnosis,
                format!("The region: the host's name has {region}, and so has the signature."),
            );
        }
        Some((_, region)) => {
            say(
                diagnosis,
                &format!("The host's name has the region {region}, and the signature has {}.", ours.region),
            );
            first(diagnosis, format!("Set region = \"{region}\" on the stage."));
        }
        None => {}
    }
    if facts.invoked().is_some() && ours.service == "execute-api" {
        rule_out(diagnosis, "The service: it is execute-api, as for all API Gateway APIs.");
    }
}

pub(super) fn mismatch(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    mismatch::add(facts, diagnosis);
}

pub(super) fn denial(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    denial::add(facts, diagnosis);
}

pub(super) fn anonymous(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    if let Some(denied) = denial::read(&facts.text) {
        say(diagnosis, &format!("It was asked for {} on {}.", denied.action, denied.resource));
    }
    rule_out(diagnosis, "The credentials: none were sent.");
}

pub(super) fn forbidden(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    if facts.seen.signed {
        rule_out(
            diagnosis,
            "The signature, its date, the credentials and the permission: a REST API checks them before the key, and says \
             what is wrong with them in other words.",
        );
    } else {
        rule_out(diagnosis, "A missing signature: a REST API would say Missing Authentication Token.");
    }
    rule_out(diagnosis, "Throttling and quota: they are answered with 429.");
}

pub(super) fn http_api(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    if facts.seen.signed {
        rule_out(diagnosis, "A missing signature: the request was signed.");
    }
    clock_and_scope(facts, diagnosis);
    rule_out(diagnosis, "An API key: HTTP APIs have none.");
    rule_out(diagnosis, "An unknown route: that is answered with 404 Not Found.");
    if let (true, Some((api, region))) = (facts.seen.signed, facts.invoked())
        && diagnosis.rule == "http-api-forbidden"
    {
        let partition = denial::partition(region);
        let account = facts.seen.identity_arn.and_then(denial::account).unwrap_or("*");
        if let Some(signer) = facts.seen.identity_arn {
            say(diagnosis, &format!("It was signed by {signer}, as STS says."));
            diagnosis.steps.retain(|step| !step.contains("aws sts get-caller-identity"));
        }
        let method = facts.seen.method;
        if denial::is_api(api) && method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let resource = format!("arn:{partition}:execute-api:{region}:{account}:{api}/*/{method}/*");
            diagnosis.policy = Some(denial::policy(&resource));
        }
    }
}
