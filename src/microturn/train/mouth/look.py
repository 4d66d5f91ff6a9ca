"""Listening by looking: spectrograms of one sentence one above the other, and the curves of a run's log."""

import json
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageDraw

from microturn.clock import SPEAK_RATE
from microturn.model.vocoder import DELAY, FRAME, PITCH, Vocoder, log_mel
from microturn.streams import Floats
from microturn.train.mouth.bank import Utterance

TALL, WIDE, EDGE = 2, 3, 18  # pixels of a mel bin, of a frame, and around
INKS = ("#c03030", "#3060c0", "#309050", "#b07020", "#8040a0")
CURVES = (900, 360)


def vocoded(vocoder: Vocoder, u: Utterance) -> Floats:
    """The utterance's own frames as sound, not late."""
    state = vocoder.allocate(1)
    state.phase[0], state.pitch[0, 0] = u.phase, float(u.frames[0, PITCH])
    frames = np.pad(u.frames, ((0, -(-DELAY // FRAME)), (0, 0)))
    with torch.no_grad():
        sound, _ = vocoder(torch.from_numpy(frames)[None], state)
    own: Floats = sound[0, DELAY:].numpy()[: len(u.samples)]
    return own


def spectrograms(named: dict[str, Floats]) -> Image.Image:
    """Time to the right, mels upwards, dark is loud."""
    mels = {name: log_mel(torch.from_numpy(sound)[None])[0].numpy() for name, sound in named.items()}
    wide = max(map(len, mels.values())) * WIDE + 2 * EDGE
    each = 80 * TALL + EDGE
    picture = Image.new("L", (wide, each * len(mels) + EDGE), 255)
    pen = ImageDraw.Draw(picture)
    for row, (name, mel) in enumerate(mels.items()):
        ink = (255 - mel.T[::-1] / 3.0 * 255).clip(0, 255).astype(np.uint8)
        picture.paste(Image.fromarray(ink.repeat(TALL, 0).repeat(WIDE, 1)), (EDGE, EDGE + row * each))
        pen.text((EDGE, row * each + 3), name, fill=0)
    return picture


def opus(path: Path, sound: Floats) -> None:
    """A small file that anything plays."""
    with av.open(str(path), "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=SPEAK_RATE, layout="mono", options={"b": "24000"})
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), "flt", "mono")
        frame.sample_rate = SPEAK_RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def curves(folder: Path, inks: Mapping[str, str] | None = None) -> Image.Image:
    """Every number of a run's log (or those that have an ink) over its minutes, each as a share of its own range."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    picture = Image.new("RGB", CURVES, "white")
    pen = ImageDraw.Draw(picture)
    wide, high = CURVES[0] - 2 * EDGE, CURVES[1] - 3 * EDGE
    last = max(rows[-1]["minutes"], 1e-6)
    names = dict.fromkeys(n for row in rows for n in row if n not in ("step", "minutes"))
    known = inks or dict(zip(names, INKS, strict=False))
    for number, (name, ink) in enumerate((name, ink) for name, ink in known.items() if name in names):
        seen = [(row["minutes"], row[name]) for row in rows if name in row]
        low, top = min(v for _, v in seen), max(v for _, v in seen)
        scale = high / max(top - low, 1e-9)
        pen.line([(EDGE + wide * m / last, 2 * EDGE + (top - v) * scale) for m, v in seen], fill=ink, width=2)
        pen.text(
            (EDGE + min(170, wide // len(known)) * number, 4),
            f"{name} {top:.3g} … {seen[-1][1]:.3g}",
            fill=ink,
        )
    pen.text((CURVES[0] - 80, CURVES[1] - EDGE), f"{last:.0f} min", fill="#555555")
    return picture
