"""`python -m microturn.train.hearing WEIGHTS`: what the ears alone tell apart in voices that they have never met.

The sounds that they find in a sentence against those that its words have, and, where a word is known to end, the
likeliest one of the bank's whole lexicon. Released weights have left their lessons
behind; those of a run have them.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from microturn.bench.cast import Cast, to_clip
from microturn.bench.metrics import distance
from microturn.model.checkpoint import network_of
from microturn.model.network import Network
from microturn.model.senses import PAIR
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import write
from microturn.scenes.episode import Clip, Episode, Placed
from microturn.train.batch import padded, stack
from microturn.train.lexicon import Lexicon
from microturn.train.real import recorded
from microturn.train.voices.phones import PhoneAligner

SECONDS, BEFORE_MS, AFTER_MS = 14.0, 300, 700
FIRST = 900_000  # seeds that nobody else draws


def made(voice: str, n: int) -> Iterator[Clip]:
    """Everyday talk in reserved wordings."""
    cast, seed = Cast((voice,), folder=Path("bank/test")), FIRST
    while n > 0:
        for line in write("hear", seed, "test", 20.0).lines[: min(2, n)]:
            yield cast.clip(line.text, voice)
            n -= 1
        seed += 1


def people(n: int, aligner: PhoneAligner) -> Iterator[Clip]:
    """Sentences read by people kept for tests; those whose words cannot be found are passed over."""
    known = [one for one in recorded("test") if one.voice.startswith("read-")]
    random.Random(3).shuffle(known)
    for one in known:
        try:
            clip = to_clip(one.spoken(aligner), one.text, one.voice)
        except ValueError:
            continue
        if clip.ms < SECONDS * 1000 - BEFORE_MS - AFTER_MS:
            yield clip
            n -= 1
        if not n:
            return


@torch.no_grad()
def hear(network: Network, clips: Iterator[Clip], lexicon: Lexicon) -> tuple[float, float]:
    """Share of sounds wrong, share of words right."""
    pieces, c = PieceTokenizer.load(), network.c
    names = sorted({sounds for word in lexicon.words() if (sounds := lexicon.sounds(word))})
    number, table = {sounds: i for i, sounds in enumerate(names)}, padded(names)
    wrong = sounds_in_all = right = words_in_all = 0
    for clip in clips:
        episode = Episode("hear", 0, round(SECONDS * 5), (Placed(clip, BEFORE_MS),))
        batch = stack([episode], np.random.default_rng(0), c, pieces, [], [], 0, lexicon)
        p = batch.percept
        heard, _ = network.ears(p.levels, p.has_audio, network.ears.past(1))
        found_F = network.sounds(heard.syllables).view(heard.frames.shape[1], -1).argmax(-1)
        spelled = [str(s) for s in torch.unique_consecutive(found_F).tolist() if s]
        said = [str(s) for row in batch.sounds.tolist() for s in row[3:] if s]
        wrong += distance(said, spelled)
        sounds_in_all += len(said)
        ends, known = [], []
        for _, first, count, *rest in batch.sounds.tolist():
            true = tuple(s for s in rest if s)
            if true in number:
                ends.append(min((first + count - 1) // PAIR, heard.syllables.shape[1] - 1))
                known.append(number[true])
        if known:
            likeliest = network.lexis(heard.syllables[0, ends], table).argmax(-1)
            right += int((likeliest == torch.tensor(known)).sum())
            words_in_all += len(known)
    return wrong / sounds_in_all, right / words_in_all


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microturn.train.hearing")
    parser.add_argument("weights", type=Path, help="of a run: runs/out/ears/weights")
    parser.add_argument("--n", type=int, default=60, help="sentences of each voice (60)")
    args = parser.parse_args()
    network, _ = network_of(str(args.weights))
    lexicon, aligner = Lexicon.of_bank(Path("bank")), PhoneAligner.load(Path("bank/phones.pt"))
    for name, clips in (
        ("people", people(args.n, aligner)),
        *((voice, made(voice, args.n)) for voice in ("flite-rms", "piper-joe")),
    ):
        wrong, right = hear(network, clips, lexicon)
        print(f"{name:10s} sounds wrong {wrong:.3f}, words right {right:.3f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
