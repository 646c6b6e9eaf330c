import * as iam from "aws-cdk-lib/aws-iam";

export const countersignInvoke = [
  new iam.PolicyStatement({
    sid: "InvokeOrders",
    effect: iam.Effect.ALLOW,
    actions: ["execute-api:Invoke"],
    resources: [
      "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/*/v1/files/*",
      "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/*/v1/items/*",
    ],
  }),
  new iam.PolicyStatement({
    sid: "InvokeStockCn",
    effect: iam.Effect.ALLOW,
    actions: ["execute-api:Invoke"],
    resources: [
      "arn:aws-cn:execute-api:cn-north-1:111122223333:def456/$default/GET/levels",
      "arn:aws-cn:execute-api:cn-north-1:111122223333:def456/$default/GET/levels/*",
      "arn:aws-cn:execute-api:cn-north-1:111122223333:def456/$default/PUT/levels",
    ],
  }),
];
