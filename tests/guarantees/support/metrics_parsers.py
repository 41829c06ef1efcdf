"""Scrapes a gateway in both formats and prints what the Python client's parsers make of it, a line of JSON each.

usage: metrics_parsers.py HOST:PORT
"""

import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

FORMATS = [
    ("openmetrics", "application/openmetrics-text;version=1.0.0", read_openmetrics),
    ("text", "text/plain;version=0.0.4", read_text),
]

for name, accept, read in FORMATS:
    request = urllib.request.Request(f"http://{sys.argv[1]}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        families = {family.name: family for family in read(answer.read().decode())}
    sent = families["ws_messages_sent"]
    delivered = [s.value for s in families["ws_delivery_seconds"].samples if s.name.endswith("_count")]
    print(
        json.dumps(
            {
                "format": name,
                "families": len(families),
                "sent": {"type": sent.type, "shards": {s.labels["shard"]: float(s.value) for s in sent.samples}},
                "delivered": float(delivered[0]),
            }
        )
    )
