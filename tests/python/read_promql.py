"""Parses PromQL expressions: a JSON list on standard input.

Prints for each the list of its selectors, as written and in parts: `{"text", "name", "labels"}`.
"""

import json
import sys

import promql_parser


def selectors(expression):
    """Every vector selector below an expression."""
    found = []
    open_ = [expression]
    while open_:
        node = open_.pop()
        if node is None:
            continue
        if isinstance(node, promql_parser.VectorSelector):
            labels = [matcher.name for matcher in node.matchers.matchers]
            found.append({"text": node.prettify().strip(), "name": node.name, "labels": labels})
        for part in ("lhs", "rhs", "expr", "param", "vector_selector"):
            open_.append(getattr(node, part, None))
        open_.extend(getattr(node, "args", None) or [])
    return found


json.dump([selectors(promql_parser.parse(text)) for text in json.load(sys.stdin)], sys.stdout)
