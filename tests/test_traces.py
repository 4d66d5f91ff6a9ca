"""Spans of a real conversation, as OpenTelemetry's own SDK gets them."""

from __future__ import annotations

import time

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from microturn.server.traces import NAME
from microturn.streams import Decision
from serving import Scripted, opened, served
from test_server_live import TICK

SPOKEN, WORK, AGAIN = (2, 5), 7, (9, 11)


def test_a_conversation_its_talk_and_its_work_are_spans_without_words() -> None:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    script = dict.fromkeys((*range(*SPOKEN), *range(*AGAIN)), Decision.SPEAK) | {WORK: Decision.DELEGATE}
    with served(Scripted(script)) as server, opened(server, instructions="a secret word") as (client, _):
        for _ in range(14):
            client.send("session.input_audio.append", audio=TICK)
            time.sleep(0.2)
        delegation = client.next("session.delegation.created")["delegation"]["id"]
        client.send("session.commentary.append", content="done", delegation_id=delegation, event_id="mine")
        client.next("session.commentary.appended")
        client.send("session.close")
        client.next("session.closed")
    spans = {s.name: s for s in kept.get_finished_spans()}
    assert all(s.instrumentation_scope and s.instrumentation_scope.name == NAME for s in spans.values())
    ticks = [s.attributes["tick"] for s in kept.get_finished_spans() if s.name == "speaking" and s.attributes]
    assert ticks == [SPOKEN[0], AGAIN[0]]
    assert set(spans) == {"conversation", "speaking", "delegation"}
    whole = spans["conversation"]
    assert whole.attributes
    assert whole.attributes["reason"] == "close_requested"
    assert all(s.parent and s.context and s.parent.span_id == whole.context.span_id
               for name, s in spans.items() if name != "conversation")  # fmt: skip
    assert not [span for span in spans.values() if "secret" in span.to_json()]
