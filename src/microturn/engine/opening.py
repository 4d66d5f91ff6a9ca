"""A session that is being opened: what it has yet to read.

Instructions can be long. They are read a slice at a time, with steps of the open sessions in between, so that
nobody's tick waits for somebody else's opening.
"""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from microturn.engine.session import Session
from microturn.engine.snapshot import Snapshot
from microturn.streams import TextIn


@dataclass
class Opening:
    session: Session
    seed: int
    voice: str
    eagerness: float | None
    reads: deque[TextIn]
    restore: Snapshot | None
    begun: bool = False
    done: Future[None] = field(default_factory=Future)
