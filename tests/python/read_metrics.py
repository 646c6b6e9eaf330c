"""Reads what `/metrics` answered with Prometheus' own Python parsers and prints the families as JSON.

`read_metrics.py openmetrics|text` takes the text on standard input. The OpenMetrics parser is strict: units that are
not in the name, counters without `_total`, a repeated series, buckets out of order and a missing end are errors.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

text_in = sys.stdin.buffer.read().decode("utf-8")
families = {"openmetrics": openmetrics, "text": text}[sys.argv[1]](text_in)
print(
    json.dumps(
        [
            {
                "name": family.name,
                "type": family.type,
                "help": family.documentation,
                "samples": [
                    {"name": sample.name, "labels": sample.labels, "value": str(sample.value)}
                    for sample in family.samples
                ],
            }
            for family in families
        ]
    )
)
