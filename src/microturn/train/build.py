"""Fills a bank: `python -m microturn.train.build talk|words|asks|retell|scripts|phones|real|lexicon --out bank …`.

    talk     sentences that people wrote to each other, each by a random voice
    words    a few of the words that scenes are about, one behind the other, each line by a random voice
    asks     what is asked of the model, in every wording that may train, each by a random voice
    retell   sentences that people read in the recordings for training, each by a random voice
    scripts  whole scripts of the scenes: one voice for the user, another for bystanders
    phones   learns, from what is there, to time the words of real people (see voices/phones.py)
    real     recordings of people (see real.py)
    lexicon  how the words of the bank sound

All are resumable and safe to run side by side under different `--worker` numbers. Everything is drawn from
fixed seeds, so a builder that starts again goes on where it stopped.
"""

import argparse
import itertools
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from microturn.clock import HEAR_RATE
from microturn.model.ears import power_mel, to_bytes
from microturn.train.bank import INDEX, PART_CLIPS, Bank, BankScript, Part, Request
from microturn.train.lexicon import write_lexicon
from microturn.train.real import noise, own, recorded
from microturn.train.voices import RESERVED, Spoken, load_voice, phones, voice_names
from microturn.train.voices.foreign import ENGLISH_ONLY, speaks

PHONES = "phones.pt"
FAMILY_SHARES = {"tape-": 0.6, "hibari-": 0.3, "espeak-": 0.06, "flite-": 0.04}
LENGTHS = {12.0: 0.5, 20.0: 0.3, 32.0: 0.2}  # seconds of a script, share
FILM_LENGTHS = {16.0: 0.4, 25.0: 0.4, 40.0: 0.2}
LISTED = 20_000  # lines of words
ASKED = 3  # lines of each wording
SLOT = re.compile(r"\{(\w+)\}")
PLAIN = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")


class Builder:
    """Adds parts "NAME-0000", "NAME-0001" … to a folder; what those there hold is not made again."""

    def __init__(self, folder: Path, name: str, part_clips: int = PART_CLIPS) -> None:
        self.folder, self.name, self.part_clips = folder, name, part_clips
        earlier = sorted(folder.glob(f"{name}-[0-9]*{INDEX}"))
        self.number = 1 + int(earlier[-1].name.removesuffix(INDEX).rsplit("-", 1)[1]) if earlier else 0
        self.have: set[Request] = set()
        self.have_scripts: set[tuple[str, int, float]] = set()
        if earlier:
            bank = Bank(folder, f"{name}-[0-9]*")
            self.have = {bank.request(number) for number in range(len(bank))}
            self.have_scripts = {(s.scene, s.seed, s.seconds) for s in bank.scripts()}
        self.part = Part()
        self.made_s = 0.0
        self._began = time.monotonic()

    def add(self, request: Request) -> bool:
        """Whether the bank has the clip now; a voice may fail on a line, but not be missing."""
        if request in self.have:
            return True
        if request.voice in RESERVED:
            raise ValueError(f"{request.voice} is reserved for tests and may not enter a bank")
        voice = load_voice(request.voice)
        try:
            self.take(request, voice.speak(request.text))
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
            return False
        return True

    def take(self, request: Request, spoken: Spoken) -> None:
        self.part.add(request, spoken)
        self.have.add(request)
        self.made_s += len(spoken.samples) / HEAR_RATE

    def add_script(self, script: BankScript) -> None:
        known = (script.scene, script.seed, script.seconds)
        if known in self.have_scripts:
            return
        failed = [line for line in script.lines if not self.add(Request(*line))]
        if not failed:
            self.part.scripts.append(script)
            self.have_scripts.add(known)

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
    known = voice_names("train")
    if family in known:
        return family
    names = [name for name in known if name.startswith(family) and name != but]
    return rng.choice(names)


def talk(
    sentences: list[str], numbers: Iterable[int], shares: dict[str, float], salt: str
) -> Iterator[Request]:
    """Sentences, each by a random voice."""
    random.Random(salt).shuffle(sentences)
    for number in numbers:
        rng = random.Random(f"{salt}-{number}")
        yield Request(sentences[number % len(sentences)], any_voice(rng, shares))


def listed(count: int = LISTED) -> list[str]:
    """Lines of 2 to 6 words that cues, rules and numbers are made of, every word as often as any other."""
    from microturn.scenes.words import ALL, NUMBERS

    rng, left, lines = random.Random("listed"), list[str](), list[str]()
    for _ in range(count):
        while len(left) < 6:
            left += rng.sample((*ALL, *NUMBERS), len(ALL) + len(NUMBERS))
        several = rng.randint(2, 6)
        lines.append(" ".join(left[:several]))
        del left[:several]
    return lines


def asked() -> list[str]:
    """Every wording of every scene that may train, its slots filled with any words."""
    from microturn.scenes.converse import KINDS
    from microturn.scenes.wording import WORDED, fill, said_in, whole
    from microturn.scenes.words import ALL, NUMBERS, TASKS, VERBS

    rng, lines = random.Random("asked"), dict[str, None]()
    slots = {**dict.fromkeys("abcmn", NUMBERS), **dict.fromkeys(("task", "task2"), (*TASKS, *VERBS))}
    slots |= {"list": ("days of the week", "days", "months", "alphabet"), "kind": tuple(KINDS.values())}
    for wordings in itertools.chain.from_iterable(said_in(scene).values() for scene in WORDED):
        for pattern in (wordings.train + wordings.more) * ASKED:
            filled = {name: rng.choice(slots.get(name, ALL)) for name in SLOT.findall(pattern)}
            lines.setdefault(whole(fill(pattern, rng, **filled)))
    return list(lines)


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


def retold() -> list[str]:
    return list(dict.fromkeys(line.text for line in recorded("train") if " " in line.text))


SENTENCES = {"talk": chitchat, "words": listed, "asks": asked, "retell": retold}


def _sayable(text: str) -> bool:
    return all(len(word) <= 14 and re.search("[aeiouy]", word) for word in text.split())


def scripts(
    seeds: Iterable[int],
    shares: dict[str, float],
    which: str = "first",
    lengths: dict[float, float] = LENGTHS,
) -> Iterator[BankScript]:
    """A training script for each seed: scene, length and voices are drawn from it."""
    from microturn.scenes import ASKED_WEIGHTS, LATER_WEIGHTS, SEEN_WEIGHTS, TRAIN_WEIGHTS, write

    kinds = {"first": TRAIN_WEIGHTS, "later": LATER_WEIGHTS, "asked": ASKED_WEIGHTS, "seen": SEEN_WEIGHTS}
    weights = kinds[which]
    split = "given" if which == "asked" else "train"
    for seed in seeds:
        rng = random.Random(f"script-{seed}")
        scene = rng.choices(list(weights), list(weights.values()))[0]
        seconds = rng.choices(list(lengths), list(lengths.values()))[0]
        user = any_voice(rng, shares)
        voices = (user, any_voice(rng, shares, but=user))
        script = write(scene, seed, split, seconds)
        if not all(speaks(voices[min(line.who, 1)], line.text) for line in script.lines):
            able = {family: share for family, share in shares.items() if family[:-1] not in ENGLISH_ONLY}
            user = any_voice(rng, able)
            voices = (user, any_voice(rng, able, but=user))
        lines = tuple((line.text, voices[min(line.who, 1)]) for line in script.lines)
        yield BankScript(scene, seed, seconds, voices, lines, split)


def real(builder: Builder, folder: Path | None, kind: str) -> None:
    """Recordings of people, a whole speaker at a time: a part never ends within a speaker."""
    learned = builder.folder / PHONES
    aligner = phones.PhoneAligner.load(learned) if learned.is_file() else None
    done = {request.voice for request in builder.have}
    lines = own(folder) if folder else (line for line in recorded("train") if line.voice.startswith(kind))
    for voice, said in itertools.groupby(lines, key=lambda line: line.voice):
        if voice in done:
            continue
        for line in said:
            try:
                builder.take(Request(line.text, line.voice), line.spoken(aligner))
            except ValueError as error:
                print(f"skipped: {error}", file=sys.stderr)
        builder.write_when_full()
    if not folder:
        np.save(
            builder.folder / "kitchen.noise.npy",
            to_bytes(power_mel(torch.from_numpy(noise("train")))).numpy(),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", choices=("talk", "words", "asks", "retell", "scripts", "phones", "real", "lexicon")
    )
    parser.add_argument("--out", type=Path, default=Path("bank"))
    parser.add_argument("--count", type=int, default=6000, help="sentences or scripts")
    parser.add_argument("--first", type=int, default=0, help="seed of the first script")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--part", type=int, default=PART_CLIPS, help="clips of one part; fewer for slow voices"
    )
    parser.add_argument("--family", default="", help="one voice, or those whose names begin so, e.g. kokoro-")
    parser.add_argument(
        "--scenes", choices=("first", "later", "asked", "seen"), default="first", help="scripts: which"
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="scripts: all of this length")
    parser.add_argument("--folder", type=Path, help="real: a folder of your own recordings")
    args = parser.parse_args(arguments)
    shares = {args.family: 1.0} if args.family else FAMILY_SHARES
    started = str(args.first) if args.first else ""
    which = "" if args.scenes == "first" else args.scenes
    parts = (args.source, which, args.family.strip("-"), started, str(args.worker))
    kind = "-".join(part for part in parts if part)
    seeds = range(args.first + args.worker, args.first + args.count, args.workers)
    if args.source == "phones":
        phones.learn(Bank(args.out)).save(args.out / PHONES)
        return
    if args.source == "lexicon":
        bank = Bank(args.out)
        texts = (bank.request(number).text for number in range(len(bank)))
        write_lexicon(args.out, (word.strip(",.?!") for text in texts for word in text.split()))
        return
    builder = Builder(args.out, kind, args.part)
    if args.source == "real":
        real(builder, args.folder, args.family)
    elif args.source == "scripts":
        usual = FILM_LENGTHS if args.scenes == "seen" else LENGTHS
        lengths = {args.seconds: 1.0} if args.seconds else usual
        for script in scripts(seeds, shares, args.scenes, lengths):
            builder.add_script(script)
            builder.write_when_full()
    else:
        for request in talk(SENTENCES[args.source](), seeds, shares, f"{args.source}{args.family}"):
            builder.add(request)
            builder.write_when_full()
    builder.finish()


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"microturn.train.build: {error}")
