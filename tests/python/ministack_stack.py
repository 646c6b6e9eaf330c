"""Puts the three-route stack and its callers into a running ministack, and takes them out again.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py deploy    prints what it made as one JSON object
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py delete
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py allow POLICY    gives the stranger this policy, or takes it away when it is empty
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py prove     deploys, calls, compares, deletes
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py people    makes who may deploy, and who may not
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py retire    takes the leaver's key away
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py keep      keeps the deployed stack's key in other places
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py rotate    replaces that key by another, there too
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py http      makes an HTTP API, and prints its id
    AWS_ENDPOINT_URL=http://127.0.0.1:PORT ministack_stack.py second    gives the stack a second key, and a stage beta; prints the key's id

`deploy` prints

    {"api_id", "url", "api_key_id", "api_key", "region",
     "caller": {"arn", "access_key", "secret"},      a user with execute-api:Invoke on the three routes and nothing else
     "stranger": {"arn", "access_key", "secret"},    a user that may call nothing
     "assumer": {"arn", "access_key", "secret"},     a user that may assume the role and nothing else
     "role_arn"}                                     a role with the caller's permission, assumable by caller and assumer

`people` prints

    {"visitor": {…},     a user that may do nothing
     "deployer": {…},    a user that may assume the role and nothing else
     "leaver": {…},      a user that may do everything, until it is retired
     "role_arn"}         a role that may do everything

`prove` is the proof that ministack is worth asking: it calls with requests signed by botocore, right and wrong ones. With
AUTH=true, 1.5.33 answers (`x-amzn-requestid` left out):

    unsigned, IAM route          403, MissingAuthenticationTokenException, {"message":"Missing Authentication Token"}
    no key or a wrong one        403, no x-amzn-errortype, {"message":"Forbidden"}
    wrong secret                 403, InvalidSignatureException, AWS's sentence without the canonical string
    session key without token    403, UnrecognizedClientException
    user without permission      403, AccessDeniedException, application/x-amz-json-1.0, {"__type", "message"}: AWS's
                                 sentence without the resource's ARN
    wrong region in the scope    the same: the region only changes the ARN that the policy is held against
    wrong service in the scope   200: unchecked
"""

import json
import os
import pathlib
import sys

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

ACCOUNT = "000000000000"
STACK = "AuthAPIStack"
ROUTES = ("/auth/api-key", "/auth/iam-sigv4", "/auth/iam-sigv4-and-api-key")
USERS = ("caller", "stranger", "assumer")
ROLE = "caller-role"
TEMPLATE = pathlib.Path(__file__).parent.parent.parent / "config" / "cloudformation.yaml"


def endpoint():
    return os.environ["AWS_ENDPOINT_URL"].rstrip("/")


def region():
    return os.environ.get("AWS_REGION", "us-west-2")


def client(service):
    """A client for the emulator as its root, whose fixed credentials are test and test."""
    return boto3.client(
        service,
        endpoint_url=endpoint(),
        region_name=region(),
        aws_access_key_id="test",
        aws_secret_access_key="test",
        # One try: against loopback a second one hides a fault.
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60),
    )


def policy(action, resource):
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    )


def deploy():
    cloudformation = client("cloudformation")
    cloudformation.create_stack(StackName=STACK, TemplateBody=TEMPLATE.read_text())
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    api_id = outputs["ApiGatewayUrl"].split("//")[1].split(".")[0]
    api_key = client("apigateway").get_api_key(apiKey=outputs["ApiKeyId"], includeValue=True)["value"]

    iam = client("iam")
    invoke = policy(
        "execute-api:Invoke",
        [f"arn:aws:execute-api:{region()}:{ACCOUNT}:{api_id}/prod/GET{route}" for route in ROUTES],
    )
    made = {}
    for name in USERS:
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made[name] = {"arn": arn, "access_key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    iam.put_user_policy(UserName="caller", PolicyName="invoke", PolicyDocument=invoke)

    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"AWS": [made["caller"]["arn"], made["assumer"]["arn"]]},
            }
        ],
    }
    role_arn = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=ROLE, PolicyName="invoke", PolicyDocument=invoke)
    iam.put_user_policy(UserName="assumer", PolicyName="assume", PolicyDocument=policy("sts:AssumeRole", role_arn))

    port = endpoint().rsplit(":", 1)[1]
    return {
        "api_id": api_id,
        # ministack takes calls under this name; the stack's own output names the host that AWS would serve.
        "url": f"http://{api_id}.execute-api.localhost:{port}/prod",
        "api_key_id": outputs["ApiKeyId"],
        "api_key": api_key,
        "region": region(),
        "role_arn": role_arn,
        **made,
    }


def allow(document):
    iam = client("iam")
    if document:
        iam.put_user_policy(UserName="stranger", PolicyName="given", PolicyDocument=document)
    else:
        iam.delete_user_policy(UserName="stranger", PolicyName="given")


def people():
    iam = client("iam")
    made = {}
    for name in ("visitor", "deployer", "leaver"):
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made[name] = {"arn": arn, "access_key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": made["deployer"]["arn"]}}
        ],
    }
    role_arn = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="deploy", PolicyName="all", PolicyDocument=policy("*", "*"))
    iam.put_user_policy(UserName="deployer", PolicyName="assume", PolicyDocument=policy("sts:AssumeRole", role_arn))
    iam.put_user_policy(UserName="leaver", PolicyName="all", PolicyDocument=policy("*", "*"))
    return {"role_arn": role_arn, **made}


def retire():
    iam = client("iam")
    for key in iam.list_access_keys(UserName="leaver")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="leaver", AccessKeyId=key["AccessKeyId"])


def keep():
    """As a secret, as a part of one, and as a parameter."""
    key = client("apigateway").get_api_key(apiKey=key_id(), includeValue=True)["value"]
    secrets = client("secretsmanager")
    secrets.create_secret(Name="orders/whole", SecretString=key)
    secrets.create_secret(Name="orders", SecretString=json.dumps({"user": "ann", "api-key": key}))
    client("ssm").put_parameter(Name="/orders/api-key", Value=key, Type="SecureString")


def rotate():
    gateway = client("apigateway")
    plan = gateway.get_usage_plans()["items"][0]["id"]
    made = gateway.create_api_key(name="rotated", enabled=True)
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=made["id"], keyType="API_KEY")
    gateway.delete_api_key(apiKey=key_id())
    key = gateway.get_api_key(apiKey=made["id"], includeValue=True)["value"]
    client("secretsmanager").put_secret_value(
        SecretId="orders", SecretString=json.dumps({"user": "ann", "api-key": key})
    )


def key_id():
    stack = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return next(output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "ApiKeyId")


def http():
    gateway = client("apigatewayv2")
    api = gateway.create_api(Name="orders-http", ProtocolType="HTTP")["ApiId"]
    for key, authorization in (
        ("GET /orders/{id}", "AWS_IAM"),
        ("POST /orders", "AWS_IAM"),
        ("GET /status", "NONE"),
        ("ANY /public/{proxy+}", "NONE"),
        ("GET /mixed", "NONE"),
        ("POST /mixed", "AWS_IAM"),
    ):
        gateway.create_route(ApiId=api, RouteKey=key, AuthorizationType=authorization)
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    chat = gateway.create_api(
        Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    gateway.create_stage(ApiId=chat, StageName="prod")
    return {"api_id": api, "websocket_api_id": chat}


def second():
    gateway = client("apigateway")
    plan = gateway.get_usage_plans()["items"][0]["id"]
    key = gateway.create_api_key(name="second", enabled=True)["id"]
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    api = gateway.get_rest_apis()["items"][0]["id"]
    deployment = gateway.get_deployments(restApiId=api)["items"][0]["id"]
    gateway.create_stage(restApiId=api, stageName="beta", deploymentId=deployment)
    return {"id": key}


def delete():
    iam = client("iam")
    for name in USERS:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for inline in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=inline)
        iam.delete_user(UserName=name)
    for inline in iam.list_role_policies(RoleName=ROLE)["PolicyNames"]:
        iam.delete_role_policy(RoleName=ROLE, PolicyName=inline)
    iam.delete_role(RoleName=ROLE)
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def call(stack, route, user=None, api_key=None, token=None, signing_region=None, service="execute-api"):
    """GET a route, signed by botocore as `user` when there is one: the answer's status, error type and text."""
    url = stack["url"] + route
    host = url.split("/")[2]
    request = AWSRequest(method="GET", url=url, headers={"Host": host})
    if api_key:
        request.headers["x-api-key"] = api_key
    if user:
        credentials = Credentials(user["access_key"], user["secret"], token)
        SigV4Auth(credentials, service, signing_region or stack["region"]).add_auth(request)
    # *.localhost need not resolve; the name is in Host.
    answer = requests.get(endpoint() + "/prod" + route, headers=dict(request.headers.items()), timeout=30)
    return answer.status_code, answer.headers.get("x-amzn-errortype"), answer.text


def prove():
    stack = deploy()
    key = stack["api_key"]
    caller, stranger, assumer = (stack[name] for name in USERS)
    keyed, signed, both = ROUTES

    session = boto3.client(
        "sts",
        endpoint_url=endpoint(),
        region_name=region(),
        aws_access_key_id=assumer["access_key"],
        aws_secret_access_key=assumer["secret"],
    ).assume_role(RoleArn=stack["role_arn"], RoleSessionName="proof")["Credentials"]
    role = {"access_key": session["AccessKeyId"], "secret": session["SecretAccessKey"]}
    token = session["SessionToken"]

    wrong_secret = caller | {"secret": "wrong"}
    expectations = [
        ("unsigned, keyed route", 403, call(stack, keyed)),
        ("unsigned, signed route", 403, call(stack, signed)),
        ("unsigned, both", 403, call(stack, both)),
        ("unsigned with key, both", 403, call(stack, both, api_key=key)),
        ("key alone", 200, call(stack, keyed, api_key=key)),
        ("wrong key", 403, call(stack, keyed, api_key="wrong" * 8)),
        ("signature alone", 200, call(stack, signed, caller)),
        ("signature without key, both", 403, call(stack, both, caller)),
        ("signature and key, keyed route", 200, call(stack, keyed, caller, key)),
        ("signature and key, signed route", 200, call(stack, signed, caller, key)),
        ("signature and key, both", 200, call(stack, both, caller, key)),
        ("wrong secret", 403, call(stack, signed, wrong_secret)),
        ("no permission", 403, call(stack, signed, stranger)),
        ("no permission, with key", 403, call(stack, both, stranger, key)),
        ("may only assume the role", 403, call(stack, signed, assumer)),
        ("assumed role", 200, call(stack, signed, role, token=token)),
        ("assumed role and key", 200, call(stack, both, role, key, token=token)),
        ("assumed role without its token", 403, call(stack, signed, role)),
        ("another region", 403, call(stack, signed, caller, signing_region="eu-central-1")),
        ("another service", 200, call(stack, signed, caller, service="s3")),
    ]
    wrong = 0
    for what, status, (got, errortype, text) in expectations:
        good = got == status and (status != 200 or json.loads(text) == {"message": "success"})
        wrong += not good
        print(f"{'ok ' if good else 'NOT'} {what}: {got} {errortype or ''} {text[:160]}")
    delete()
    if wrong:
        sys.exit(f"{wrong} of {len(expectations)} answers are not as expected")


if __name__ == "__main__":
    if sys.argv[1:] == ["deploy"]:
        print(json.dumps(deploy()))
    elif sys.argv[1:2] == ["allow"] and len(sys.argv) == 3:
        allow(sys.argv[2])
    elif sys.argv[1:] == ["delete"]:
        delete()
    elif sys.argv[1:] == ["people"]:
        print(json.dumps(people()))
    elif sys.argv[1:] == ["retire"]:
        retire()
    elif sys.argv[1:] == ["keep"]:
        keep()
    elif sys.argv[1:] == ["rotate"]:
        rotate()
    elif sys.argv[1:] == ["http"]:
        print(json.dumps(http()))
    elif sys.argv[1:] == ["second"]:
        print(json.dumps(second()))
    elif sys.argv[1:] == ["prove"]:
        prove()
    else:
        sys.exit(__doc__)
