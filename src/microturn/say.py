"""`microturn say TEXT OUT.wav`: the model reads a text with its own mouth, as fast as the machine allows.

The words are put into its mouth tick by tick, just ahead of the sound; decisions to speak are made for it while there
are words left. Everything else is a session's ordinary path at driven pace: the backbone lives through saying them,
its hidden state goes to the speech head, the head's frames to the vocoder.
"""

import argparse
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from microturn.clock import HEAR_SAMPLES
from microturn.engine import Engine
from microturn.engine.offline import Stream, play
from microturn.media import write_wav
from microturn.model.checkpoint import VOICED, network_of
from microturn.model.interaction import Interaction
from microturn.model.normal import spoken
from microturn.model.phonemes import to_phonemes
from microturn.model.speech import SpeechHead
from microturn.model.tokenizer import PieceTokenizer
from microturn.model.voicefile import Voice, give_voice, read_voice
from microturn.streams import Action, Decision, Floats, Ints, Perception, TickInput, TickOutput, joined

AHEAD = 24  # phonemes that wait in the mouth; fewer, and the next words are handed over
LAST = 1  # ticks after the last word, for the end of its sound


@dataclass
class Plan:
    """What one slot has left to say: at most so many pieces at a time, and the phonemes that end with them."""

    words: deque[tuple[list[int], list[int]]]
    saying: list[int] = field(default_factory=list)  # phonemes of what is said in this step
    due: list[int] = field(default_factory=list)  # and of the step before, whose sound begins now
    last: int = LAST  # ticks to go after the last sound; below 0 it listens


class Reader(Interaction):
    """An interaction model whose words in some slots are given."""

    def __init__(
        self, name: str, voice: Voice | None = None, others: Mapping[str, SpeechHead] | None = None
    ) -> None:
        network, story = network_of(name)
        if voice:
            story = give_voice(network, story, voice)
        if VOICED not in story:
            raise ValueError(
                f"{name} has no trained voice: give one with --voice, or train one (runs/voice.sh)"
            )
        super().__init__(network, PieceTokenizer.load(), voice=story[VOICED], others=others)
        self._plans: dict[int, Plan] = {}
        self._rows: list[int] = []

    def give(self, slot: int, text: str) -> None:
        """Say this from the next step on. Any text will do."""
        room, words = self.config.say_pieces, deque[tuple[list[int], list[int]]]()
        for word in spoken(text).split():
            pieces = self._tokenizer.encode_word(word.lower().strip(",.;:!?"))
            parts = [pieces[i : i + room] for i in range(0, len(pieces), room)]
            words += [(part, []) for part in parts[:-1]]
            words.append((parts[-1], to_phonemes(word)))
        self._plans[slot] = Plan(words)

    def stop(self, slot: int) -> None:
        """It is to yield: it decides to listen in the next step."""
        self._plans[slot] = Plan(deque(), last=-1)

    def busy(self, slot: int) -> bool:
        plan = self._plans.get(slot)
        return plan is not None and bool(plan.words or plan.saying or plan.due or plan.last > 0)

    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        self._rows = slots.tolist()
        return super().step(slots, batch)

    def _core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        decision, odds, said, heard, hidden = super()._core(*inputs)
        for row, slot in enumerate(self._rows):
            if slot in self._plans:
                decision[row], said[row] = self._next(slot)
        self.slots.said[inputs[0]], self.slots.decided[inputs[0]] = said, decision
        return decision, odds, said, heard, hidden

    def _next(self, slot: int) -> tuple[int, Tensor]:
        plan, room = self._plans[slot], self.config.say_pieces
        said = torch.zeros(room, dtype=torch.long)
        waiting = int(self.speech.count[slot]) + len(plan.due)
        count, plan.saying = 0, []
        while plan.words and waiting < AHEAD and count + len(plan.words[0][0]) <= room:
            pieces, phonemes = plan.words.popleft()
            said[count : count + len(pieces)] = torch.tensor(pieces, dtype=torch.long)
            count, waiting = count + len(pieces), waiting + len(phonemes)
            plan.saying += phonemes
        if plan.last >= 0 and (plan.words or waiting):
            return Decision.SPEAK, said
        plan.last -= 1
        return (Decision.SPEAK if plan.last >= 0 else Decision.LISTEN), said

    def _phonemes(self, said: Ints, then: Ints) -> tuple[Tensor, Tensor]:
        rows = []
        for slot in self._rows:
            plan = self._plans.get(slot, Plan(deque()))
            rows.append(plan.due)
            plan.due, plan.saying = plan.saying, []
        counts = torch.tensor([len(row) for row in rows])
        phonemes = torch.zeros(len(rows), max(1, int(counts.max())), dtype=torch.long)
        for row, ids in enumerate(rows):
            phonemes[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        return phonemes, counts

    def perceptions(self, slot: int) -> Iterator[Perception]:
        """Silence for as long as there is something to say, and one tick more."""
        nothing = np.zeros(HEAR_SAMPLES, np.float32)
        while self.busy(slot):
            yield Perception(audio=nothing)
        yield Perception(audio=nothing)


def read_aloud(reader: Reader, engine: Engine, text: str, seed: int = 0, voice: str = "") -> list[Action]:
    """One text through an engine that has nothing else to do."""
    reader.give(0, text)
    return list(play(engine, Stream(reader.perceptions(0), seed=seed, voice=voice)))


def sound_of(actions: list[Action]) -> Floats:
    """From the first tick with sound to the last."""
    heard = [i for i, action in enumerate(actions) if action.speech is not None]
    if not heard:
        return np.zeros(0, np.float32)
    return joined(action.speech for action in actions[heard[0] : heard[-1] + 1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The model reads a text with its own voice."
    parser.add_argument("text", help="any text; numbers, dates and money are read as a person would")
    parser.add_argument("out", type=Path, help="24 kHz mono PCM16")
    parser.add_argument("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument(
        "--voice", type=Path, metavar="FILE", help="a voice file instead of the model's own voice"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, another rendering")


def run(args: argparse.Namespace) -> int:
    if not spoken(args.text):
        raise ValueError("there is nothing to say in this text")
    reader = Reader(args.model, read_voice(args.voice) if args.voice else None)
    engine = Engine(reader, slots=1)
    try:
        sound = sound_of(read_aloud(reader, engine, args.text, args.seed))
    finally:
        engine.close()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_wav(args.out, sound)
    print(f"{args.out}: {len(sound) / 24_000:.1f} s")
    return 0
