"""Checks signatures with botocore, the signer of AWS's own Python SDK.

Reads one JSON object a line from standard input and writes one a line to standard output, in the same order:

    in   {"id": any, "method": "GET", "target": WIRE, "headers": [["name", WIRE], ...], "body": WIRE,
          "region": "...", "service": "...", "access_key": "...", "secret": "...", "token": "..." or null}
    out  {"id": any, "ok": true or false, "detail": "why not"}

WIRE is bytes as they were on the wire, each written as the character of the same number (ISO 8859-1). `target` is the
request target of the request line, `headers` are in wire order. Instead of `body` there may be `body_sha256`, in hex,
for bodies too large to pass around.

The canonical request, the string to sign and the signature are botocore's (`SigV4Auth`), recomputed from the wire.
botocore as a signer signs nearly every header; as a verifier here it is given those that SignedHeaders names. What a
verifier must ask beyond that (is what must be signed signed, is there one Authorization, does the hash of the body
agree with the one declared) is asked in `verify`.

`--self-test` checks the checker: AWS's published vectors in tests/vectors pass, and each tampered with is refused.
"""

import hashlib
import json
import pathlib
import re
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9!#$%&'*+.^_`|~;-]+), ?Signature=([0-9a-f]{64})"
)
TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")


class Refused(Exception):
    """The request's signature does not hold; the text says why."""


class Verifier(SigV4Auth):
    """botocore's signer for a body of which only the hash is at hand."""

    def payload(self, request):
        return request.context["payload_sha256"]


def require(condition, detail):
    if not condition:
        raise Refused(detail)


def text(wire):
    """What is signed: the bytes of the wire read as UTF-8."""
    return wire.encode("latin-1").decode("utf-8")


def recompute(method, target, headers, timestamp, payload_sha256, signer):
    """Canonical request, string to sign and signature of a request with exactly these signed headers."""
    # The name in the URL is not signed: `host` is among the headers. A fixed one keeps Python's own host rules out.
    request = AWSRequest(method=method, url="https://stage.invalid" + target)
    for name, value in headers:
        request.headers[name] = value  # botocore's headers are a multimap: this appends
    request.context["timestamp"] = timestamp
    request.context["payload_sha256"] = payload_sha256
    canonical = signer.canonical_request(request)
    to_sign = signer.string_to_sign(request, canonical)
    return canonical, to_sign, signer.signature(to_sign, request)


def verify(case):
    """Raises Refused unless the signature on the wire is the one that botocore computes."""
    headers = [(name.lower(), value) for name, value in case["headers"]]
    sent = {}
    for name, value in headers:
        sent.setdefault(name, []).append(value)

    def single(name):
        values = sent.get(name, [])
        require(len(values) == 1, f"{len(values)} headers {name}")
        return text(values[0])

    parts = AUTHORIZATION.fullmatch(single("authorization"))
    require(parts, f"malformed Authorization: {single('authorization')}")
    access_key, date, region, service, signed_headers, signature = parts.groups()
    timestamp = single("x-amz-date")
    require(TIMESTAMP.fullmatch(timestamp), f"malformed x-amz-date: {timestamp}")
    require(date == timestamp[:8], f"scope is of {date}, x-amz-date is {timestamp}")
    scope = (access_key, region, service)
    expected = (case["access_key"], case["region"], case["service"])
    require(scope == expected, f"scope is {scope}, expected {expected}")

    names = signed_headers.split(";")
    require(names == sorted(set(names)), f"SignedHeaders are not in order: {signed_headers}")
    for name in names:
        require(name in sent, f"{name} is signed but was not sent")
    for name in sent:
        owed = name in ("host", "content-type", "x-api-key") or (
            name.startswith("x-amz-") and name != "x-amz-security-token"
        )
        require(name in names or not owed, f"{name} was sent but is not signed")
    if case.get("token") is None:
        require("x-amz-security-token" not in sent, "a session token was sent that the credentials do not have")
    else:
        require(single("x-amz-security-token") == case["token"], "the session token is not the credentials'")
        require("x-amz-security-token" in names, "the session token was sent but is not signed")

    payload_sha256 = case.get("body_sha256")
    if payload_sha256 is None:
        payload_sha256 = hashlib.sha256(case["body"].encode("latin-1")).hexdigest()
    if "x-amz-content-sha256" in sent:
        # botocore takes the declared hash on trust.
        require(single("x-amz-content-sha256") == payload_sha256, "the body is not what x-amz-content-sha256 declares")

    signer = Verifier(Credentials(case["access_key"], case["secret"], case.get("token")), service, region)
    wanted = set(names)
    canonical, to_sign, recomputed = recompute(
        case["method"],
        text(case["target"]),
        [(name, text(value)) for name, value in headers if name in wanted],
        timestamp,
        payload_sha256,
        signer,
    )
    signed_by_botocore = canonical.split("\n")[-2]
    require(signed_by_botocore == signed_headers, f"botocore would sign {signed_by_botocore}, signed is {signed_headers}")
    require(
        recomputed == signature,
        f"signature is {signature}, botocore computes {recomputed} from the canonical request\n{canonical}\n"
        f"and the string to sign\n{to_sign}",
    )


def answer(line):
    """The answer to one line of input."""
    case = json.loads(line)
    try:
        verify(case)
        detail = None
    except Refused as refused:
        detail = str(refused)
    except UnicodeDecodeError as error:
        detail = f"what is signed is not UTF-8: {error}"
    return {"id": case["id"], "ok": detail is None, "detail": detail or ""}


def serve():
    out = sys.stdout
    for line in sys.stdin.buffer:
        out.write(json.dumps(answer(line)) + "\n")
        out.flush()


def parse_request(raw):
    """Method, target, headers and body of a request file: lines end in LF, one that begins with white space continues
    the one before."""
    head, _, body = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    method, target = lines[0].decode().rsplit(" ", 1)[0].split(" ", 1)
    headers = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t") and headers:
            headers[-1][1] += b" " + line
        elif line:
            name, _, value = line.partition(b":")
            headers.append([name.decode(), value])
    return method, target.encode(), headers, body


def self_test():
    """Runs the published vectors through the checker, whole and tampered with, and prints how many."""
    def wire_text(raw):
        return raw.decode("latin-1")

    vectors = pathlib.Path(__file__).parent.parent / "vectors"
    passed = 0
    for case in sorted(path.parent for path in vectors.glob("*/context.json")):
        context = json.loads((case / "context.json").read_text())
        # botocore always normalises the path, and signs the bytes of a query as they are sent: two things that the suite
        # asks of other signers.
        if not context["normalize"] or case.name == "get-vanilla-utf8-query":
            continue
        method, target, headers, body = parse_request((case / "request.txt").read_bytes())
        credentials = context["credentials"]
        # "omit": the token is sent but added after signing; a verifier that wants it signed sees the request without.
        token = None if context.get("omit_session_token") else credentials.get("token")
        timestamp = context["timestamp"].replace("-", "").replace(":", "")
        added = [["X-Amz-Date", timestamp], ["Authorization", (case / "authorization.txt").read_text()]]
        if token:
            added.append(["X-Amz-Security-Token", token])
        if context["sign_body"]:
            added.append(["X-Amz-Content-Sha256", hashlib.sha256(body).hexdigest()])
        headers = [pair for pair in headers if pair[0].lower() != "x-amz-date"]
        wire = {
            "id": case.name,
            "method": method,
            "target": wire_text(target),
            "headers": [[name, wire_text(value)] for name, value in headers]
            + [[name, wire_text(value.encode())] for name, value in added],
            "body": wire_text(body),
            "region": context["region"],
            "service": context["service"],
            "access_key": credentials["access_key_id"],
            "secret": credentials["secret_access_key"],
            "token": token,
        }
        tampered = {
            "": wire,
            "method": wire | {"method": "PATCH"},
            "target": wire | {"target": wire_text(target + b"x")},
            "body": wire | {"body": wire_text(body + b"x")},
            "secret": wire | {"secret": "x" + wire["secret"]},
            "region": wire | {"region": "eu-west-1"},
            "token": wire | {"token": "other"},
            "signed header": wire | {"headers": [["Host", wire_text(b"other")], *wire["headers"][1:]]},
            "added header": wire | {"headers": [*wire["headers"], ["X-Amz-Meta-Added", wire_text(b"1")]]},
            "second authorization": wire | {"headers": [*wire["headers"], wire["headers"][-1]]},
        }
        for what, sample in tampered.items():
            result = answer(json.dumps(sample))
            if result["ok"] == bool(what):
                sys.exit(f"{case.name}, {what or 'as published'}: {'accepted' if result['ok'] else result['detail']}")
        passed += 1
    if passed < 20:
        sys.exit(f"only {passed} vectors in {vectors}")
    print(f"{passed} vectors")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        serve()
