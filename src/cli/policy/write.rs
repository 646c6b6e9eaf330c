//! The policy as text: the document itself, a Terraform resource, TypeScript for the CDK.

use std::fmt::Write as _;

use serde::Serialize;

use super::parse::Format;

const ACTION: &str = "execute-api:Invoke";

/// Characters of a managed policy, white space not counted (IAM user guide, "IAM and AWS STS quotas").
const MOST: usize = 6144;

/// A policy document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

/// What is allowed at one stage.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    /// Letters and digits; no other statement of the policy has it.
    sid: String,
    effect: &'static str,
    action: &'static str,
    resource: Vec<String>,
    #[serde(skip)]
    stage: String,
}

impl Statement {
    pub(super) fn new(stage: &str, resource: Vec<String>) -> Self {
        let mut sid = "Invoke".to_owned();
        for word in stage.split(|c: char| !c.is_ascii_alphanumeric()) {
            let (first, rest) = word.split_at_checked(1).unwrap_or_default();
            sid.push_str(&first.to_ascii_uppercase());
            sid.push_str(rest);
        }
        Self { sid, effect: "Allow", action: ACTION, resource, stage: stage.to_owned() }
    }

    pub(super) fn is_of(&self, stage: &str) -> bool {
        self.stage == stage
    }

    pub(super) fn add(&mut self, resource: Vec<String>) {
        self.resource.extend(resource);
    }
}

impl Policy {
    pub(super) fn new(mut statement: Vec<Statement>) -> Self {
        for at in 1..statement.len() {
            let (before, rest) = statement.split_at_mut(at);
            let (wished, mut number) = (rest[0].sid.clone(), 1);
            while before.iter().any(|other| other.sid == rest[0].sid) {
                number += 1;
                rest[0].sid = format!("{wished}{number}");
            }
        }
        Self { version: "2012-10-17", statement }
    }

    /// What is to be said when IAM does not take it as one.
    pub(super) fn too_long(&self) -> Option<String> {
        let length = serde_json::to_string(self).map(|text| text.len()).unwrap_or_default();
        (length > MOST).then(|| {
            format!(
                "{length} characters, and a managed policy has at most {MOST}: split it, or name fewer and wider paths by routes"
            )
        })
    }

    pub(super) fn text(&self, format: Format) -> String {
        match format {
            Format::Json => serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default(),
            Format::Terraform => self.terraform(),
            Format::Cdk => self.cdk(),
        }
    }

    fn terraform(&self) -> String {
        let mut out = format!(
            "resource \"aws_iam_policy\" \"countersign\" {{\n  name = \"countersign-invoke\"\n  policy = jsonencode({{\n    \
             Version = \"{}\"\n    Statement = [\n",
            self.version
        );
        for one in &self.statement {
            // A text always takes what is written.
            let _ = write!(
                out,
                "      {{\n        Sid    = \"{}\"\n        Effect = \"{}\"\n        Action = \"{}\"\n        Resource = [\n",
                one.sid, one.effect, one.action
            );
            for resource in &one.resource {
                // Terraform's own "${" and "%{" are doubled (Terraform, "Strings and Templates").
                let text = quoted(resource).replace("${", "$${").replace("%{", "%%{");
                let _ = writeln!(out, "          {text},");
            }
            out.push_str("        ]\n      },\n");
        }
        out.push_str("    ]\n  })\n}\n");
        out
    }

    fn cdk(&self) -> String {
        let mut out = "import * as iam from \"aws-cdk-lib/aws-iam\";\n\nexport const countersignInvoke = [\n"
            .to_owned();
        for one in &self.statement {
            let _ = write!(
                out,
                "  new iam.PolicyStatement({{\n    sid: \"{}\",\n    effect: iam.Effect.ALLOW,\n    actions: [\"{}\"],\n    \
                 resources: [\n",
                one.sid, one.action
            );
            for resource in &one.resource {
                let _ = writeln!(out, "      {},", quoted(resource));
            }
            out.push_str("    ],\n  }),\n");
        }
        out.push_str("];\n");
        out
    }
}

/// In double quotes, as JSON, TypeScript and Terraform read it alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Format, Policy, Statement};

    #[test]
    fn names_of_statements_are_letters_and_digits_and_differ() {
        let of = |stage| Statement::new(stage, vec!["arn:x".to_owned()]);
        let policy = Policy::new(vec![of("orders"), of("my-orders.eu"), of("Orders"), of("orders_")]);
        let sids: Vec<_> = policy.statement.iter().map(|one| one.sid.as_str()).collect();
        assert_eq!(sids, ["InvokeOrders", "InvokeMyOrdersEu", "InvokeOrders2", "InvokeOrders3"]);
    }

    #[test]
    fn what_terraform_would_fill_in_is_doubled() {
        let policy = Policy::new(vec![Statement::new("a", vec!["x/${*}/%{if}\"".to_owned()])]);
        assert!(policy.text(Format::Terraform).contains(r#""x/$${*}/%%{if}\"","#));
        assert!(policy.text(Format::Cdk).contains(r#""x/${*}/%{if}\"","#));
    }

    #[test]
    fn what_iam_does_not_take_as_one_is_told() {
        let of = |count| Policy::new(vec![Statement::new("a", vec!["x".repeat(100); count])]);
        assert!(of(10).too_long().is_none() && of(70).too_long().is_some());
    }
}
