"""A voice file, weights that it was joined to, and a model that reads aloud with it."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from microturn.bench import speech as bench
from microturn.cli import main
from microturn.engine import Engine, play_all
from microturn.engine.offline import Stream
from microturn.media import audio_ticks, examine
from microturn.model.checkpoint import load_model, network_of, save_weights
from microturn.model.config import tiny
from microturn.model.interaction import Interaction
from microturn.model.network import Network
from microturn.model.phonemes import to_phonemes
from microturn.model.voicefile import join, read_voice, write_voice
from microturn.say import Reader, read_aloud, sound_of
from microturn.streams import Decision, Floats
from microturn.train.mouth import look
from microturn.train.mouth.minds import hidden_of

TEXT = "At 3:45 we met 12 dogs, honestly."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stem = tmp_path_factory.mktemp("weights") / "tiny"
    save_weights(Network(tiny()), stem, {})
    return str(stem)


@pytest.fixture(scope="module")
def voice(weights: str) -> Path:
    torch.manual_seed(1)
    path = Path(weights).with_name("somebody.voice")
    write_voice(path, "somebody", Network(tiny()).voice, tiny().d_model, {"minutes": "0"})
    return path


@pytest.fixture(scope="module")
def reader(weights: str, voice: Path) -> Reader:
    return Reader(weights, read_voice(voice))


def test_a_voice_file_gives_back_the_voice(voice: Path, weights: str) -> None:
    kept = read_voice(voice)
    assert (kept.name, kept.width, kept.story["minutes"]) == ("somebody", tiny().d_model, "0")
    for name, weight in kept.head().state_dict().items():
        assert torch.equal(weight, kept.tensors[name])
    with pytest.raises(ValueError, match="not a voice file"):
        read_voice(Path(weights).with_suffix(".safetensors"))
    with pytest.raises(ValueError, match="does not fit"):
        kept.put(Network(tiny(voice_dim=48)).voice)


@pytest.mark.parametrize("packed", [False, True])
def test_joined_weights_speak_and_lose_nothing(
    tmp_path: Path, weights: str, voice: Path, packed: bool
) -> None:
    join(weights, voice, tmp_path / "both", packed)
    assert load_model(str(tmp_path / "both")).voiced
    assert not load_model(weights).voiced
    before, after = (network_of(name)[0] for name in (weights, str(tmp_path / "both")))
    kept = read_voice(voice).tensors["decoder.outward.weight"]
    assert torch.allclose(after.voice.decoder.outward.weight, kept, atol=0.01)
    assert not after.sounded.weight.any()
    assert torch.allclose(before.decision.weight, after.decision.weight, atol=0.02)


def test_the_backbone_thinks_while_it_says_something(weights: str) -> None:
    network, _ = network_of(weights)
    one, other = hidden_of(network, [[[5, 6], [], [7]], [[9], [8]]])
    assert one.shape == (2, network.c.d_model)
    assert not torch.allclose(one[0], other[0])


def test_a_sample_can_be_listened_to(tmp_path: Path) -> None:
    hum = np.asarray(0.3 * np.sin(np.arange(24_000) * 0.06), np.float32)
    look.opus(tmp_path / "hum.opus", hum)
    ticks = list(audio_ticks(examine(tmp_path / "hum.opus")))
    assert len(ticks) == 5
    assert all(tick is not None and np.abs(tick).max() > 0.2 for tick in ticks)


def test_a_text_is_read_to_its_end_and_then_it_listens(reader: Reader) -> None:
    engine = Engine(reader, slots=1)
    actions = read_aloud(reader, engine, TEXT)
    engine.close()
    words = "".join(piece for action in actions for piece in action.say).split()
    assert words == ["at", "three", "forty-five", "we", "met", "twelve", "dogs", "honestly"]
    assert actions[-1].decision is Decision.LISTEN
    assert len(sound_of(actions)) % 4800 == 0
    assert np.abs(sound_of(actions)).max() > 0


def test_the_same_text_sounds_the_same_again_and_another_seed_does_not(reader: Reader) -> None:
    engine = Engine(reader, slots=1)
    one, same, other = (sound_of(read_aloud(reader, engine, "hello you", seed)) for seed in (0, 0, 7))
    engine.close()
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other) or not reader.network.voice.config.flow_steps


def test_sound_streams_as_it_would_be_made_at_once(reader: Reader) -> None:
    engine = Engine(reader, slots=1)
    assert bench.apart(reader, engine, TEXT) < 1e-4
    engine.close()


def test_yielding_is_over_within_the_tick_and_then_it_is_silent(reader: Reader) -> None:
    engine = Engine(reader, slots=1)
    last_ms, floor_db = bench.stopping(reader, engine, TEXT, after=3)
    engine.close()
    assert last_ms <= 20
    assert floor_db < -60


def test_sessions_side_by_side_speak_with_voices_of_their_own(weights: str, voice: Path) -> None:
    torch.manual_seed(2)
    other = Network(tiny()).voice.eval()
    reader = Reader(weights, read_voice(voice), {"other": other})
    assert reader.spec.voices == ("somebody", "other")
    engine = Engine(reader, slots=4)
    alone = [sound_of(read_aloud(reader, engine, TEXT, voice=name)) for name in ("", "somebody", "other")]
    assert np.array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[0], alone[2])
    for slot in range(3):
        reader.give(slot, TEXT)
    names = ("other", "somebody", "other")
    streams = [Stream(reader.perceptions(slot), voice=name) for slot, name in enumerate(names)]
    for _ in play_all(engine, streams):
        pass
    for stream, name in zip(streams, names, strict=True):
        assert np.array_equal(sound_of(stream.actions), alone[1 + (name == "other")])
    with pytest.raises(ValueError, match="no voice 'mine': known are somebody, other"):
        engine.open(voice="mine")
    engine.close()
    torch.manual_seed(3)
    with pytest.raises(ValueError, match="voice odd does not fit"):
        Reader(weights, read_voice(voice), {"odd": Network(tiny(voice_dim=48)).voice})


def test_a_snapshot_keeps_the_voice(weights: str, voice: Path) -> None:
    other = {"other": Network(tiny()).voice.eval()}
    reader = Reader(weights, read_voice(voice), other)
    reader.allocate(2)
    reader.reset(0, voice="other")
    kept = reader.snapshot(0)
    reader.restore(1, kept)
    assert int(reader.slots.voice[1]) == 1
    alone = Reader(weights, read_voice(voice))
    alone.allocate(1)
    alone.restore(0, kept)
    assert int(alone.slots.voice[0]) == 0  # it is not here: the usual one


def test_a_word_whose_pieces_come_in_two_ticks_is_pronounced_whole(reader: Reader) -> None:
    pieces = reader.tokenizer.encode(" strawberries are")
    cut = 2
    assert reader.tokenizer.piece(pieces[1])[0] != " "
    first, then = (np.zeros((1, 8), np.int64) for _ in range(2))
    first[0, :cut], then[0, : len(pieces) - cut] = pieces[:cut], pieces[cut:]
    ids, count = Interaction._phonemes(reader, first, then)
    assert ids[0, : int(count[0])].tolist() == to_phonemes("strawberries")
    ids, count = Interaction._phonemes(reader, then, np.zeros_like(then))
    assert ids[0, : int(count[0])].tolist() == to_phonemes("are")


def test_say_writes_a_file_or_tells_what_is_missing(
    tmp_path: Path, weights: str, voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out.wav"
    assert main(["say", "hello you", str(out), "--model", weights, "--voice", str(voice)]) == 0
    with wave.open(str(out)) as file:
        assert (file.getframerate(), file.getnframes() % 4800) == (24_000, 0)
        assert file.getnframes() > 0
    capsys.readouterr()
    assert main(["say", "hello", str(out), "--model", weights]) == 2
    assert "has no trained voice" in capsys.readouterr().err
    assert main(["say", "...", str(out), "--model", weights, "--voice", str(voice)]) == 2


# The detectors of `bench speech`


def tone(seconds: float, hz: float = 200.0) -> Floats:
    return np.asarray(0.2 * np.sin(2 * np.pi * hz * np.arange(int(24_000 * seconds)) / 24_000), np.float32)


def test_a_click_is_found_and_a_tone_is_none() -> None:
    clean = tone(1.0)
    clicked = clean.copy()
    clicked[7_000] += 0.5
    assert (bench.clicks(clean), bench.clicks(clicked)) == (0, 1)
    torn = np.concatenate([clean[:7_006], clean[7_040:]])
    assert abs(torn[7_006] - torn[7_005]) > 0.1
    assert bench.clicks(torn) == 1


def test_a_plosive_is_no_click() -> None:
    rng = np.random.default_rng(0)
    burst = np.concatenate([np.zeros(2_400), rng.normal(0, 0.2, 2_400) * np.exp(-np.arange(2_400) / 200)])
    assert bench.clicks(np.tile(burst, 5).astype(np.float32)) == 0


def test_a_gap_counts_where_no_pause_was_to_be() -> None:
    broken = np.concatenate([tone(0.4), np.zeros(6_000, np.float32), tone(0.4)])
    assert (bench.gaps(broken, 0), bench.gaps(broken, 1), bench.gaps(tone(1.0), 0)) == (1, 0, 0)
    padded = np.concatenate([np.zeros(4_800, np.float32), broken])
    assert abs(len(bench.trimmed(padded)) - len(broken)) <= 480
    assert bench.quiet_share(padded) == pytest.approx(0.25 / 1.05, abs=0.03)


def test_unseen_sentences_are_of_every_kind() -> None:
    found = bench.texts(8)
    assert len(set(found)) == 8
    assert found == bench.texts(8)
