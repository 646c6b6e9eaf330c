//! `docs/diagnosis.md`, written from the table.

use std::fmt::Write as _;

use super::rules::{By, RULES, Rule, Text};

/// `docs/diagnosis.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Why the gateway refused\n\n<!-- Written from src/diagnosis/rules.rs by the tests; UPDATE_GENERATED=1 rewrites \
         it. -->\n\n\
         What API Gateway says when it refuses, what that means, and what to do. The inspector and `countersign explain\n\
         --against` read answers by this table. A text is looked for in the body, in any case, whether the body is JSON or\n\
         not; an answer whose text the API's owner has reworded is told by its type (`x-amzn-errortype`). Refusals of the\n\
         proxy's own are in [errors.md](errors.md).\n\n\
         Where a policy denies, and where an HTTP API does not say why, they ask STS whose the credentials are: the title\n\
         names who was denied, and the policy has the account that the gateway masks.\n\n\
         An HTTP API answers every refusal by IAM with `Forbidden` alone; a REST API says why.\n",
    );
    for rule in RULES {
        section(&mut out, rule);
    }
    out
}

fn section(out: &mut String, rule: &Rule) {
    let _ = write!(out, "\n## {}\n\n**{}.**\n\n", rule.id, rule.title);
    let by = match rule.by {
        By::Rest => "a REST API",
        By::Http => "an HTTP API",
        By::Any => "either kind of API, or what stands in front of it",
    };
    let _ = write!(out, "Said by {by}");
    let mut told = Vec::new();
    for text in rule.texts {
        told.push(match text {
            Text::Has(phrase) => format!("the text has `{phrase}`"),
            Text::Is(whole) => format!("the text is `{whole}`"),
        });
    }
    told.extend(rule.types.iter().map(|kind| format!("the type is `{kind}`")));
    told.extend(rule.status.map(|status| format!("the status is {status}")));
    let _ = write!(out, ". Told by: {}", told.join(", or "));
    if !rule.only.is_empty() {
        let _ = write!(out, "; only when {}", rule.only);
    }
    let _ = write!(out, ".\n\n{}\n\n", rule.why);
    for (index, step) in rule.steps.iter().enumerate() {
        let _ = writeln!(out, "{}. {step}", index + 1);
    }
    if !rule.excluded.is_empty() {
        out.push_str("\nIt is not:\n\n");
        for text in rule.excluded {
            let _ = writeln!(out, "- {text}");
        }
    }
}
