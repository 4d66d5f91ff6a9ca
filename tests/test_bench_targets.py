"""Other systems on the same cases: over real sockets, and from recordings made elsewhere."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from actor_model import Actor
from microturn.bench import kept, scores
from microturn.bench.evaluate import evaluate
from microturn.bench.metrics import Played
from microturn.bench.suites import Suite
from microturn.bench.targets import Loudspeaker, Target, needs, pcm, told
from microturn.bench.waves import Case, Unfit, make_case
from microturn.clock import SPEAK_RATE, SPEAK_SAMPLES
from microturn.scenes.episode import Episode, Expected, Read, Word
from microturn.streams import Channel, Decision, Floats
from recordings import tone, write_wav
from serving import Served, served

TICKS = 22


def ear(sound: Floats) -> tuple[Word, ...]:
    """Hears the actor's tone as the word that it is: where sound begins and ends, to 10 ms."""
    loud = np.flatnonzero(np.abs(sound[: len(sound) // 160 * 160]).reshape(-1, 160).max(1) > 0.1)
    if not len(loud):
        return ()
    ends = [*np.flatnonzero(np.diff(loud) > 1), len(loud) - 1]
    starts = [0, *(i + 1 for i in ends[:-1])]
    return tuple(
        Word("breathe", 10 * int(loud[a]), 10 * int(loud[b]) + 10) for a, b in zip(starts, ends, strict=True)
    )


def case(*reads: Read, expected: tuple[Expected, ...] = ()) -> Case:
    return make_case(Episode("test", 1, TICKS, reads=reads, expected=expected))


def target(kind: str, where: str) -> Target:
    return replace(Target.parse(f"{kind}:{where}"), ear=ear)


@pytest.fixture(scope="module")
def actor() -> Actor:
    return Actor()


@pytest.fixture(scope="module")
def server(actor: Actor) -> Iterator[Served]:
    with served(actor) as running:
        yield running


def test_what_came_of_delegated_work_is_read_as_the_scene_has_it(server: Served, actor: Actor) -> None:
    actor.pieces.clear()
    reads = [Read(1, Channel.BACKGROUND, 'thinking: "a"'), Read(8, Channel.BACKGROUND, 'final: "b"')]
    target("live", server.ws).play("weave", [case(*reads)])
    assert bytes(piece - 1 for piece in actor.pieces).decode() == 'thinking: "a"commentary: "b"'


def test_a_driven_duplex_line_is_placed_a_tick_after_what_it_answers(server: Served) -> None:
    (played,) = target("duplex", f"{server.ws}/v1/actor/duplex?pace=driven").play("turns", [case()])
    assert len(played.speech) == TICKS
    # the actor sounds in its ticks 3, 4 and 5
    (heard,) = played.said
    assert heard.start_ms == pytest.approx(800, abs=20)
    assert heard.end_ms == pytest.approx(1400, abs=20)


def test_live_time_gives_words_and_decisions_at_the_servers_time(server: Served) -> None:
    """A busy machine skips ticks, so nothing comes sooner than the actor's part has it, and some of it later."""
    cases = [case(Read(-1, Channel.INSTRUCTIONS, "be kind"), Read(3, Channel.TYPED, "hello")), case()]
    live = target("live", server.ws).play("turns", cases)
    duplex = target("duplex", server.ws).play("turns", [case()])
    for played in live:
        assert [word.text for word in played.said[:2]] == ["breathe", "in"]
        assert all(word.start_ms >= 600 and word.end_ms - word.start_ms == 200 for word in played.said)
        assert [word.text for word in played.heard[:2]] == ["hello", "there"]
        assert all(word.tick >= 13 for word in played.heard)
        ((tick, decision),) = played.decided
        assert (tick >= 10, decision) == (True, Decision.DELEGATE)
    for played in (*live, *duplex):
        sound = np.concatenate([tick for tick in played.speech if tick is not None])
        assert np.flatnonzero(np.abs(sound) > 0.1)[0] >= 0.75 * SPEAK_RATE  # not before it came over the wire


class Realtime:
    """A server of turns, as the Realtime API has them: answers once with 600 ms of tone, then hears the user."""

    def __init__(self) -> None:
        self.got: list[dict[str, object]] = []

    async def talk(self, socket: ServerConnection) -> None:
        heard = 0
        async for message in socket:
            event = json.loads(message)
            self.got.append(event)
            if event["type"] != "input_audio_buffer.append":
                continue
            before, heard = heard, heard + len(base64.b64decode(event["audio"])) // 2
            if before < SPEAK_RATE <= heard:
                sound = base64.b64encode(pcm(tone(2.0, SPEAK_RATE, level=0.4))).decode()
                await socket.send(
                    json.dumps({"type": "response.output_audio.delta", "item_id": "a", "delta": sound})
                )
            if before < 1.6 * SPEAK_RATE <= heard:
                await socket.send(json.dumps({"type": "input_audio_buffer.speech_started"}))


def test_a_realtime_server_is_cut_short_when_it_hears_the_user() -> None:
    system = Realtime()

    async def go() -> Word:
        async with serve(system.talk, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            at = target("realtime", f"ws://127.0.0.1:{port}/v1/realtime")
            reads = case(Read(-1, Channel.INSTRUCTIONS, "be kind"))
            (played,) = await asyncio.to_thread(at.play, "turns", [reads])
            (word,) = played.said
            return word

    word = asyncio.run(go())
    assert word.start_ms >= 1000
    assert 100 <= word.end_ms - word.start_ms < 2000
    session = system.got[0]["session"]
    assert isinstance(session, dict)
    assert session["instructions"] == "be kind"
    (cut,) = [event for event in system.got if event["type"] == "conversation.item.truncate"]
    assert cut["audio_end_ms"] == pytest.approx(word.end_ms - word.start_ms, abs=200)


def test_recordings_made_elsewhere_are_scored_by_their_words(tmp_path: Path) -> None:
    expected = (Expected("reply", 1000, 3000, "breathe"),)
    cases = [case(expected=expected), case(expected=expected)]
    suite = Suite("mine", "", lambda n, seed, cast: cases[:n], scores.turns, people=True)
    evaluate(
        None,
        suite,
        2,
        0,
        target=target("wav", str(elsewhere(tmp_path, 2))),
        keep=kept.Cases(tmp_path / "kept"),
    )
    result = evaluate(None, suite, 2, 0, target=target("wav", str(tmp_path)), baselines=True)
    assert result.score == 0.5  # the second answers in silence
    assert [row.name for row in result.rows] == ["model", "never-speak", "always-speak", "oracle"]
    assert (tmp_path / "kept/mine/001/case.json").is_file()
    write_wav(tmp_path / "mine/001/out.wav", tone(0.0, 16_000), 16_000)
    timed = {"text": "Breathe", "chunks": [{"text": " Breathe", "timestamp": [1.2, 1.5]}]}
    (tmp_path / "mine/000/out.json").write_text(json.dumps(timed))
    (played,) = target("wav", str(tmp_path)).play("mine", cases[:1])
    assert played.said == (Word("Breathe", 1200, 1500),)


def test_a_recording_that_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    one, other = (case(expected=(Expected("reply", 1000, 3000, text),)) for text in ("breathe", "now"))
    at = target("wav", str(tmp_path))
    with pytest.raises(ValueError, match=r"mine/000/out.wav is not there.* --save FOLDER.* --seed"):
        at.play("mine", [one])
    kept.Cases(tmp_path).keep("mine", one, Played())
    assert at.play("mine", [one])[0].said == ()
    with pytest.raises(ValueError, match="mine/000: saved of another case"):
        at.play("mine", [other])
    (tmp_path / "mine/000/out.json").write_text('{"words": []}')
    with pytest.raises(ValueError, match=r"out.json: 'chunks' is not in it"):
        at.play("mine", [one])
    write_wav(tmp_path / "mine/000/out.wav", tone(0.3, 16_000), 16_000)
    with pytest.raises(ValueError, match=r"mine/000/out.wav ends after 0.\d s, its case after \d"):
        at.play("mine", [one])


def test_a_server_that_hangs_up_is_told_in_one_line() -> None:
    async def go() -> None:
        async with serve(lambda socket: socket.close(1011, "too busy"), "127.0.0.1", 0) as listening:
            at = target("realtime", f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
            await asyncio.to_thread(at.play, "turns", [case()])

    with pytest.raises(ConnectionError, match=r"realtime:.*: hung up in the middle of a case: .*too busy"):
        asyncio.run(go())


def elsewhere(folder: Path, n: int) -> Path:
    for number in range(n):
        (folder / f"mine/{number:03d}").mkdir(parents=True)
        silence, sound = tone(1.4, 48_000, level=0.0), tone(0.5, 48_000, level=0.5 * (number == 0))
        write_wav(
            folder / f"mine/{number:03d}/out.wav", np.concatenate([silence, sound, silence, silence]), 48_000
        )
    return folder


def test_what_a_target_cannot_carry_is_told_in_one_line() -> None:
    reads = (Read(3, Channel.TYPED, "hello"), Read(4, Channel.BACKGROUND, "seven"))
    with pytest.raises(Unfit, match=r"turns needs background, typed, which duplex: does not carry"):
        target("duplex", "ws://nowhere").play("turns", [case(*reads)])
    assert needs("hear", [case()]) == {"transcript"}
    assert needs("turns", [make_case(Episode("t", 1, TICKS), 1), case()]) == set()
    with pytest.raises(ValueError, match="a target is one of duplex:…"):
        Target.parse("phone:123")
    with pytest.raises(ConnectionError, match="nobody answers"):
        target("duplex", "ws://127.0.0.1:9").play("turns", [case()])


def test_a_listener_hears_what_comes_after_what_is_still_to_be_played() -> None:
    speaker = Loudspeaker(2)
    speaker.play(10, np.full(240, 0.5, np.float32))
    speaker.play(15, np.full(240, 0.25, np.float32))
    assert speaker.samples[239] == 0
    assert speaker.samples[240:480].tolist() == [0.5] * 240
    assert speaker.samples[480:720].tolist() == [0.25] * 240
    assert speaker.stop(25)
    assert not speaker.samples[600:].any()
    assert not speaker.stop(30)
    speaker.play(390, np.ones(2 * SPEAK_SAMPLES, np.float32))  # the end of the case is the end
    assert speaker.samples.size == 2 * SPEAK_SAMPLES


def test_pieces_are_joined_to_words() -> None:
    assert [w.text for w in told([(0, 200, " ap"), (200, 400, "ple "), (400, 600, "pie")])] == [
        "apple",
        "pie",
    ]
    assert told([(0, 200, " straw"), (200, 400, "berry pie")]) == (
        Word("strawberry", 0, 400),
        Word("pie", 200, 400),
    )
