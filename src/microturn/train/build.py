"""Fills a bank: `python -m microturn.train.build talk|scripts|real --out bank …`.

Three sources, all resumable and all safe to run side by side under different `--worker` numbers:

    real     recordings of people (see real.py)
    talk     sentences that people wrote to each other, each by a random voice
    scripts  whole scripts of the scenes: one voice for the user, another for bystanders

Everything is drawn from fixed seeds, so a builder that starts again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from microturn.clock import HEAR_RATE
from microturn.train.bank import INDEX, PART_CLIPS, Bank, BankScript, Part, Request
from microturn.train.voices import RESERVED, Spoken, load_voice, voice_names

FAMILY_SHARES = {"hibari": 0.88, "espeak": 0.07, "flite": 0.05}
LENGTHS = ((12.0, 0.45), (20.0, 0.3), (30.0, 0.15), (45.0, 0.1))  # seconds of a script, share
BYSTANDER_SALT = 7_919
PLAIN = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")


class Builder:
    """Adds parts "NAME-0000", "NAME-0001" … to a folder; what earlier parts of that name hold is not made again."""

    def __init__(self, folder: Path, name: str, part_clips: int = PART_CLIPS) -> None:
        self.folder, self.name, self.part_clips = folder, name, part_clips
        earlier = sorted(folder.glob(f"{name}-[0-9]*{INDEX}"))
        self.number = 1 + int(earlier[-1].name.removesuffix(INDEX).rsplit("-", 1)[1]) if earlier else 0
        self.have: set[Request] = set()
        self.have_scripts: set[tuple[str, int]] = set()
        if earlier:
            bank = Bank(folder, f"{name}-[0-9]*")
            self.have = {bank.request(number) for number in range(len(bank))}
            self.have_scripts = {(script.scene, script.seed) for script in bank.scripts()}
        self.part = Part()
        self.made_s = 0.0
        self._began = time.monotonic()

    def add(self, request: Request) -> bool:
        """Whether the bank has the clip now; a voice may fail on a line."""
        if request in self.have:
            return True
        if request.voice in RESERVED:
            raise ValueError(f"{request.voice} is reserved for tests and may not enter a bank")
        try:
            self.take(request, load_voice(request.voice).speak(request.text))
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
            return False
        return True

    def take(self, request: Request, spoken: Spoken) -> None:
        self.part.add(request, spoken)
        self.have.add(request)
        self.made_s += len(spoken.samples) / HEAR_RATE

    def add_script(self, script: BankScript) -> None:
        if (script.scene, script.seed) in self.have_scripts:
            return
        if all([self.add(Request(text, voice)) for text, voice in script.lines]):
            self.part.scripts.append(script)
            self.have_scripts.add((script.scene, script.seed))

    def write_when_full(self, full: int | None = None) -> None:
        if len(self.part) < (self.part_clips if full is None else full):
            return
        name = f"{self.name}-{self.number:04d}"
        self.part.write(self.folder, name)
        spent = time.monotonic() - self._began
        print(
            f"{name}: {len(self.part)} clips, {len(self.part.scripts)} scripts; "
            f"{self.made_s / 60:.1f} min of speech in {spent / 60:.1f} min",
            flush=True,
        )
        self.part, self.number = Part(), self.number + 1

    def finish(self) -> None:
        if len(self.part) or self.part.scripts:
            self.write_when_full(0)


def build(requests: Iterable[Request], folder: Path | str, name: str = "lines") -> None:
    """Speak every request that the bank does not hold yet."""
    builder = Builder(Path(folder), name)
    for request in requests:
        builder.add(request)
        builder.write_when_full()
    builder.finish()


def any_voice(rng: random.Random, shares: dict[str, float], but: str = "") -> str:
    family = rng.choices(list(shares), list(shares.values()))[0]
    names = [name for name in voice_names("train") if name.startswith(family) and name != but]
    return rng.choice(names)


def talk(count: int, worker: int, workers: int, shares: dict[str, float], salt: str = "talk") -> Iterator[Request]:
    """Sentences of the chitchat dataset, each by a random voice."""
    sentences = chitchat()
    random.Random(salt).shuffle(sentences)
    for number in range(worker, count, workers):
        rng = random.Random(f"{salt}-{number}")
        yield Request(sentences[number % len(sentences)], any_voice(rng, shares))


def chitchat() -> list[str]:
    """Plain sentences of 2 to 14 words from chitchat-dataset (PyPI, MIT)."""
    from chitchat_dataset import Dataset

    found: dict[str, None] = {}
    for conversation in Dataset().values():
        for turn in conversation["messages"]:
            for message in turn:
                for sentence in re.split(r"[.!?;:\n]+", message["text"].lower().replace("’", "'")):
                    plain = " ".join(sentence.replace(",", " ").split())
                    if PLAIN.fullmatch(plain) and 2 <= plain.count(" ") + 1 <= 14 and _sayable(plain):
                        found.setdefault(plain)
    return list(found)


def _sayable(text: str) -> bool:
    return all(len(word) <= 14 and re.search("[aeiouy]", word) for word in text.split())


def scripts(count: int, worker: int, workers: int, shares: dict[str, float], first: int = 0) -> Iterator[BankScript]:
    """Scripts of every scene, by weight, each with its own seed and voices."""
    from microturn.scenes import SCENES

    for seed in range(first + worker, first + count, workers):
        rng = random.Random(f"script-{seed}")
        name = rng.choices(list(SCENES), [getattr(scene, "weight", 1.0) for scene in SCENES.values()])[0]
        seconds = rng.choices([s for s, _ in LENGTHS], [share for _, share in LENGTHS])[0]
        script = SCENES[name].script(random.Random(seed), "train", seconds)
        user = any_voice(rng, shares)
        voices = (user, any_voice(rng, shares, but=user))
        lines = tuple((line.text, voices[min(line.who, 1)]) for line in script.lines)
        yield BankScript(name, seed, seconds, voices, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=("real", "talk", "scripts"))
    parser.add_argument("--out", type=Path, default=Path("bank"))
    parser.add_argument("--count", type=int, default=6000, help="sentences or scripts")
    parser.add_argument("--first", type=int, default=0, help="seed of the first script")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--family", default="", help="only voices of this family, e.g. kokoro")
    parser.add_argument("--folder", type=Path, help="real: a folder of your own recordings")
    args = parser.parse_args(arguments)
    shares = {args.family: 1.0} if args.family else FAMILY_SHARES
    kind = "-".join(part for part in (args.source, args.family, str(args.worker)) if part)
    builder = Builder(args.out, kind)
    if args.source == "real":
        from microturn.train.real import recordings

        for request, spoken in recordings(args.folder, builder.have):
            builder.take(request, spoken)
            builder.write_when_full()
    elif args.source == "talk":
        salt = f"talk{args.family}"
        for request in talk(args.count, args.worker, args.workers, shares, salt):
            builder.add(request)
            builder.write_when_full()
    else:
        for script in scripts(args.count, args.worker, args.workers, shares, args.first):
            builder.add_script(script)
            builder.write_when_full()
    builder.finish()


if __name__ == "__main__":
    main()
