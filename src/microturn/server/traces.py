"""OpenTelemetry spans, where its API is installed and a provider is set up; otherwise nothing happens.

One span for each conversation, and inside it one for each time that the model speaks and for each piece of work that
is handed over. They hold times, ticks and names, never words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microturn.background import Delegation, Over, Piece
from microturn.server.conversation import Beat, Closed, Conversation
from microturn.streams import Decision

NAME = "microturn"


def watch(conversation: Conversation, model: str) -> Callable[[object], None] | None:
    """What to call with every note of a conversation; None where nobody traces."""
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    tracer = trace.get_tracer(NAME)
    about: dict[str, str | bool] = {"session": conversation.id, "model": model}
    about["store"] = conversation.start.store
    whole = tracer.start_span("conversation", attributes=about)
    if not whole.is_recording():
        return None
    inside = trace.set_span_in_context(whole)
    speaking: Any = None
    work: dict[str, Any] = {}

    def note(note: object) -> None:
        nonlocal speaking
        match note:
            case Beat() as beat if (beat.action.decision is Decision.SPEAK) == (speaking is None):
                if speaking is None:
                    speaking = tracer.start_span("speaking", inside, attributes={"tick": beat.tick})
                else:
                    speaking.end()
                    speaking = None
            case Delegation() as begun:
                work[begun.id] = tracer.start_span("delegation", inside, attributes={"delegation": begun.id})
            case Piece() as piece if piece.delegation in work:
                work[piece.delegation].add_event(piece.kind.value)
            case Over(delegation) if delegation.id in work:
                work.pop(delegation.id).end()
            case Closed() as closed:
                for span in (speaking, *work.values()):
                    if span is not None:
                        span.end()
                whole.set_attributes({"reason": closed.reason, "seconds": conversation.seconds})
                whole.end()

    return note
