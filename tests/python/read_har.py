"""Reads an HTTP Archive with haralyzer, which is not ours, and prints what it found in each entry as JSON.

The archive comes on standard input. What HAR 1.2 asks for in a log, an entry, its request, response and timings has to
be there, of the type that it asks for: haralyzer takes what it does not need as it comes.
"""

import json
import sys

from haralyzer import HarParser

NUMBER = (int, float)
# HAR 1.2, sections "log" to "timings"; a tuple is one of these types.
ASKED = {
    "entry": {"startedDateTime": str, "time": NUMBER, "request": dict, "response": dict, "cache": dict, "timings": dict},
    "request": {
        "method": str, "url": str, "httpVersion": str, "cookies": list, "headers": list, "queryString": list,
        "headersSize": int, "bodySize": int,
    },
    "response": {
        "status": int, "statusText": str, "httpVersion": str, "cookies": list, "headers": list, "content": dict,
        "redirectURL": str, "headersSize": int, "bodySize": int,
    },
    "content": {"size": int, "mimeType": str},
    "timings": {"send": NUMBER, "wait": NUMBER, "receive": NUMBER},
}


def check(what, value):
    for name, kind in ASKED[what].items():
        assert isinstance(value.get(name), kind), (what, name, value.get(name))


archive = json.loads(sys.stdin.buffer.read())
assert archive["log"]["version"] == "1.2" and all(archive["log"]["creator"][name] for name in ("name", "version"))
for entry in archive["log"]["entries"]:
    check("entry", entry)
    check("request", entry["request"])
    check("response", entry["response"])
    check("content", entry["response"]["content"])
    check("timings", entry["timings"])
    for field in entry["request"]["headers"] + entry["response"]["headers"] + entry["request"]["queryString"]:
        assert isinstance(field["name"], str) and isinstance(field["value"], str), field
    for name in ("send", "wait", "receive"):
        assert entry["timings"][name] >= 0, entry["timings"]
    if "postData" in entry["request"]:
        assert isinstance(entry["request"]["postData"]["mimeType"], str)
        assert isinstance(entry["request"]["postData"]["text"], str)

found = []
for page in HarParser(archive).pages:
    for entry in page.entries:
        found.append(
            {
                "year": entry.startTime.year,
                "method": entry.request.method,
                "url": entry.request.url,
                "status": entry.response.status,
                "text": entry.response.text,
                "type": entry.response.mimeType,
            }
        )
print(json.dumps(found))
