"""The context package, the inbox and delegations: what goes out to slow work, and how its results come in."""

import asyncio
import io
import wave
from collections.abc import Awaitable, Callable
from dataclasses import replace

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_model import READ
from injections import INJECTIONS, is_quoted
from microturn.background import (
    Background,
    Budget,
    ContextPackage,
    Delegation,
    Failure,
    Inbox,
    Kind,
    Over,
    Piece,
    Recent,
    State,
    When,
)
from microturn.background.delegations import AT_ONCE, Say
from microturn.background.inbox import LONGEST, ROOM, SIP, clean
from microturn.background.package import fit, schema
from microturn.clock import HEAR_RATE, HEAR_SAMPLES, VirtualClock
from microturn.engine import Engine, Pace
from microturn.events import OPENING, Event, EventLog
from microturn.streams import Action, Channel, Decision, Perception, TextIn
from serving import Scripted as Decided

FRAME = np.full((30, 40, 3), 128, np.uint8)


def hears(tick: int, text: str) -> Event:
    return Event("hear", tick, text=text)


def types(tick: int, text: str, channel: Channel = Channel.TYPED) -> Event:
    return Event("read", tick, text=text, channel=channel)


# ---- the package ----


def test_a_package_holds_what_was_heard_played_typed_and_told_with_times() -> None:
    recent, log = Recent(), EventLog(lead_ticks=2)
    opening = (TextIn("be brief", Channel.INSTRUCTIONS), TextIn("user: hi", Channel.HISTORY))
    recent.read(log.opening(opening))
    says = {3: " hello", 4: " never", 6: " there"}  # " never" is cut off by listening at tick 5
    typed = {7: (TextIn("look at this", Channel.TYPED), TextIn("be kind", Channel.INSTRUCTIONS))}
    for tick in range(10):
        decision = Decision.SPEAK if tick in says else Decision.LISTEN if tick < 6 else Decision.SPEAK
        heard = (" good",) if tick == 0 else (" day",) if tick == 1 else ()
        action = Action(tick, decision, say=(says[tick],) if tick in says else (), hear=heard)
        sound = None if tick == 9 else np.full(HEAR_SAMPLES, 0.5, np.float32)
        perception = Perception(sound, FRAME if tick in (2, 4, 9) else None, typed.get(tick, ()))
        recent.follow(tick, perception, log.follow(action, perception.text))
    package = recent.media()(recent.build("d1"))

    assert package.at_ms == 2_000
    assert package.instructions == ("be brief", "be kind")
    assert [(t.start_ms, t.end_ms, t.who, t.text) for t in package.transcript] == [
        (0, 0, "history", "user: hi"),
        (0, 400, "user", "good day"),
        (1000, 1800, "model", "hello there"),
        (1400, 1600, "typed", "look at this"),
    ]
    assert package.audio is not None
    with wave.open(io.BytesIO(package.audio.wav)) as wav:
        assert (wav.getframerate(), wav.getnframes()) == (HEAR_RATE, 10 * HEAR_SAMPLES)
    assert [f.at_ms for f in package.frames] == [800, 1800]


@given(
    lines=st.lists(st.tuples(st.sampled_from(["hear", "typed", "instructions"]), st.text(max_size=80))),
    room=st.integers(0, 400),
)
def test_a_package_keeps_within_its_budget_and_leaves_out_the_oldest(
    lines: list[tuple[str, str]], room: int
) -> None:
    recent = Recent()
    for i, (what, text) in enumerate(lines):
        event = hears(10 * i, text) if what == "hear" else types(10 * i, text, Channel[what.upper()])
        recent.follow(10 * i, Perception(), [event])
    whole = recent.build("d1")
    package = fit(whole, room)
    size = sum(map(len, package.instructions)) + sum(map(len, package.pending))
    assert size + sum(len(line.text) for line in package.transcript) <= room
    assert package.transcript == whole.transcript[len(whole.transcript) - len(package.transcript) :]
    assert fit(package, room).transcript == package.transcript


def test_memory_of_a_long_conversation_is_bounded_but_rules_stay() -> None:
    recent = Recent(Budget(text=2_000, audio_s=1, frames=2))
    recent.follow(0, Perception(), [hears(0, " every time i say tree say green")])
    for tick in range(1, 3_000):
        recent.follow(tick, Perception(np.zeros(HEAR_SAMPLES, np.float32), FRAME), [hears(tick, " word")])
    package = recent.media()(recent.build("d1"))
    assert sum(len(line.text) for line in package.transcript) <= 2_000
    assert package.omitted > 0
    assert package.pending[0].startswith("every time i say tree")
    assert len(package.frames) == 2
    assert len(recent.lines) < 10


def test_long_instructions_for_the_background_model_reach_it_whole() -> None:
    background, told = Background(len), ("word " * 2_400).strip()
    background.add(types(OPENING, told, Channel.INSTRUCTIONS))
    assert background.recent.build("d1").instructions == (told,)


@pytest.mark.parametrize(
    "told",
    [
        "every time i say tree say green", "if i say rest say gray", "remind me to breathe every four seconds",
        "in twelve seconds say tea", "count up every two seconds", "say apple with five seconds in between",
        "time ten seconds for me", "tell me when the light turns red", "set a timer for half an hour",
        "say start when somebody jumps",
    ],
)  # fmt: skip
def test_rules_and_timers_are_pending(told: str) -> None:
    recent = Recent()
    recent.follow(0, Perception(), [hears(0, f" {told}")])
    assert recent.build("d1").pending == (told,)


@pytest.mark.parametrize(
    "told",
    ["what time is it in oslo", "we drove for seven hours", "tell me a story", "that took ten minutes"],
)
def test_what_asks_for_nothing_later_is_not_pending(told: str) -> None:
    recent = Recent()
    recent.follow(0, Perception(), [hears(0, f" {told}")])
    assert recent.build("d1").pending == ()


def test_a_text_of_nothing_is_no_line() -> None:
    recent = Recent()
    recent.read([Event("read", 0, text=text, channel=Channel.TYPED) for text in ("", " ", "\n", "yes")])
    assert [line.text for line in recent.lines] == ["yes"]


def test_sound_and_pictures_that_nobody_takes_are_not_kept() -> None:
    recent = Recent(Budget(audio_s=0, frames=0))
    recent.follow(0, Perception(np.zeros(HEAR_SAMPLES, np.float32), FRAME), [])
    package = recent.media()(recent.build("d1"))
    assert package.audio is None
    assert not package.frames


def test_what_is_built_conforms_to_the_published_schema() -> None:
    background = Background(len)
    background.recent.read([types(OPENING, "be brief", Channel.INSTRUCTIONS)])
    sound = np.zeros(HEAR_SAMPLES, np.float32)
    background.follow(0, Perception(sound, FRAME), [hears(0, " remind me"), Event("say", 0, text=" yes")])
    background.delegate("d1")
    background.append(Piece(Kind.FINAL, "done", delegation="d1"))
    package = background.recent.media()(background.recent.build("d2", background.earlier()))
    assert package.earlier[0].state == "done"
    jsonschema.validate(msgspec.json.decode(package.to_json()), schema())
    assert msgspec.json.decode(package.to_json(), type=ContextPackage) == package


# ---- the inbox ----


def read_all(inbox: Inbox) -> list[str]:
    texts = []
    for _ in range(10_000):
        if text := inbox.take():
            assert text.channel is Channel.BACKGROUND
            texts.append(text.text)
    assert not inbox.unread
    return texts


def test_pieces_are_read_oldest_first_and_interrupting_ones_before_the_others() -> None:
    inbox = Inbox(lambda text: 1)
    inbox.put(Piece(Kind.THINKING, "looking"))
    inbox.put(Piece(Kind.COMMENTARY, "part"))
    inbox.put(Piece(Kind.FINAL, "alarm", When.INTERRUPT))
    inbox.put(Piece(Kind.FINAL, "second alarm", When.INTERRUPT))
    inbox.put(Piece(Kind.FINAL, "whole", When.SILENT))
    assert read_all(inbox) == [
        'final, interrupt: "alarm"',
        'final, interrupt: "second alarm"',
        'thinking: "looking"',
        'commentary: "part"',
        'final, silent: "whole"',
    ]


def test_no_text_is_handed_over_before_the_last_one_can_have_been_read() -> None:
    inbox = Inbox(lambda text: 3)
    inbox.put(Piece(Kind.FINAL, "one"))
    inbox.put(Piece(Kind.FINAL, "two"))
    assert [inbox.take() is not None for _ in range(8)] == [True, False, False, True] + 4 * [False]


def test_a_revision_replaces_what_is_unread_of_its_delegation_only() -> None:
    inbox = Inbox(lambda text: 1)
    for delegation in ("a", "b"):
        inbox.put(Piece(Kind.COMMENTARY, "old", delegation=delegation))
    inbox.put(Piece(Kind.FINAL, "new", delegation="a", revised=True))
    assert read_all(inbox) == ['commentary: "old"', 'final, revised: "new"']


def test_a_flood_is_bounded_and_silent_pieces_go_first() -> None:
    inbox = Inbox(lambda text: 1)
    inbox.put(Piece(Kind.COMMENTARY, "kept"))
    for i in range(1_000):
        inbox.put(Piece(Kind.THINKING, str(i)))
    inbox.put(Piece(Kind.FINAL, "of another", delegation="b"))
    texts = read_all(inbox)
    assert len(texts) == ROOM + 1
    assert texts[0] == 'commentary: "kept"'
    assert inbox.lost == 1_001 - ROOM


def test_sentences_that_come_together_are_read_together() -> None:
    inbox = Inbox(lambda text: 1)
    for text in ("One.", "Two.", "x" * (SIP - 4)):
        inbox.put(Piece(Kind.COMMENTARY, text, delegation="a"))
        inbox.put(Piece(Kind.COMMENTARY, "Other.", delegation="b"))
    assert read_all(inbox) == [
        'commentary: "One. Two."',
        'commentary: "Other. Other. Other."',
        f'commentary: "{"x" * (SIP - 4)}"',
    ]


def test_what_could_not_be_handed_over_comes_again() -> None:
    inbox = Inbox(lambda text: 1)
    inbox.put(Piece(Kind.FINAL, "one"))
    inbox.put(Piece(Kind.FINAL, "two"))
    assert inbox.take()
    inbox.put_back()
    assert read_all(inbox) == ['final: "one"', 'final: "two"']


def test_no_final_is_ever_lost() -> None:
    inbox = Inbox(lambda text: 1)
    words = "word " * 1_000
    for i in range(8):
        for kind in (Kind.THINKING, Kind.COMMENTARY, Kind.COMMENTARY, Kind.FINAL):
            inbox.put(Piece(kind, f"{i}. {words}", delegation=str(i)))
    assert inbox.unread == 8 * ROOM
    texts = read_all(inbox)
    finals = [text for text in texts if text.startswith("final")]
    assert sum(text.count("word") for text in finals) == 8 * (clean(f"0. {words}").count("word"))
    assert [text[8] for text in finals if ". " in text] == [str(i) for i in range(8)]


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
@pytest.mark.parametrize("kind", Kind)
def test_nothing_that_comes_back_leaves_its_quotes_or_its_channel(text: str, kind: Kind) -> None:
    inbox = Inbox(lambda text: 1)
    inbox.put(Piece(kind, text))
    while inbox.unread:
        line = inbox.take()
        assert line is None or (is_quoted(line) and line.text.startswith(f'{kind.value}: "'))


@given(st.text(), st.integers(1, 50))
def test_cleaning_is_idempotent_bounded_and_printable(text: str, longest: int) -> None:
    line = clean(text, longest)
    assert line == clean(line, longest)
    assert len(line) <= longest
    assert line.isprintable()


@given(st.text(alphabet="ab .", max_size=LONGEST))
def test_sips_join_to_the_text(text: str) -> None:
    inbox = Inbox(lambda text: 1)
    inbox.put(Piece(Kind.FINAL, text))
    assert "".join(line.split('"')[1] for line in read_all(inbox)).replace(" ", "") == text.replace(" ", "")


# ---- delegations ----


class Scripted:
    """A backend that does what a test says."""

    def __init__(self, work: Callable[[ContextPackage, Say], Awaitable[None]]) -> None:
        self._work = work

    async def work(self, package: ContextPackage, say: Say) -> None:
        await self._work(package, say)


async def ended(background: Background) -> None:
    await asyncio.gather(*(d.task for d in background.all.values() if d.task), return_exceptions=True)


def test_several_delegations_work_at_once_and_the_user_moving_on_ends_none() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def work(package: ContextPackage, say: Say) -> None:
            await go.wait()
            say(Piece(Kind.FINAL, f"about {package.asked()}"))

        background = Background(lambda text: 1, Scripted(work))
        for tick, topic in enumerate([" rain", " snow"]):
            background.follow(20 * tick, Perception(), [hears(20 * tick, topic)])
            background.delegate(topic.strip())
        background.follow(60, Perception(), [hears(60, " never mind let us talk of bread")])
        assert len(background.open) == 2
        go.set()
        await ended(background)
        assert read_all(background.inbox) == ['final: "about rain"', 'final: "about snow"']

    asyncio.run(main())


def test_a_cancelled_delegation_is_never_heard_of_again() -> None:
    async def main() -> None:
        begun, over = asyncio.Barrier(3), []

        async def work(package: ContextPackage, say: Say) -> None:
            say(Piece(Kind.COMMENTARY, f"half of {package.delegation}"))
            try:
                await begun.wait()
                await asyncio.Event().wait()
            finally:
                over.append(package.delegation)
                say(Piece(Kind.FINAL, "too late"))

        background = Background(lambda text: 1, Scripted(work))
        background.delegate("a")
        background.delegate("b")
        await begun.wait()
        assert background.cancel("a") is background.all["a"]
        assert read_all(background.inbox) == ['commentary: "half of b"']
        await background.close()
        assert sorted(over) == ["a", "b"]
        assert background.late == 2
        assert {d.state for d in background.all.values()} == {State.CANCELLED}

    asyncio.run(main())


def test_a_cancel_takes_the_newest_work_even_if_it_is_done_but_no_timer_for_other_work() -> None:
    async def main() -> None:
        async def work(package: ContextPackage, say: Say) -> None:
            say(Piece(Kind.COMMENTARY, "it is set", waits=package.delegation.startswith("timer")))
            if package.delegation != "news":
                await asyncio.Event().wait()
            say(Piece(Kind.FINAL, "it rains"))

        background, told = Background(lambda text: 1, Scripted(work)), list[object]()
        background.watch = told.append
        for id in ("weather", "timer", "news", "timer 2"):
            background.delegate(id)
            while not background.all[id].results or (id == "news" and background.all[id].state is State.OPEN):
                await asyncio.sleep(0)
        for taken in ("news", "weather", "timer 2", None):
            gone = background.cancel()
            assert (gone and gone.id) == taken
            assert not background.inbox.of(taken or "")
            assert gone is None or told[-1] == Over(gone)
        assert [d.id for d in background.open] == ["timer"]
        await background.close()

    asyncio.run(main())


def test_what_is_called_off_is_not_handed_over_in_that_tick() -> None:
    async def main() -> None:
        async def work(package: ContextPackage, say: Say) -> None:
            say(Piece(Kind.FINAL, "it rains"))

        background = Background(lambda text: 1, Scripted(work))
        background.follow(0, Perception(), [Event("delegate", 0, value=1)])
        await ended(background)
        assert background.follow(1, Perception(), [Event("decision", 1, value="cancel")]) is None
        assert [d.state for d in background.all.values()] == [State.CANCELLED]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Failure("The server is on fire."), "The server is on fire."),
        (RuntimeError("key sk-123"), "Something went wrong while working on it."),
        (None, "The work ended without a result."),
    ],
)
def test_failure_is_told_in_one_sentence_without_secrets(
    error: Exception | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def work(package: ContextPackage, say: Say) -> None:
            if error:
                raise error

        background = Background(lambda text: 1, Scripted(work))
        delegation = background.delegate("a")
        await ended(background)
        assert delegation.state is State.FAILED
        assert read_all(background.inbox) == [f'final: "{told}"']
        assert "sk-123" not in caplog.text

    asyncio.run(main())


def test_too_much_work_at_once_is_refused_and_old_work_forgotten() -> None:
    async def main() -> None:
        async def work(package: ContextPackage, say: Say) -> None:
            await asyncio.Event().wait()

        background = Background(lambda text: 1, Scripted(work))
        for i in range(AT_ONCE + 1):
            background.delegate(str(i))
        assert len(background.open) == AT_ONCE
        assert read_all(background.inbox) == ['final: "Too much is being worked on already."']
        for i in range(100, 300):
            background.cancel()
            background.delegate(str(i))
        assert len(background.all) < 50
        await background.close()

    asyncio.run(main())


def test_a_client_may_own_any_number_of_delegations() -> None:
    background = Background(lambda text: 1)
    for i in range(100):
        background.delegate(str(i))
        background.append(Piece(Kind.COMMENTARY, f"{i} is done", delegation=str(i)))
        background.append(Piece(Kind.COMMENTARY, "and more", delegation=str(i)))
        assert read_all(background.inbox) == [f'commentary: "{i} is done and more"']
    assert len(background.all) < 50


def test_a_client_does_its_own_work_and_is_told_of_mistakes() -> None:
    background = Background(lambda text: 1)
    background.delegate("a")
    background.append(Piece(Kind.THINKING, "on it", delegation="a"))
    background.append(Piece(Kind.COMMENTARY, "by the way"))
    background.append(Piece(Kind.FINAL, "there", delegation="a"))
    assert len(read_all(background.inbox)) == 3
    with pytest.raises(ValueError, match="delegation a is done"):
        background.append(Piece(Kind.FINAL, "again", delegation="a"))
    with pytest.raises(ValueError, match="there is no delegation z"):
        background.append(Piece(Kind.FINAL, "what", delegation="z"))
    assert background.late == 1


def test_a_recogniser_that_fails_costs_its_words_only() -> None:
    async def main() -> None:
        async def broken(wav: bytes) -> str:
            raise OSError

        async def good(wav: bytes) -> str:
            return "how tall is it"

        async def work(package: ContextPackage, say: Say) -> None:
            say(Piece(Kind.FINAL, package.asked()))

        for recogniser, asked in ((broken, "ow tal"), (good, "how tall is it")):
            background = Background(lambda text: 1, Scripted(work), recogniser)
            sound = np.zeros(HEAR_SAMPLES, np.float32)
            background.follow(0, Perception(sound), [hears(0, " ow tal")])
            background.delegate("a")
            await ended(background)
            assert read_all(background.inbox) == [f'final: "{asked}"']

    asyncio.run(main())


def test_a_recogniser_is_given_what_was_said_last() -> None:
    async def main() -> None:
        async def words(wav: bytes) -> str:
            with wave.open(io.BytesIO(wav)) as sound:
                return f"{sound.getnframes() / HEAR_RATE} s"

        background = Background(lambda text: 1, Scripted(lambda package, say: asyncio.sleep(0)), words)
        for tick in range(100):
            heard = {40: " set a timer for five minutes", 80: " two plus two"}.get(tick)
            sound = np.zeros(HEAR_SAMPLES, np.float32)
            background.follow(tick, Perception(sound), [hears(tick, heard)] if heard else [])
        package = background.recent.media()(background.recent.build("a"))
        assert await words(package.utterance()) == "5.0 s"  # a second before its first word, and since
        assert replace(package, heard="what is 2 + 2").asked() == "what is 2 + 2"
        background.follow(100, Perception(), [types(100, "or in figures")])
        assert replace(background.recent.build("b"), heard="what is 2 + 2").asked() == "or in figures"

    asyncio.run(main())


def test_what_was_kept_is_taken_up_again() -> None:
    async def main() -> None:
        kept: dict[str, Delegation] = {}

        async def work(package: ContextPackage, say: Say) -> None:
            if package.delegation != "read":
                await go.wait()
            say(Piece(Kind.FINAL, f"{package.delegation} is done"))

        go = asyncio.Event()
        before = Background(lambda text: 1, Scripted(work))
        before.keep = lambda d: kept.update({d.id: replace(d, results=d.results.copy(), task=None)})
        for id in ("read", "unread"):
            before.delegate(id)
        await asyncio.gather(*(d.task for d in before.all.values() if d.task and d.id == "read"))
        line = before.inbox.take()
        assert line is not None
        go.set()
        await ended(before)
        before.delegate("open")
        before.stop()

        after = Background(lambda text: 1, Scripted(work))
        after.restore(list(kept.values()), [line.text])
        await ended(after)
        assert read_all(after.inbox) == ['final: "unread is done"', 'final: "open is done"']
        assert [e.state for e in after.earlier()] == [State.DONE] * 3

    asyncio.run(main())


def test_all_sentences_of_a_result_that_were_not_read_are_taken_up_again() -> None:
    async def main() -> None:
        async def work(package: ContextPackage, say: Say) -> None:
            for n, kind in enumerate((Kind.COMMENTARY, Kind.COMMENTARY, Kind.FINAL), 1):
                say(Piece(kind, f"{package.delegation} {n}."))

        before = Background(lambda text: 1, Scripted(work))
        for id in ("a", "b"):
            before.delegate(id)
            await ended(before)
        line = before.inbox.take()
        assert line is not None
        assert line.text == 'commentary: "a 1. a 2."'

        after = Background(lambda text: 1, Scripted(work))
        after.restore([replace(work, task=None) for work in before.all.values()], [line.text])
        assert read_all(after.inbox) == ['final: "a 3."', 'commentary: "b 1. b 2."', 'final: "b 3."']

    asyncio.run(main())


# ---- with an engine ----


def test_what_the_model_delegates_comes_back_to_it_as_text_and_every_tick_goes_on() -> None:
    async def work(package: ContextPackage, say: Say) -> None:
        say(Piece(Kind.THINKING, "looking"))
        say(Piece(Kind.FINAL, f"{package.delegation} is done"))

    async def main() -> None:
        model = Decided(dict.fromkeys((10, 50, 90), Decision.DELEGATE))
        engine = Engine(model, slots=1, clock=VirtualClock())
        ticks: list[tuple[Perception, Action]] = []
        session = engine.open(
            pace=Pace.DRIVEN, listener=lambda action: True, witness=lambda p, a: ticks.append((p, a))
        )
        log, background = EventLog(2), Background(lambda text: len(engine.tokenizer.pack(text, READ)))
        background.backend = Scripted(work)
        for tick in range(200):
            session.push_missing()
            engine.drain()
            perception, action = ticks[tick]
            text = background.follow(tick, perception, log.follow(action, perception.text))
            await ended(background)
            if text:
                session.push_text(text.text, text.channel)
        read = [text for perception, _ in ticks for text in perception.text]
        assert len(ticks) == 200
        assert {text.channel for text in read} == {Channel.BACKGROUND}
        assert [text.text for text in read] == [
            line for d in (10, 50, 90) for line in ('thinking: "looking"', f'final: "dlg_{d} is done"')
        ]

    asyncio.run(main())
