//! CloudFormation: a stack is made, changed and deleted, and says what happens to it.

use aws_sdk_cloudformation::{Client, types};

use super::{Account, Problem};

/// A stack as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its ARN, which stays when the name is used again.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `CREATE_COMPLETE`, `ROLLBACK_COMPLETE`, …
    pub status: String,
    /// Why it is so, where CloudFormation says it.
    pub reason: Option<String>,
    /// What the template's outputs come to, in its order.
    pub outputs: Vec<Output>,
}

/// An output of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `ApiGatewayUrl`
    pub key: String,
    /// Its value.
    pub value: String,
    /// What the template says of it.
    pub description: Option<String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is called in its service; an API key's and an API's is its id.
    pub physical_id: Option<String>,
    /// `AWS::ApiGateway::RestApi`
    pub kind: String,
    /// `CREATE_COMPLETE`, …
    pub status: String,
}

/// Something that happened to a resource of a stack, or to the stack itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unlike that of any other.
    pub id: String,
    /// The resource's name in the template; the stack's name for the stack itself.
    pub logical_id: String,
    /// What it is called in its service; the stack's ARN for the stack itself.
    pub physical_id: Option<String>,
    /// `AWS::ApiGateway::RestApi`; `AWS::CloudFormation::Stack`.
    pub kind: String,
    /// `CREATE_IN_PROGRESS`, `CREATE_FAILED`, …
    pub status: String,
    /// Why, mostly for what failed.
    pub reason: Option<String>,
}

/// How a template is made into a stack.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// YAML or JSON, at most 51200 bytes.
    pub body: &'a str,
    /// `CAPABILITY_IAM`, … that the person agreed to.
    pub capabilities: &'a [String],
    /// Parameters of the template.
    pub parameters: &'a [(String, String)],
    /// With which the calls' events are marked, and by which a call that is sent twice counts once.
    pub token: &'a str,
}

impl Stack {
    fn new(told: types::Stack) -> Self {
        let outputs = told.outputs.unwrap_or_default().into_iter().filter_map(|output| {
            Some(Output {
                key: output.output_key?,
                value: output.output_value?,
                description: output.description,
            })
        });
        Self {
            id: told.stack_id.unwrap_or_default(),
            name: told.stack_name.unwrap_or_default(),
            status: told.stack_status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            reason: told.stack_status_reason.filter(|reason| !reason.is_empty()),
            outputs: outputs.collect(),
        }
    }

    /// The value of this output.
    #[must_use]
    pub fn output(&self, key: &str) -> Option<&str> {
        self.outputs.iter().find(|output| output.key == key).map(|output| output.value.as_str())
    }
}

/// `DescribeStacks` of one, by name or ARN; `None` when there is none. Deleted ones are found by ARN alone.
///
/// # Errors
/// The call failed.
pub async fn stack(account: &Account, name: &str) -> Result<Option<Stack>, Problem> {
    let asked = Client::new(&account.config).describe_stacks().stack_name(name).send().await;
    match asked {
        Ok(told) => Ok(told.stacks.unwrap_or_default().into_iter().next().map(Stack::new)),
        Err(error) => {
            let problem = Problem::new(account, "cloudformation", "DescribeStacks", &error);
            // There is no code of its own for it: ValidationError, "Stack with id NAME does not exist".
            let absent = problem.said().is_some_and(|said| said.contains("does not exist"));
            if absent { Ok(None) } else { Err(problem) }
        }
    }
}

/// `DescribeStacks`, all of the region.
///
/// # Errors
/// The call failed.
pub async fn stacks(account: &Account) -> Result<Vec<Stack>, Problem> {
    let asked = Client::new(&account.config).describe_stacks().into_paginator().items().send();
    let told = asked.collect::<Result<Vec<_>, _>>().await;
    let told = told.map_err(|error| Problem::new(account, "cloudformation", "DescribeStacks", &error))?;
    Ok(told.into_iter().map(Stack::new).collect())
}

/// `DescribeStackResources` of one, by name or ARN.
///
/// # Errors
/// The call failed.
pub async fn resources(account: &Account, stack: &str) -> Result<Vec<Resource>, Problem> {
    let asked = Client::new(&account.config).describe_stack_resources().stack_name(stack).send().await;
    let told =
        asked.map_err(|error| Problem::new(account, "cloudformation", "DescribeStackResources", &error))?;
    let resources = told.stack_resources.unwrap_or_default().into_iter().map(|resource| Resource {
        logical_id: resource.logical_resource_id.unwrap_or_default(),
        physical_id: resource.physical_resource_id.filter(|id| !id.is_empty()),
        kind: resource.resource_type.unwrap_or_default(),
        status: resource.resource_status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
    });
    Ok(resources.collect())
}

/// `DescribeStackEvents`, newest first, up to the event `after`; all when that is `None`.
///
/// # Errors
/// The call failed.
pub async fn events(account: &Account, stack: &str, after: Option<&str>) -> Result<Vec<Event>, Problem> {
    let client = Client::new(&account.config);
    let (mut events, mut next) = (Vec::new(), None);
    loop {
        let asked = client.describe_stack_events().stack_name(stack).set_next_token(next).send().await;
        let told =
            asked.map_err(|error| Problem::new(account, "cloudformation", "DescribeStackEvents", &error))?;
        for event in told.stack_events.unwrap_or_default() {
            let id = event.event_id.unwrap_or_default();
            if after == Some(id.as_str()) {
                return Ok(events);
            }
            events.push(Event {
                id,
                logical_id: event.logical_resource_id.unwrap_or_default(),
                physical_id: event.physical_resource_id.filter(|id| !id.is_empty()),
                kind: event.resource_type.unwrap_or_default(),
                status: event.resource_status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
                reason: event.resource_status_reason.filter(|reason| !reason.is_empty()),
            });
        }
        next = told.next_token;
        if next.is_none() {
            return Ok(events);
        }
    }
}

/// `DescribeStackEvents`: the id of the newest one.
///
/// # Errors
/// The call failed.
pub async fn newest_event(account: &Account, stack: &str) -> Result<Option<String>, Problem> {
    let asked = Client::new(&account.config).describe_stack_events().stack_name(stack).send().await;
    let told =
        asked.map_err(|error| Problem::new(account, "cloudformation", "DescribeStackEvents", &error))?;
    Ok(told.stack_events.unwrap_or_default().into_iter().next().and_then(|event| event.event_id))
}

/// `CreateStack`; the new stack's ARN. It is made afterwards.
///
/// # Errors
/// The call failed.
pub async fn create(account: &Account, name: &str, template: Template<'_>) -> Result<String, Problem> {
    let asked = Client::new(&account.config)
        .create_stack()
        .stack_name(name)
        .template_body(template.body)
        .set_capabilities(capabilities(template))
        .set_parameters(parameters(template))
        .client_request_token(template.token)
        .send()
        .await;
    let told = asked.map_err(|error| Problem::new(account, "cloudformation", "CreateStack", &error))?;
    told.stack_id.ok_or_else(|| Problem::incomplete("cloudformation", "CreateStack", "the stack's id"))
}

/// `UpdateStack`; `false` when the stack is so already. It is changed afterwards.
///
/// # Errors
/// The call failed.
pub async fn update(account: &Account, name: &str, template: Template<'_>) -> Result<bool, Problem> {
    let asked = Client::new(&account.config)
        .update_stack()
        .stack_name(name)
        .template_body(template.body)
        .set_capabilities(capabilities(template))
        .set_parameters(parameters(template))
        .client_request_token(template.token)
        .send()
        .await;
    match asked {
        Ok(_) => Ok(true),
        Err(error) => {
            let problem = Problem::new(account, "cloudformation", "UpdateStack", &error);
            // There is no code of its own for it: ValidationError, "No updates are to be performed."
            let nothing = problem.said().is_some_and(|said| said.contains("No updates are to be performed"));
            if nothing { Ok(false) } else { Err(problem) }
        }
    }
}

/// `DeleteStack`, by name or ARN. It goes afterwards; one that is not there is no error.
///
/// # Errors
/// The call failed.
pub async fn delete(account: &Account, name: &str, token: &str) -> Result<(), Problem> {
    let client = Client::new(&account.config);
    let asked = client.delete_stack().stack_name(name).client_request_token(token).send().await;
    asked.map(drop).map_err(|error| Problem::new(account, "cloudformation", "DeleteStack", &error))
}

fn capabilities(template: Template<'_>) -> Option<Vec<types::Capability>> {
    let given = template.capabilities.iter().map(|name| types::Capability::from(name.as_str()));
    Some(given.collect::<Vec<_>>()).filter(|given| !given.is_empty())
}

fn parameters(template: Template<'_>) -> Option<Vec<types::Parameter>> {
    let given = template
        .parameters
        .iter()
        .map(|(key, value)| types::Parameter::builder().parameter_key(key).parameter_value(value).build());
    Some(given.collect::<Vec<_>>()).filter(|given| !given.is_empty())
}
