"""What happened in a run, as a stable list of events: one JSON object a line, see docs/events.md.

Events come in the order of media time. Text that the model says is listed at the tick in which it is
*played*, and only if it is: what a later decision to listen drops was never said.
"""

import json
from collections import deque
from dataclasses import dataclass

from microturn.clock import end_ms, start_ms
from microturn.streams import Action, Channel, Decision, TextIn

OPENING = -1  # the tick of what is read before the media begins; takes no time


@dataclass(frozen=True)
class Event:
    """`type` is say, hear, decision, delegate, read or late; see docs/events.md."""

    type: str
    tick: int
    text: str | None = None
    value: str | int | None = None
    channel: Channel | None = None

    def to_json(self) -> str:
        line: dict[str, str | int] = {
            "type": self.type,
            "tick": self.tick,
            "start_ms": max(0, start_ms(self.tick)),
            "end_ms": max(0, end_ms(self.tick)),
        }
        if self.text is not None:
            line["text"] = self.text
        if self.value is not None:
            line["value"] = self.value
        if self.channel is not None:
            line["channel"] = self.channel.name.lower()
        return json.dumps(line, ensure_ascii=False)


class EventLog:
    """Turns a session's actions, in order, into events."""

    def __init__(self, lead_ticks: int) -> None:
        self._lead = lead_ticks
        self._to_play: deque[tuple[int, str]] = deque()  # (tick, piece) decided but not yet played
        self._decision: Decision | None = None
        self._delegations = 0

    def opening(self, texts: tuple[TextIn, ...]) -> list[Event]:
        return [Event("read", OPENING, text=t.text, channel=t.channel) for t in texts]

    def follow(self, action: Action, read: tuple[TextIn, ...] = ()) -> list[Event]:
        """Everything that belongs to the action's tick: read, late, hear, decision, delegate, say."""
        tick = action.tick
        events = [Event("read", tick, text=t.text, channel=t.channel) for t in read]
        if action.missed:
            events.append(Event("late", tick, value="audio"))
        events += [Event("hear", tick, text=piece) for piece in action.hear]
        if action.decision is not self._decision:
            self._decision = action.decision
            events.append(Event("decision", tick, value=action.decision.name.lower()))
            if action.decision is Decision.DELEGATE:
                self._delegations += 1
                events.append(Event("delegate", tick, value=self._delegations))
        while self._to_play and self._to_play[0][0] <= tick:
            events.append(Event("say", tick, text=self._to_play.popleft()[1]))
        if action.decision is Decision.LISTEN:
            self._to_play.clear()
        else:
            self._to_play += [(tick + self._lead, piece) for piece in action.say]
        return events


@dataclass(frozen=True)
class TimedText:
    """A whole word, or a text that was read, and the tick at which it begins."""

    tick: int
    text: str


def join_pieces(pieces: list[TimedText]) -> list[TimedText]:
    """Pieces → words. A piece that begins with a space begins a word."""
    words: list[TimedText] = []
    for piece in pieces:
        if words and not piece.text.startswith(" "):
            words[-1] = TimedText(words[-1].tick, words[-1].text + piece.text)
        else:
            words.append(TimedText(piece.tick, piece.text))
    return [TimedText(w.tick, w.text.strip()) for w in words if w.text.strip()]
