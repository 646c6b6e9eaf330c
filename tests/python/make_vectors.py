"""Writes tests/vectors/own-*: what AWS's published suite leaves out, signed for execute-api by botocore.

Run it with the Python of target/test-env/verify. The files are committed: a botocore that would write others has
changed how it signs, and that is worth knowing (`--check` compares instead of writing).

Each case is a request as it leaves the proxy, before the signature's own headers are added. So the query is already in
its one spelling, and every header is one that is signed, except `User-Agent`, which botocore never signs.
"""

import json
import pathlib
import sys

import botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HOST = b"abc1234567.execute-api.us-west-2.amazonaws.com"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLXdlc3QtMiJ+Token/With=Padding=="
API_KEY = b"9mZ3EXAMPLEkey7Qw5T1yXo2LpRb4NcVd8FgHs6J"
TIMESTAMP = "20261124T120000Z"
UTF8 = "ü漢😀".encode()

# name: (method, target, headers, body, session token)
CASES = {
    "api-key": ("GET", "/prod/auth/iam-sigv4-and-api-key", [(b"X-Api-Key", API_KEY)], b"", None),
    "session-token": ("GET", "/prod/auth/iam-sigv4", [], b"", TOKEN),
    "session-token-and-api-key": ("DELETE", "/prod/orders/7", [(b"X-Api-Key", API_KEY)], b"", TOKEN),
    "unsigned-header": ("GET", "/prod/orders", [(b"User-Agent", b"curl/8.5.0")], b"", None),
    "query-repeats": ("GET", "/prod/orders?tag=b&tag=a&tag=&page=2&tag=a&Tag=A", [], b"", None),
    "query-blank": ("GET", "/prod/orders?empty=&=nameless&=&a-b=1&a=2&a.b=3", [], b"", None),
    "query-escapes": (
        "GET",
        "/prod/orders?sum=1%2B1&filter%5Bstate%5D=open%20%26%20paid&at=a%2Fb%3Fc%23d&tilde=~-_.&percent=%25&eq=a%3Db",
        [],
        b"",
        None,
    ),
    "query-utf8": ("GET", "/prod/orders?name=%C3%BC%E6%BC%A2%F0%9F%98%80&%C3%BC=1&z=%EF%BF%BD", [], b"", None),
    "path-escapes": ("GET", "/prod/%2F/c+d:e*f~@", [], b"", None),
    "path-delimiters": ("GET", "/prod/a!$&'(),;=b/%41%7e%7E/%e4%BA%A4/%25", [], b"", None),
    "path-connections": ("POST", "/prod/%40connections/L0SM9cOFvHcCIhw%3D", [], b"hello", None),
    "path-empty-segments": ("GET", "//prod///orders//", [], b"", None),
    "path-trailing-slash": ("GET", "/prod/orders/", [], b"", None),
    "post-json": (
        "POST",
        "/prod/orders",
        [(b"Content-Type", b"application/json"), (b"X-Api-Key", API_KEY)],
        '{"customer": "Jürgen", "note": "a\tb\\r\\n"}\n'.encode(),
        None,
    ),
    "post-binary": ("PUT", "/prod/blob", [(b"Content-Type", b"application/octet-stream")], bytes(range(256)), None),
    "header-white-space": (
        "POST",
        "/prod/orders",
        [(b"Content-Type", b"  text/plain; \t charset=utf-8;\t\tformat=\"a   b\" \t ")],
        b"x",
        None,
    ),
    "header-utf8": ("GET", "/prod/orders", [(b"X-Amz-Meta-Name", b"caf\xc3\xa9 " + UTF8)], b"", None),
    "header-repeats": (
        "GET",
        "/prod/orders",
        [(b"X-Amz-Meta-Tag", b"b"), (b"X-Amz-Meta-Other", b"o"), (b"x-amz-meta-tag", b" a,  c "), (b"X-Amz-Meta-Tag", b"")],
        b"",
        None,
    ),
    "header-blank": ("GET", "/prod/orders", [(b"X-Amz-Meta-Blank", b"")], b"", None),
}


def files(method, target, headers, body, token):
    """The files of one vector, by name."""
    headers = [(b"Host", HOST), *headers]
    request = AWSRequest(method=method, url=f"https://{HOST.decode()}{target}", data=body)
    for name, value in headers:
        request.headers[name.decode()] = value.decode()
    request.context["timestamp"] = TIMESTAMP
    signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET, token), "execute-api", "us-west-2")
    # These are add_auth's own steps; it would take the time from the clock.
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    to_sign = signer.string_to_sign(request, canonical)
    signer._inject_signature_to_request(request, signer.signature(to_sign, request))

    credentials = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET}
    if token:
        credentials["token"] = token
    context = {
        "credentials": credentials,
        "normalize": True,
        "region": "us-west-2",
        "service": "execute-api",
        "sign_body": False,
        "timestamp": "2026-11-24T12:00:00Z",
        "made_by": f"botocore {botocore.__version__}",
    }
    head = [f"{method} {target} HTTP/1.1".encode()] + [name + b":" + value for name, value in headers]
    return {
        "context.json": (json.dumps(context, indent=4) + "\n").encode(),
        "request.txt": b"\n".join(head) + b"\n\n" + body,
        "canonical-request.txt": canonical.encode(),
        "string-to-sign.txt": to_sign.encode(),
        "authorization.txt": request.headers["Authorization"].encode(),
    }


def main(check):
    vectors = pathlib.Path(__file__).parent.parent / "vectors"
    stale = {path.name for path in vectors.glob("own-*")} - {f"own-{name}" for name in CASES}
    differ = sorted(stale)
    for name, case in CASES.items():
        directory = vectors / f"own-{name}"
        for file, content in files(*case).items():
            path = directory / file
            if check:
                if not path.is_file() or path.read_bytes() != content:
                    differ.append(f"{directory.name}/{file}")
            else:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    if check and differ:
        sys.exit("not what botocore makes: " + ", ".join(differ))
    if stale:
        sys.exit("no longer made, delete them: " + ", ".join(sorted(stale)))


if __name__ == "__main__":
    main(check=sys.argv[1:] == ["--check"])
