"""What botocore signs, step by step, to hold `countersign explain` against.

Reads one JSON object a line from standard input and writes one a line to standard output, in the same order:

    in   {"method", "target", "headers": [["name", "value"], ...] (those that are signed), "timestamp", "body_sha256",
          "region", "service", "access_key", "secret"}
    out  {"canonical_request", "string_to_sign", "signature"}
"""

import json
import sys

from botocore.credentials import Credentials

from verify_botocore import Verifier, recompute

for line in sys.stdin:
    case = json.loads(line)
    signer = Verifier(Credentials(case["access_key"], case["secret"]), case["service"], case["region"])
    canonical, to_sign, signature = recompute(
        case["method"], case["target"], case["headers"], case["timestamp"], case["body_sha256"], signer
    )
    print(json.dumps({"canonical_request": canonical, "string_to_sign": to_sign, "signature": signature}))
