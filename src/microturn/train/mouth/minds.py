"""What goes on in the backbone while it says a bank's utterances: hidden states for the speech head to learn under.

The network reads nothing and hears silence; it is shown, tick by tick, the words it has just said, each some ticks
before its sound, and decides to speak. Beside every part of a bank this leaves `NAME-0000.hidden.npy`.

Shape suffixes: B utterances, T ticks (one patch each), R pieces a tick, D width.
"""

import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from microturn.model.ears import BINS, FRAMES
from microturn.model.network import NO_DECISION, Network, Own, Percept
from microturn.model.speech import FRAMES as PATCH
from microturn.model.tokenizer import PieceTokenizer
from microturn.streams import Decision, Floats
from microturn.train.mouth.bank import INDEX, Utterance, VoiceBank

HIDDEN = ".hidden.npy"
TOGETHER = 16  # utterances
EARLIEST = 3  # ticks by which a word may be said before it must


def ticks_of(u: Utterance) -> int:
    return -(-len(u.frames) // PATCH)


def pieces_of(u: Utterance, tokenizer: PieceTokenizer, room: int, rng: random.Random) -> list[list[int]]:
    """The pieces said in step 0 … T; the patch made in step k + 1 may begin with what was said in step k."""
    steps: list[list[int]] = [[] for _ in range(ticks_of(u) + 1)]
    step = 0
    for word, frame in u.words():
        step = max(step, frame // PATCH - rng.randrange(EARLIEST))
        for piece in tokenizer.encode_word(word.lower().strip(",.;:!?")):
            if len(steps[step]) == room:
                step = min(step + 1, len(steps) - 1)
            steps[step] = (steps[step] + [piece])[:room]
    return steps


@torch.no_grad()
def hidden_of(network: Network, steps_BT: list[list[list[int]]]) -> Tensor:
    """Hidden states [B, T, D] of the steps after the first."""
    c, batch, ticks = network.c, len(steps_BT), max(map(len, steps_BT))
    said = torch.zeros(batch, ticks, c.say_pieces, dtype=torch.long)
    for b, steps in enumerate(steps_BT):
        for t, pieces in enumerate(steps[: ticks - 1]):  # seen one tick later
            said[b, t + 1, : len(pieces)] = torch.tensor(pieces, dtype=torch.long)
    decided = torch.full((batch, ticks), int(Decision.SPEAK))
    decided[:, 0] = NO_DECISION
    nothing = torch.zeros(batch, ticks, c.read_pieces, dtype=torch.long)
    percept = Percept(
        levels=torch.zeros(1, ticks, FRAMES, BINS, dtype=torch.long),
        has_audio=torch.ones(batch, ticks, dtype=torch.bool),
        frames=torch.zeros(0, *c.frame_size, 3, dtype=torch.uint8),
        has_frame=torch.zeros(batch, ticks, dtype=torch.bool),
        text=nothing,
        channel=nothing,
    )
    nothing_heard = torch.zeros_like(said)
    own = Own(said, nothing_heard, decided, None)
    empty = torch.zeros(batch, 0, c.read_pieces, dtype=torch.long)
    return network(empty, empty, percept, own, nothing_heard)[:, 1:]  # type: ignore[no-any-return]


def think(bank: Path, network: Network) -> None:
    """Every part that has none yet gets its hidden states."""
    utterances, done, tokenizer = VoiceBank(bank), 0, PieceTokenizer.load()
    for path in sorted(bank.glob(f"*{INDEX}")):
        count = len(np.load(path)["ends"])
        mine = [utterances[i] for i in range(done, done + count)]
        done += count
        out = Path(str(path).removesuffix(INDEX) + HIDDEN)
        if out.exists():
            continue
        rng = random.Random(path.name)
        found: list[Floats] = [np.zeros(0, np.float32)] * count
        order = sorted(range(count), key=lambda i: ticks_of(mine[i]))
        for at in range(0, count, TOGETHER):
            some = order[at : at + TOGETHER]
            steps = [pieces_of(mine[i], tokenizer, network.c.say_pieces, rng) for i in some]
            hidden = hidden_of(network, steps).numpy()
            for i, row in zip(some, hidden, strict=True):
                found[i] = row[: ticks_of(mine[i])]
        np.save(out, np.concatenate(found).astype(np.float16))
        print(f"{out.name}: {done} of {len(utterances)} utterances", flush=True)


class Minds:
    """Hidden states of a bank's utterances, in its order; nothing where a part has none."""

    def __init__(self, folder: Path, bank: VoiceBank) -> None:
        self._rows: list[Floats | None] = []
        for path in sorted(folder.glob(f"*{INDEX}")):
            ends = np.load(path)["ends"][:, 1]
            ticks = -(-np.diff(ends, prepend=0) // PATCH)
            stored = Path(str(path).removesuffix(INDEX) + HIDDEN)
            whole = np.load(stored, mmap_mode="r") if stored.exists() else None
            last = np.cumsum(ticks)
            for a, b in zip(last - ticks, last, strict=True):
                self._rows.append(None if whole is None else whole[a:b])
        assert len(self._rows) == len(bank)

    def __getitem__(self, number: int) -> Floats | None:
        return self._rows[number]
