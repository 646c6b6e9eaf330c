"""Reads Terraform's language from standard input, and prints the policy of the one `aws_iam_policy` in it as JSON.

The parser is python-hcl2's; what it leaves is the expression within jsonencode, whose keys get their quotes here.
"""

import io
import json
import re
import sys

import hcl2

(resource,) = hcl2.load(io.StringIO(sys.stdin.read()))["resource"]
(by_name,) = resource.values()
(policy,) = by_name.values()
expression = policy["policy"].removeprefix("${jsonencode(").removesuffix(")}")
# In Terraform `$${` is `${`.
print(json.dumps(json.loads(re.sub(r"([{,] ?)(\w+) = ", r'\1"\2": ', expression).replace("$${", "${"))))
