"""Where a voice comes from: hibari's "heart", or a folder of somebody's recordings and transcripts.

hibari's network computes the duration of every phoneme and F0, so nothing of it needs aligning. Recordings are
aligned phone by phone (voices/phones.py) against hibari's pronunciation, their pitch is measured by WORLD.
"""

import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soxr

from microturn.clock import HEAR_RATE, SPEAK_RATE
from microturn.model.normal import spoken
from microturn.model.vocoder import FRAME
from microturn.streams import Floats
from microturn.train.mouth.bank import FRAMES_A_SECOND, Builder, Utterance, utterance
from microturn.train.real import transcripts
from microturn.train.voices.hibari import PAUSES, VOICED_HZ, teacher
from microturn.train.voices.phones import PhoneAligner

GAIN = 1.8  # hibari is soft
EARLIEST = 12  # frames before a first phoneme in which it may be heard already
AUDIBLE = 0.003  # root mean square
LOUDNESS = 0.09  # root mean square of a recording
LEAD_S, TAIL_S = 0.02, 0.15  # kept around what is aligned in a recording


def pronounced(text: str) -> str:
    """The teacher's symbols for a text, punctuation included."""
    return " ".join(teacher()._tts.phonemize(text))


def synthesised(text: str, seed: int = 0, pace: float = 1.0) -> tuple[str, list[int], Floats, Floats]:
    """hibari says it: symbols, their frames (pads before and after included), sound at 24 kHz, F0 by frames."""
    symbols = "".join(symbol for symbol, _ in teacher().numbers([pronounced(text)])[0])
    _, ids = teacher().numbers([symbols])
    sound, f0, lasts = teacher().render(ids, pace, seed)
    frames = (lasts * 2).round().astype(int).tolist()
    return symbols, frames, np.asarray(sound * GAIN, np.float32), np.asarray(f0, np.float32)


def say(text: str, seed: int = 0) -> Utterance:
    """A sentence by the teacher."""
    symbols, frames, sound, f0 = synthesised(text, seed)
    early = _early(sound, frames[0])
    voiced = np.append(f0 > VOICED_HZ, False)
    # hibari's frame k is centred at (k + ½) · 300 samples, ours ends at (k + 1) · 300
    hz = np.where(voiced[:-1] & voiced[1:], (f0 + np.append(f0[1:], 0)) / 2, 0.0)
    lasts = [frames[1] + early, *frames[2:-1]]
    return utterance(text, symbols, lasts, frames[0] - early, sound, hz)


def _early(sound: Floats, lead: int) -> int:
    """Frames by which a sentence is heard before its first phoneme is said to begin: an S has half its hiss there."""
    before = sound[max(0, lead - EARLIEST) * FRAME : lead * FRAME].reshape(-1, FRAME)
    loud = np.flatnonzero(np.sqrt(np.square(before).mean(1)) > AUDIBLE)
    return len(before) - int(loud[0]) if len(loud) else 0


def fill(builder: Builder, numbered: Iterable[tuple[int, str]], minutes: float) -> None:
    """Say sentences until there are so many minutes."""
    for number, text in numbered:
        if builder.seconds >= minutes * 60:
            break
        try:
            builder.add(say(text, number), number)
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
    builder.write()


def recording(path: Path, text: str, aligner: PhoneAligner) -> Utterance:
    """One file and what is said in it."""
    import pyworld
    import soundfile

    raw, rate = soundfile.read(path, dtype="float32", always_2d=True)
    sound = np.asarray(soxr.resample(raw.mean(1), rate, SPEAK_RATE), np.float32)
    loud, peak = float(np.sqrt(np.square(sound).mean())), float(np.abs(sound).max())
    sound *= min(LOUDNESS / max(loud, 1e-5), 0.95 / max(peak, 1e-5))
    text = spoken(text)
    symbols, frames, lead, count = _aligned(sound, text, aligner)
    sound = np.pad(sound, (0, FRAME))[: (lead + count) * FRAME]
    f0, _ = pyworld.harvest(sound.astype(np.float64), SPEAK_RATE, 60.0, 600.0, 1000 / FRAMES_A_SECOND)
    return utterance(text, symbols, frames, lead, sound, np.asarray(f0[1 : lead + count + 1]))


def _aligned(sound: Floats, text: str, aligner: PhoneAligner) -> tuple[str, list[int], int, int]:
    """hibari's symbols, the frames of each in the recording, frames before them, and frames in all."""
    symbols = pronounced(text)
    number = {phone: i for i, phone in enumerate(aligner.phones, start=1)}
    states, owner = [0], [-1]
    for at, symbol in enumerate(symbols):
        if symbol in PAUSES:
            if states[-1]:
                states.append(0)
                owner.append(at)
        elif symbol in number:
            states.append(number[symbol])
            owner.append(at)
    if states[-1]:
        states.append(0)
        owner.append(-2)
    heard = np.asarray(soxr.resample(sound, SPEAK_RATE, HEAR_RATE), np.float32)
    path, _ = aligner.walk(heard, text, states)
    owners = np.asarray(owner)[path]
    if owners[-1] >= 0 and symbols[owners[-1]] in PAUSES:
        owners[owners == owners[-1]] = -2  # the last pause is as long as the recording goes on
    inside = np.flatnonzero(owners >= 0)
    start, end = int(inside[0]) / 100 - LEAD_S, int(inside[-1] + 1) / 100
    lead = max(0, round(start * FRAMES_A_SECOND))
    edges = [lead]
    lasts = []
    for at in range(len(symbols)):
        mine = np.flatnonzero(owners == at)
        least = edges[-1] + (symbols[at] not in PAUSES)  # a phone lasts a frame at least
        edges.append(max(least, round((mine[-1] + 1) / 100 * FRAMES_A_SECOND)) if len(mine) else edges[-1])
        lasts.append(edges[-1] - edges[-2])
    count = max(round((end + TAIL_S) * FRAMES_A_SECOND), edges[-1]) - lead
    return symbols, lasts, lead, min(count, len(sound) // FRAME - lead)


def own(builder: Builder, folder: Path, phones: Path) -> None:
    """A folder as train/real.py describes it: sound files beside a transcripts.jsonl."""
    if not phones.is_file():
        raise ValueError(f"{phones} is missing: make it with microturn.train.build phones")
    aligner = PhoneAligner.load(phones)
    for number, row in itertools.islice(enumerate(transcripts(folder)), builder.number, None):
        try:
            builder.add(recording(folder / row["file"], row["text"], aligner), number)
        except (ValueError, RuntimeError) as error:
            print(f"skipped: {row['file']}: {error}", file=sys.stderr)
    builder.write()


def lexicon() -> dict[str, str]:
    """How the teacher says each word that it knows: symbols by lower-case word, plain entries only."""
    import gzip
    from importlib.util import find_spec

    spec = find_spec("hibari")
    assert spec is not None
    assert spec.origin is not None
    known: dict[str, str] = {}
    for part in ("silver", "gold"):
        stored = gzip.decompress(
            (Path(spec.origin).parent / f"assets/lexicon_us_{part}.json.gz").read_bytes()
        )
        for word, sounds in json.loads(stored).items():
            sounds = sounds.get("DEFAULT") if isinstance(sounds, dict) else sounds
            plain = word.lower()
            # a word in small letters is better evidence than a name that is spelled alike
            better = word == plain or plain not in known
            if sounds and better and plain.isascii() and plain.replace("'", "").isalpha():
                known[plain] = sounds
    return known
