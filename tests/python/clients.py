"""Calls the proxy with Python's usual clients, as their users do: clients.py httpx|requests|boto3 URL.

Prints one JSON value a line, which tests/it/clients.rs expects. Large bodies are 0, 1, ..., 250, 0, 1, ...
"""

import json
import sys

DOWNLOAD = 50_000_000
UPLOAD = 10 << 20


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def pieces(body, size=100_000):
    """A body of unknown length: clients send it in chunks."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def show(value):
    print(json.dumps(value), flush=True)


def call_httpx(url):
    import httpx

    with httpx.Client(base_url=url, timeout=60) as client:
        show(client.get("/orders", params={"tag": ["b", "a"], "q": "ü x+y"}).raise_for_status().json())
        show(client.post("/orders", json={"name": "Jürgen"}).raise_for_status().json())
        show(client.put("/upload", content=pieces(pattern(UPLOAD))).raise_for_status().json())
        with client.stream("GET", "/large") as answer:
            show(b"".join(answer.raise_for_status().iter_bytes()) == pattern(DOWNLOAD))


def call_requests(url):
    import requests

    with requests.Session() as session:

        def json_of(answer):
            answer.raise_for_status()
            return answer.json()

        parameters = {"tag": ["b", "a"], "q": "ü x+y"}
        show(json_of(session.get(url + "/orders", params=parameters, timeout=60)))
        show(json_of(session.post(url + "/orders", json={"name": "Jürgen"}, timeout=60)))
        show(json_of(session.put(url + "/upload", data=pattern(UPLOAD), timeout=60)))
        with session.get(url + "/large", stream=True, timeout=60) as answer:
            answer.raise_for_status()
            show(b"".join(answer.iter_content(65536)) == pattern(DOWNLOAD))


def call_boto3(url):
    import boto3
    from botocore.config import Config

    def client(service):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name="eu-north-1",
            aws_access_key_id="AKIDOTHER",
            aws_secret_access_key="another/secret",
            aws_session_token="another-token",
            config=Config(retries={"total_max_attempts": 1}),
        )

    answer = client("lambda").invoke(FunctionName="orders", Payload=b'{"id": 7}')
    show(json.loads(answer["Payload"].read()))
    connections = client("apigatewaymanagementapi")
    answer = connections.post_to_connection(ConnectionId="L0SM9cOFvHcCIhw=", Data=b"hello")
    show(answer["ResponseMetadata"]["HTTPStatusCode"])


if __name__ == "__main__":
    {"httpx": call_httpx, "requests": call_requests, "boto3": call_boto3}[sys.argv[1]](sys.argv[2])
