"""Functions of the client's own that the server's background model may call.

A round of calls is told to the client as `Calls`. The work waits for their outputs and for the word to go on,
then tells of itself with `Continued`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from microturn.background.tools import Function, shown

WAIT_S = 120.0  # that the client may take; then the model is told that there is no output


@dataclass(frozen=True)
class FunctionCall:
    id: str
    name: str
    arguments: str  # JSON


@dataclass(frozen=True)
class Calls:
    delegation: str
    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True)
class Continued:
    delegation: str


@dataclass
class _Round:
    outputs: dict[str, str | None]  # by call
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Functions:
    taken: frozenset[str] = frozenset()  # names of the server's own tools
    offered: tuple[Function, ...] = ()
    watch: Callable[[Calls | Continued], None] = lambda note: None
    _rounds: dict[str, _Round] = field(default_factory=dict)  # by delegation

    async def run(self, delegation: str, asked: Sequence[tuple[str, str]]) -> list[str]:
        """The outputs of these calls, (name, arguments) each."""
        if not asked:
            return []
        calls = tuple(FunctionCall(f"call_{secrets.token_hex(8)}", *call) for call in asked)
        waiting = self._rounds[delegation] = _Round({call.id: None for call in calls})
        self.watch(Calls(delegation, calls))
        try:
            async with asyncio.timeout(WAIT_S):
                await waiting.go_on.wait()
        except TimeoutError:
            pass
        finally:
            del self._rounds[delegation]
        self.watch(Continued(delegation))
        return [output or f"no output within {WAIT_S:g} s" for output in waiting.outputs.values()]

    def answer(self, call: str, output: str) -> None:
        """Raises ValueError for a call that nobody waits for."""
        waiting = next((r for r in self._rounds.values() if r.outputs.get(call, output) is None), None)
        if waiting is None:
            raise ValueError("no function call of this id waits for its output")
        waiting.outputs[call] = shown(output) or "(nothing)"

    def go_on(self) -> bool:
        """Whether any work waited that now goes on. Raises ValueError while an output is missing."""
        rounds = [r for r in self._rounds.values() if not r.go_on.is_set()]
        whole = [r for r in rounds if None not in r.outputs.values()]
        if rounds and not whole:
            missing = next(call for call, output in rounds[0].outputs.items() if output is None)
            raise ValueError(f"the output of {missing} is missing")
        for waiting in whole:
            waiting.go_on.set()
        return bool(whole)
