"""What the trainer learns from: an endless, seeded stream of batches drawn from the bank.

Example i of a run depends on nothing but the run's seed and i, so a resumed run sees what it would have seen; only
which films are shown again (reel.py) depends on what was drawn before.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import random
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from queue import Empty, Full

import numpy as np
import torch

from microturn.clock import TICKS_PER_SECOND
from microturn.model.config import ModelConfig
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import SEEN_WEIGHTS, TRAIN_WEIGHTS, compose, write
from microturn.scenes.episode import Clip, Episode, Expected, Placed
from microturn.train import sound
from microturn.train.bank import Bank
from microturn.train.batch import Batch, stack
from microturn.train.lexicon import Lexicon
from microturn.train.manner import sounding
from microturn.train.recipe import Recipe
from microturn.train.reel import Reel
from microturn.train.renamed import rename
from microturn.train.sights import Gallery, Sight
from microturn.train.sound import unspoken

OWN_VOICE = "hibari"  # what the model will sound like, for the echo of it
# families of recorded people, share of what is drawn of them
PEOPLE = {"read": 0.75, "own": 0.13, "words": 0.08, "digits": 0.04}
TOLD = {s: w for s, w in TRAIN_WEIGHTS.items() if s not in ("hear", "digits", "nothing")}
TOLD |= {
    "time": 0.55, "once": 0.15, "interrupt": 0.4, "cue": 0.7, "drill": 0.8, "weave": 0.4, "readout": 0.5,
    "instructions": 0.12, "translate": 0.08, "codeswitch": 0.06,
}  # fmt: skip
HURRIED = 0.3  # share of episodes with given words in which they come twice as fast
BORROWED = 0.5  # share of an engine's voices that take on another's timbre
OVERHEARD = 0.4  # share of plain hearing in which things are asked, and nothing is learned of when to speak
STRANGE = 0.25  # share of the rest of it that is nothing to the model
GAPPED = 0.4  # share of them of which parts are missing
TRIES = 100  # of scripts whose scene may have changed
REREAD = 64  # steps after which the bank is read again
FAMILIES = {  # share of drawn voices
    "tape": 0.11, "hibari": 0.16, "kokoro": 0.22, "flite": 0.12, "espeak": 0.06, "pico": 0.11, "festival": 0.08,
    "rhvoice": 0.14,
}  # fmt: skip
LENGTHS = {12.0: 0.5, 20.0: 0.3, 32.0: 0.2}  # seconds of a step's episodes, share of the steps
TOLD_LENGTHS = {16.0: 0.25, 25.0: 0.35, 40.0: 0.4}


def _chance(seed: int) -> float:
    return random.Random(seed).random()


def family_of(voice: str) -> str:
    return voice.split("-")[0]


def listen(
    clips: list[Clip], rng: random.Random, seconds: float, scene: str = "hear", strangers: bool = False
) -> Episode:
    """People talk one after another; nothing is to be said. Strangers stand farther off, and often say nothing."""
    placed: list[Placed] = []
    now = rng.uniform(0, 1000)
    far = rng.uniform(-18, -2) if strangers else 0.0
    for clip in clips:
        if now + clip.ms > seconds * 1000:
            break
        placed.append(Placed(clip, round(now), int(strangers), far))
        now = placed[-1].end_ms + rng.choice((rng.uniform(60, 500), rng.uniform(100, 1500)))
        if strangers and rng.random() < 0.3:
            now += rng.uniform(1000, 8000)
    ticks = round(seconds * TICKS_PER_SECOND)
    return Episode(scene, 0, ticks, tuple(placed), expected=(Expected("quiet", 0, round(seconds * 1000)),))


class Examples:
    """Draws episodes.

    `told` is the share of batches in which nobody has to be heard: any words can be used there, so that skills are
    learned from more scripts than a bank can hold, and hearing from what it holds; in a share `later` of them there
    is something to see, and in a share `seen` of the other batches, in which what is asked about it is heard. In a
    share `aside` of the other batches' episodes other people talk while words are given: what is given counts.
    `plain` is the share of the rest that is only hearing, `real` the share of those by recorded people.
    """

    def __init__(
        self,
        bank: Bank,
        plain: float,
        real: float,
        told: float = 0.0,
        aside: float = 0.0,
        later: float = 0.0,
        scenes: dict[str, float] | None = None,
        films: dict[str, float] | None = None,
        seen: float = 0.0,
    ) -> None:
        self.bank, self.plain, self.real, self.told, self.aside = bank, plain, real, told, aside
        self.later, self.scenes, self.films = later, scenes or TOLD, films or SEEN_WEIGHTS
        self.scripts = bank.scripts()
        voices = bank.voices()
        known = {family for family in FAMILIES if any(family_of(v) == family for v in voices)}
        self.families = {family: share for family, share in FAMILIES.items() if family in known}
        self.noises = bank.noises()
        self.lexicon = Lexicon.of_bank(bank.folder)
        self.mouth = [bank[i].mel for i in bank.clips_of(OWN_VOICE)] if OWN_VOICE in voices else []
        self.people, self.made = (
            {f: found for f in families if (found := [v for v in voices if family_of(v) == f])}
            for families in (PEOPLE, self.families)
        )
        # a script made for 45 s has most of its matter cut away in 12: prefer those that fit
        self.fitting: dict[float, dict[str, list[int]]] = {s: {} for s in LENGTHS}
        self.watching: dict[float, dict[str, list[int]]] = {s: {} for s in TOLD_LENGTHS}
        for index, kept in enumerate(self.scripts):
            for seconds, by_family in (self.watching if kept.scene in SEEN_WEIGHTS else self.fitting).items():
                if kept.seconds <= seconds * 1.3:
                    by_family.setdefault(family_of(kept.voices[0]), []).append(index)
        if seen and not all(self.watching.values()):
            raise ValueError(f"{bank.folder}: too few scripts of what is seen: build scripts --scenes seen")
        self.seen = seen

    def watched(self, seed: int, seconds: float) -> Episode:
        """Something is to be seen, and what is asked about it is heard."""
        rng, by_family = random.Random(seed), self.watching[seconds]
        for _ in range(TRIES):
            scripts = by_family[self._family(rng, by_family)]
            if episode := self._spoken(rng.choice(scripts), np.random.default_rng(seed), seconds, seed):
                return episode
        raise ValueError("the bank's scripts of what is seen are older than their scenes: build them anew")

    def episode(self, seed: int, seconds: float) -> Episode:
        rng, warps = random.Random(seed), np.random.default_rng(seed)
        if rng.random() < self.aside:
            told = self._told(rng, seconds, self.scenes)
            others = self._plain(rng, warps, seconds).placed
            return replace(told, placed=told.placed + tuple(replace(p, who=1) for p in others))
        by_family = self.fitting[seconds]
        if not by_family or rng.random() < self.plain:
            return self._plain(rng, warps, seconds)
        scripts = by_family[self._family(rng, by_family)]
        index = scripts[rng.randrange(len(scripts))]
        return self._spoken(index, warps, seconds, seed) or self._plain(rng, warps, seconds)

    def _spoken(self, index: int, warps: np.random.Generator, seconds: float, take: int) -> Episode | None:
        """A script of the bank, unless its scene was changed since; the voices are still good then."""
        kept = self.scripts[index]
        script = write(kept.scene, kept.seed, kept.split, kept.seconds)
        if [line.text for line in script.lines] != [text for text, _ in kept.lines]:
            return None
        clips = self._varied(self.bank.script_clips(index), warps)
        clips = [sounding(clip, line.manner) for clip, line in zip(clips, script.lines, strict=True)]
        return compose(script, clips, seconds, take)

    def _told(self, rng: random.Random, seconds: float, shares: dict[str, float]) -> Episode:
        """A new script, its words given."""
        scene = rng.choices(list(shares), list(shares.values()))[0]
        split = "train" if shares is self.films else "given"  # films are those of training
        script = write(scene, rng.randrange(1 << 40, 1 << 41), split, seconds)
        haste = 0.4 if scene in ("drill", "gaze") else 0.5 if rng.random() < HURRIED else 1.0
        pace = rng.uniform(0.8, 1.3) * haste
        clips = [unspoken(line.text, pace) for line in script.lines]
        episode = compose(script, clips, seconds, take=rng.randrange(1 << 30))
        return replace(episode, told=True)

    def _family(self, rng: random.Random, there: Collection[str]) -> str:
        """One of those that are there: voices of one family are more alike than their number says."""
        shares = self.families | PEOPLE
        names = [family for family in shares if family in there] or sorted(there)
        return rng.choices(names, [shares.get(name, 1.0) for name in names])[0]

    def _varied(self, clips: list[Clip], warps: np.random.Generator) -> list[Clip]:
        """Every speaker of the episode sounds a little different each time, the same throughout.

        Engines pronounce so evenly that their voices are soon known by heart: theirs take on something of any
        other voice, and now and then parts of what they say are missing.
        """
        varied: dict[str, list[Clip]] = {}
        for voice in dict.fromkeys(c.voice for c in clips):
            own, seed = [c for c in clips if c.voice == voice], int(warps.integers(1 << 31))
            if family_of(voice) not in PEOPLE and warps.random() < BORROWED:
                other, share = self._anybody(warps), warps.uniform(0.2, 1.0)
                timbres = sound.Timbre.of(own), sound.Timbre.of(other)
                own = [sound.resembling(clip, *timbres, share) for clip in own]
            own = [sound.vary(clip, np.random.default_rng(seed)) for clip in own]
            if family_of(voice) not in PEOPLE and warps.random() < GAPPED:
                own = [sound.gaps(clip, warps) for clip in own]
            varied[voice] = own
        return [varied[clip.voice].pop(0) for clip in clips]

    def _anybody(self, rng: np.random.Generator) -> list[Clip]:
        """Something that somebody says, any family as likely as another."""
        people = [voice for voices in self.people.values() for voice in voices]
        pools = [*self.made.values(), people] if self.made else [self.bank.voices()]
        pool = [
            v for v in pools[int(rng.integers(len(pools)))] if len(self.bank.clips_of(v))
        ] or self.bank.voices()
        known = self.bank.clips_of(pool[int(rng.integers(len(pool)))])
        return [self.bank[int(known[int(rng.integers(len(known)))])] for _ in range(3)]

    def _plain(self, rng: random.Random, warps: np.random.Generator, seconds: float) -> Episode:
        real = self.people and (rng.random() < self.real or not self.made)
        there = self.people if real else self.made
        pool = there[self._family(rng, there)]
        clips: list[Clip] = []
        overheard = not real and rng.random() < OVERHEARD
        for _ in range(1 if rng.random() < 0.7 else 2):
            voice = rng.choice(pool)
            own = self.bank.clips_of(voice) if overheard else self.bank.talk_of(voice)
            if own:
                clips += [self.bank[rng.choice(own)] for _ in range(rng.randint(3, 10))]
        strangers = not overheard and rng.random() < STRANGE
        heard = listen(self._varied(clips, warps), rng, seconds, strangers=strangers)
        return replace(heard, undecided=overheard)

    def filmed(self, seed: int) -> bool:
        """Whether there is something to see in the batch of this seed."""
        chance = _chance(seed)
        return chance < self.told * self.later or 0 <= chance - self.told < (1 - self.told) * self.seen

    def batch(self, seed: int, seconds_in_all: float, c: ModelConfig, pieces: PieceTokenizer) -> Batch:
        """Episodes of one length, as many as make up `seconds_in_all`."""
        rng = np.random.default_rng(seed)
        quiet, filmed = _chance(seed) < self.told, self.filmed(seed)
        lengths = TOLD_LENGTHS if quiet or filmed else LENGTHS
        seconds = float(rng.choice(list(lengths), p=list(lengths.values())))
        seeds = [seed * 1_000_003 + i for i in range(round(seconds_in_all / seconds))]
        if quiet:
            shares = self.films if filmed else self.scenes
            episodes = [self._told(random.Random(s), seconds, shares) for s in seeds]
        else:
            episodes = [(self.watched if filmed else self.episode)(s, seconds) for s in seeds]
        batch = stack(episodes, rng, c, pieces, self.noises, self.mouth, 1.0, self.lexicon, quiet)
        if quiet:
            rename(batch, episodes, random.Random(f"rename {seed}"))
        return batch


def _work(recipe: Recipe, c: ModelConfig, step: int, queue: mp.Queue[Batch | Sight]) -> None:
    torch.set_num_threads(1)
    pieces = PieceTokenizer.load()
    trainer = mp.parent_process()
    examples: Examples | None = None
    gallery = Gallery(recipe.seed, c.frame_size)
    reel = Reel.of(recipe, c)
    while True:
        seed = recipe.seed * 1_000_000 + step
        batch: Batch | Sight
        if recipe.only == "eyes":
            batch = gallery.batch(step)
        else:
            if examples is None or step % REREAD == 0:  # it may be growing
                r = recipe
                bank = Bank(r.bank, needed=r.told < 1)
                examples = Examples(
                    bank, r.plain, r.real, r.told, r.aside, r.later, r.scenes, r.films, r.seen
                )
            make = partial(examples.batch, seed, recipe.seconds, c, pieces)
            batch = (
                reel.batch(random.Random(f"reel {seed}"), make) if reel and examples.filmed(seed) else make()
            )
        step += 1
        while True:
            try:
                queue.put(batch, timeout=5)
                break
            except Full:  # a trainer that was killed cannot say goodbye
                if trainer is None or not trainer.is_alive():
                    return


def batches(recipe: Recipe, c: ModelConfig, step: int) -> Iterator[Batch | Sight]:
    """Batches from `step` on, made by a second process while the network trains."""
    context = mp.get_context("spawn")
    queue: mp.Queue[Batch | Sight] = context.Queue(3)
    worker = context.Process(target=_work, args=(recipe, c, step, queue), daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            with contextlib.suppress(Empty):
                yield queue.get(timeout=5)
        raise ValueError("no more episodes: what draws them has ended, see above")
    finally:
        worker.kill()
