"""A collector that takes OTLP over HTTP: prints the port that it listens on, then each span as JSON.

    {"path": "/v1/traces", "authorization": null, "resource": {…}, "scope": "countersign", "name": "GET /a", "kind": "SERVER",
     "trace": "…", "span": "…", "parent": "", "state": "", "status": "UNSET", "micros": 1, "attributes": {…}}

It reads the protobuf with the classes that OpenTelemetry publishes for Python, which share nothing with the sender. A
batch is printed before it is answered.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def facts(attributes):
    return {fact.key: getattr(fact.value, fact.value.WhichOneof("value")) for fact in attributes}


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        batch = ExportTraceServiceRequest()
        batch.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
        for of_resource in batch.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.tell(of_resource, of_scope, span)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def tell(self, of_resource, of_scope, span):
        said = {
            "path": self.path,
            "authorization": self.headers["authorization"],
            "resource": facts(of_resource.resource.attributes),
            "scope": of_scope.scope.name,
            "name": span.name,
            "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            "trace": span.trace_id.hex(),
            "span": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "state": span.trace_state,
            "status": Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
            "micros": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
            "attributes": facts(span.attributes),
        }
        print(json.dumps(said), flush=True)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
print(server.server_address[1], flush=True)
server.serve_forever()
