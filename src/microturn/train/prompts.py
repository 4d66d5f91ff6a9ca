"""What a telephone exchange says, as a folder of recordings: `python -m microturn.train.prompts SOUNDS TEXTS FOLDER`.

Debian's asterisk-core-sounds-en-g722 holds some five hundred prompts by one native speaker, asterisk-core-sounds-en
what she says in them; `python -m microturn.train.build real --folder FOLDER` takes them into a bank.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile

from microturn.model.normal import plain

LONGEST_S = 11.0  # more does not fit into short episodes
SPEAKER = "allison"


def prompts(texts: Path) -> Iterator[tuple[str, str]]:
    """Names and what is said; what stands in brackets is no speech."""
    for line in gzip.decompress(texts.read_bytes()).decode().splitlines():
        name, colon, text = line.partition(":")
        if colon and not line.startswith(";") and not any(mark in text for mark in "[]()<>"):
            yield name.strip(), " ".join(plain(text))


def convert(sounds: Path, texts: Path, folder: Path) -> int:
    """Writes the recordings and their transcripts; how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, text in prompts(texts):
        path = sounds / f"{name}.g722"
        if not path.is_file() or not text:
            continue
        with av.open(path, format="g722") as file:
            samples = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
            rate = file.streams.audio[0].rate
        if len(samples) < LONGEST_S * rate:
            rows.append({"file": name.replace("/", "-") + ".flac", "text": text, "speaker": SPEAKER})
            soundfile.write(folder / rows[-1]["file"], samples, rate)
    lines = (json.dumps(row) + "\n" for row in rows)
    (folder / "transcripts.jsonl").write_text("".join(lines), "utf-8")
    return len(rows)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m microturn.train.prompts SOUNDS TEXTS.gz FOLDER")
    print(f"{convert(*map(Path, sys.argv[1:]))} recordings")
