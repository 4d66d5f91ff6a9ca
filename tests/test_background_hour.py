"""An hour in which a hundred things are delegated: nothing grows, nothing is lost, and the journal has all of it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from microturn.background.connect import Settings, open_background
from microturn.background.delegations import REMEMBERED, Delegation
from microturn.background.package import Budget, ContextPackage, State
from microturn.bench.background import Forced
from microturn.bench.engine import rss_mb
from microturn.clock import HEAR_SAMPLES, TICKS_PER_SECOND
from microturn.engine import Engine, Pace
from microturn.server.conversation import Start
from microturn.server.journal import Journal
from microturn.server.lobby import Lobby
from microturn.streams import Channel, Decision

EVERY = 36 * TICKS_PER_SECOND  # ticks from one delegation to the next
ASKED, DELEGATED = 20, 40  # ticks after each of them
TICKS = int(os.environ.get("MICROTURN_SOAK_MINUTES", "60")) * 60 * TICKS_PER_SECOND


async def live_through(
    journal: Journal, monkey: pytest.MonkeyPatch
) -> tuple[list[Delegation], list[ContextPackage], str]:
    delegated: list[Delegation] = []
    packages: list[ContextPackage] = []
    held: list[float] = []  # MB
    # whether it should delegate is what suites score
    engine = Engine(Forced(dict.fromkeys(range(DELEGATED, TICKS, EVERY), Decision.DELEGATE)), slots=1)
    engine.start()
    async with open_background(Settings()) as background:
        lobby = Lobby(engine, journal=journal, background=background)
        talk = await lobby.begin(Start(pace=Pace.DRIVEN, store=True, responses=True))
        build = talk.background.recent.build

        def kept(*given: Any) -> ContextPackage:
            packages.append(build(*given))
            return packages[-1]

        monkey.setattr(talk.background.recent, "build", kept)
        talk.watch(lambda note: delegated.append(note) if isinstance(note, Delegation) else None)

        async def play() -> None:
            while await talk.next_beat():
                pass

        async def speak() -> None:
            rng = np.random.default_rng(0)
            for tick in range(TICKS + 10 * TICKS_PER_SECOND):
                if tick % EVERY == ASKED and tick < TICKS:
                    talk.session.push_text(f"what is {tick} times {tick + 1}", Channel.TYPED)
                if tick in (TICKS // 5, TICKS):
                    held.append(rss_mb())
                await talk.push_audio(rng.normal(0, 1e-4, HEAR_SAMPLES).astype(np.float32))
            while not talk.drained:
                await asyncio.sleep(0.01)
            talk.close("close_requested")

        await asyncio.gather(play(), speak())
        await talk.background.close()
    engine.close()
    assert engine.stats().failed == 0
    assert len(talk.background.all) <= REMEMBERED
    assert talk.background.inbox.lost == talk.background.late == talk.background.inbox.unread == 0
    assert held[1] < held[0] + 30
    return delegated, packages, talk.id


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("MICROTURN_SOAK"), reason="minutes: set MICROTURN_SOAK=1")
def test_an_hour_with_a_hundred_delegations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.db")
    delegated, packages, id = asyncio.run(live_through(journal, monkeypatch))
    journal.flush()

    questions = [tick for tick in range(TICKS) if tick % EVERY == ASKED]
    assert [d.state for d in delegated] == [State.DONE] * len(questions)
    entries = list(journal.entries(id))
    assert [tick for tick, _ in entries] == list(range(TICKS + 10 * TICKS_PER_SECOND))
    read = [text for _, entry in entries for text, channel in entry.text if channel == Channel.BACKGROUND]
    for tick, delegation in zip(questions, delegated, strict=True):
        (result,) = delegation.results
        assert str(tick * (tick + 1)) in result.replace(",", "")
        assert sum(result in text for text in read) == 1  # neither lost nor twice

    budget = Budget()
    for package in packages:
        texts = [*package.instructions, *package.pending, *(line.text for line in package.transcript)]
        texts += [text for done in package.earlier for text in (done.asked, *done.results)]
        assert sum(map(len, texts)) <= budget.text
        assert len(package.to_json()) < 3 * budget.text
        msgspec.json.decode(package.to_json(), type=ContextPackage)
    journal.close()
