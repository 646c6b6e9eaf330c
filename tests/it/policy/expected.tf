resource "aws_iam_policy" "countersign" {
  name = "countersign-invoke"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "InvokeOrders"
        Effect = "Allow"
        Action = "execute-api:Invoke"
        Resource = [
          "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/*/v1/files/*",
          "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/*/v1/items/*",
        ]
      },
      {
        Sid    = "InvokeStockCn"
        Effect = "Allow"
        Action = "execute-api:Invoke"
        Resource = [
          "arn:aws-cn:execute-api:cn-north-1:111122223333:def456/$default/GET/levels",
          "arn:aws-cn:execute-api:cn-north-1:111122223333:def456/$default/GET/levels/*",
          "arn:aws-cn:execute-api:cn-north-1:111122223333:def456/$default/PUT/levels",
        ]
      },
    ]
  })
}
