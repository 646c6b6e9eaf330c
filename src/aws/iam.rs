//! IAM: what the caller's policies would say. They alone are judged: a resource policy must be handed in, and what an
//! organisation forbids is judged only where the simulation may read it (IAM API reference, SimulatePrincipalPolicy).

use aws_sdk_iam::{Client, types::PolicyEvaluationDecisionType};

use super::{Account, Problem};

/// What would be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement allows it.
    ImplicitDeny,
}

/// What would be decided of one action on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `execute-api:Invoke`
    pub action: String,
    /// The resource's ARN.
    pub resource: String,
    /// What would be decided.
    pub decision: Decision,
    /// The policies whose statements decided.
    pub policies: Vec<String>,
}

/// `GetRole`: the ARN of a role by its name, with its path.
///
/// # Errors
/// The call failed; asking needs `iam:GetRole`.
pub async fn role_arn(account: &Account, name: &str) -> Result<String, Problem> {
    let asked = Client::new(&account.config).get_role().role_name(name).send().await;
    let told = asked.map_err(|error| Problem::new(account, "iam", "GetRole", &error))?;
    told.role.map(|role| role.arn).ok_or_else(|| Problem::incomplete("iam", "GetRole", "a role"))
}

/// `SimulatePrincipalPolicy` of one action on these resources for `principal`: the ARN of a user or role (of an assumed
/// role's session it is the role's that is wanted).
///
/// # Errors
/// The call failed; asking needs `iam:SimulatePrincipalPolicy`.
pub async fn simulate(
    account: &Account,
    principal: &str,
    action: &str,
    resources: &[String],
    resource_policy: Option<&str>,
) -> Result<Vec<Verdict>, Problem> {
    let client = Client::new(&account.config);
    let (mut verdicts, mut marker) = (Vec::new(), None);
    loop {
        let asked = client
            .simulate_principal_policy()
            .policy_source_arn(principal)
            .action_names(action)
            .set_resource_arns(Some(resources.to_vec()))
            .set_resource_policy(resource_policy.map(str::to_owned))
            .set_caller_arn(resource_policy.map(|_| principal.to_owned()))
            .set_marker(marker)
            .send()
            .await;
        let told = asked.map_err(|error| Problem::new(account, "iam", "SimulatePrincipalPolicy", &error))?;
        for result in told.evaluation_results.unwrap_or_default() {
            let decision = match result.eval_decision {
                PolicyEvaluationDecisionType::Allowed => Decision::Allowed,
                PolicyEvaluationDecisionType::ExplicitDeny => Decision::ExplicitDeny,
                _ => Decision::ImplicitDeny,
            };
            let statements = result.matched_statements.unwrap_or_default();
            verdicts.push(Verdict {
                action: result.eval_action_name,
                resource: result.eval_resource_name.unwrap_or_default(),
                decision,
                policies: statements.into_iter().filter_map(|statement| statement.source_policy_id).collect(),
            });
        }
        marker = told.marker.filter(|_| told.is_truncated);
        if marker.is_none() {
            return Ok(verdicts);
        }
    }
}
