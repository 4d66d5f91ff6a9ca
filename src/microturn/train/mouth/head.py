"""Teaches the speech head: durations, the L1 frame decoder and the flow that adds what an average leaves out.

All three learn at once from whole utterances. What the head will meet when it speaks alone is put into the lessons:
its own last patch instead of the teacher's (scheduled sampling) with noise on it, phonemes that are not known yet,
and any hidden state at all (the backbone's own, or none for a share of the utterances).

Shape suffixes: B utterances, T ticks, F frames, C channels, D width of the backbone, P phonemes.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microturn.model.phonemes import BOUNDARY, NONE, PAUSE
from microturn.model.speech import (
    BEHIND,
    FRAMES,
    GROUP,
    GROUPS,
    LONGEST,
    NEIGHBOURS,
    NEVER,
    SPAN,
    Frames,
    SpeechHead,
)
from microturn.model.vocoder import CHANNELS, MEL_STEP, PITCH
from microturn.streams import Floats, Ints
from microturn.train.mouth.bank import Utterance, VoiceBank
from microturn.train.mouth.course import Course, descend, optimizers
from microturn.train.mouth.minds import Minds, ticks_of
from microturn.train.mouth.sound import Remake

BATCH_TICKS = 240  # of a step, about
LONGEST_TICKS = 60
UNKNOWN = 0.15  # share of ticks that do not know the next word yet, and of phonemes
MINDLESS = 0.3  # share of utterances without a hidden state
SAMPLED = 0.5  # share of ticks that follow on the head's own patch, once it has learned a little
SAMPLED_FROM = 0.1  # of the minutes
FLOW_FROM = 0.7  # of the minutes: the flow begins, on top of averages that have settled
PITCH_WORTH = 2.0
STEPS = 4  # of the flow that one step is to do for
LISTENING = ("mm-hm", "mhm", "uh-huh", "hmm")
LISTENED = 0.05  # share of lessons that are those
SOFTER = math.log(3.2) / MEL_STEP  # 10 dB


@dataclass(frozen=True)
class Lesson:
    hidden: Tensor  # [B, T, D]
    phoneme: Tensor  # [B, T, 24], as in Frames
    into: Tensor
    to_go: Tensor
    place: Tensor  # of it in `window`
    patches: Tensor  # [B, T, 16, 82]
    real: Tensor  # [B, T] ticks that belong to the utterance
    window: Tensor  # [P, 10] phonemes of all utterances with their neighbours; the last one is none
    lasts: Tensor  # [P − 1]

    def frames(self, around: Tensor) -> Frames:
        """`around`: what Durations makes of the window."""
        return Frames(self.phoneme, self.into, self.to_go, around[self.place])


def spans(u: Utterance, rng: np.random.Generator | None = None) -> tuple[Ints, Ints, Ints, Ints]:
    """Phoneme, frames since it began and until it ends, and its place (−1 is none) for each tick's 24 frames; as the
    queue would tell them.

    With `rng` some ticks do not know the words after the present one.
    """
    ticks, count = ticks_of(u), len(u.phonemes)
    at = np.pad(u.labels(), (0, ticks * FRAMES + SPAN - len(u.frames)), constant_values=count)
    frame = np.arange(ticks)[:, None] * FRAMES + np.arange(SPAN)
    at_TF = at[frame]
    end = np.append(np.cumsum(u.lasts), NEVER)
    start = np.append(end[:-1] - u.lasts, end[-2] if count else 0)
    phoneme = np.append(u.phonemes, NONE)[at_TF]
    over = np.where(phoneme == NONE, np.maximum(start[at_TF], frame[:, :1]), start[at_TF])
    into, to_go = frame - over, end[at_TF] - frame - 1
    if rng is not None:
        closes = np.isin(phoneme[:, FRAMES - 1 : -1], (BOUNDARY, PAUSE)) & (
            at_TF[:, FRAMES:] != at_TF[:, FRAMES - 1 : -1]
        )
        for tick in np.flatnonzero((rng.random(ticks) < UNKNOWN) & closes.any(1)):
            first = FRAMES + int(closes[tick].argmax())
            phoneme[tick, first:], to_go[tick, first:] = NONE, NEVER
            into[tick, first:] = np.arange(SPAN - first)
    return phoneme, into, np.minimum(to_go, NEVER), np.where(phoneme == NONE, -1, at_TF)


def windows(phonemes: Ints, rng: np.random.Generator | None = None) -> Ints:
    """Each phoneme between its neighbours, [P, 10]; with `rng` some do not know the next word."""
    padded = np.pad(phonemes, (BEHIND, NEIGHBOURS))
    found = np.lib.stride_tricks.sliding_window_view(padded, BEHIND + 1 + NEIGHBOURS).copy()
    if rng is not None:
        after = np.isin(found[:, BEHIND:-1], (BOUNDARY, PAUSE)).cumsum(1) > 0
        found[:, BEHIND + 1 :][after & (rng.random(len(found)) < UNKNOWN)[:, None]] = NONE
    return found


def listens(u: Utterance) -> bool:
    return u.text.lower().strip(".,!?") in LISTENING


def patches_of(u: Utterance) -> Floats:
    """[T, 16, 82]; beyond its end an utterance is silence. What only says "I listen" is said softly."""
    ticks = ticks_of(u)
    frames = np.pad(u.frames, ((0, ticks * FRAMES - len(u.frames)), (0, 0)))
    if listens(u):
        frames[:, :PITCH] = np.maximum(frames[:, :PITCH] - SOFTER, 0.0)
    return frames.reshape(ticks, FRAMES, CHANNELS)


def lesson(
    some: list[tuple[Utterance, Floats | None]], width: int, rng: np.random.Generator | None = None
) -> Lesson:
    ticks = max(ticks_of(u) for u, _ in some)
    hidden = torch.zeros(len(some), ticks, width)
    each = [torch.zeros(len(some), ticks, SPAN, dtype=torch.long) for _ in range(4)]
    each[2] += NEVER
    each[3] -= 1
    first = 0
    patches = torch.zeros(len(some), ticks, FRAMES, CHANNELS)
    real = torch.zeros(len(some), ticks, dtype=torch.bool)
    for b, (u, mind) in enumerate(some):
        count = ticks_of(u)
        phoneme, into, to_go, place = spans(u, rng)
        for whole, part in zip(each, (phoneme, into, to_go, place + first * (place >= 0)), strict=True):
            whole[b, :count] = torch.from_numpy(part)
        first += len(u.phonemes)
        patches[b, :count] = torch.from_numpy(patches_of(u))
        real[b, :count] = True
        if mind is not None and not (rng is not None and rng.random() < MINDLESS):
            hidden[b, :count] = torch.from_numpy(np.asarray(mind, np.float32))
    nobody = np.full((1, BEHIND + 1 + NEIGHBOURS), NONE)
    window = np.concatenate([*(windows(u.phonemes, rng) for u, _ in some), nobody])
    lasts = np.concatenate([u.lasts for u, _ in some])
    phonemes, intos, to_goes, places = each
    given = (phonemes, intos, to_goes, places, patches, real, torch.tensor(window), torch.tensor(lasts))
    return Lesson(hidden, *given)


def patch_loss(made: Tensor, true: Tensor) -> Tensor:
    """Mean distance; pitch counts only where there is a voice. [R, 16, 82] each."""
    apart = (made - true).abs()
    voiced = true[..., PITCH + 1]
    pitch = (apart[..., PITCH] * voiced).sum() / voiced.sum().clamp_min(1.0)
    return apart[..., :PITCH].mean() + apart[..., PITCH + 1].mean() + PITCH_WORTH * pitch


def duration_loss(head: SpeechHead, around: Tensor, lasts: Tensor) -> Tensor:
    """Whether each phoneme lasts longer than 0, 1, 2 … frames."""
    longer = (lasts[:, None] > torch.arange(LONGEST)).float()
    return F.binary_cross_entropy_with_logits(head.durations.longer(around), longer)


def losses(head: SpeechHead, given: Lesson, sampled: float, flows: bool, settling: bool) -> dict[str, Tensor]:
    before, around = given.patches, head.durations.around(given.window)
    frames = given.frames(around)
    if sampled:
        with torch.no_grad():
            average, _ = head(given.hidden, frames, before)
            own = average + torch.randn_like(average) * head.flow.spread * torch.rand(
                *average.shape[:2], 1, 1
            )
            chosen = torch.rand(average.shape[:2]) < sampled
            before = torch.where(chosen[..., None, None], own, before)
            before = before + torch.randn_like(before) * 0.1 * torch.rand(*before.shape[:2], 1, 1)
    average, made = head(given.hidden, frames, before)
    average, made, true = average[given.real], made[given.real], given.patches[given.real]
    found = {"l1": patch_loss(average, true), "durations": duration_loss(head, around[:-1], given.lasts)}
    if settling:
        apart = (true - average.detach()).flatten(0, 1).std(0).clamp_min(0.01)
        head.flow.spread.lerp_(apart, 0.02)
    if flows:
        time, noise = torch.rand(len(true)), torch.randn(len(true), GROUPS, GROUP)
        found["flow"] = head.flow_loss(average, made, true, time, noise)
    return found


def drawer(bank: Path, width: int, seed: int) -> Callable[[], Lesson]:
    """Lessons without end."""
    utterances = VoiceBank(bank)
    minds, rng = Minds(bank, utterances), np.random.default_rng(seed)
    fitting = [i for i in range(len(utterances)) if ticks_of(utterances[i]) <= LONGEST_TICKS]
    soft = [i for i in fitting if listens(utterances[i])] or fitting

    def draw() -> Lesson:
        some: list[tuple[Utterance, Floats | None]] = []
        longest = 0
        while longest * (len(some) + 1) < BATCH_TICKS:
            pool = soft if rng.random() < LISTENED else fitting
            number = pool[int(rng.integers(len(pool)))]
            some.append((utterances[number], minds[number]))
            longest = max(longest, ticks_of(some[-1][0]))
        return lesson(some, width, rng)

    return draw


def train(bank: Path, folder: Path, minutes: float, head: SpeechHead, width: int) -> None:
    torch.manual_seed(0)
    learning = torch.nn.ModuleDict({"durations": head.durations, "decoder": head.decoder, "flow": head.flow})
    both = optimizers(learning, 1e-3, 4e-3)
    course = Course(folder, {"head": learning}, both, minutes)
    draw = drawer(bank, width, course.step)

    def learn(step: int) -> dict[str, float]:
        done = course.minutes / course.planned
        sampled = SAMPLED * (done > SAMPLED_FROM) * (step % 2)  # it costs a third of a step
        found = losses(head, draw(), sampled, done > FLOW_FROM, done < FLOW_FROM + 0.1)
        descend(torch.stack(list(found.values())).sum(), both)
        return {name: loss.item() for name, loss in found.items()}

    course.go(learn)


def distil(bank: Path, folder: Path, minutes: float, head: SpeechHead, width: int) -> None:
    """The flow learns to reach in one step what it reached in several. The rest of the head stays as it is."""
    torch.manual_seed(0)
    several = copy.deepcopy(head.flow).requires_grad_(False)
    steps, heat = max(head.config.flow_steps, STEPS), head.config.temperature
    parts = {"durations": head.durations, "decoder": head.decoder, "flow": head.flow}
    mine = optimizers(head.flow, 5e-4, 2e-3)
    course = Course(folder, {"head": torch.nn.ModuleDict(parts)}, mine, minutes)
    draw = drawer(bank, width, course.step)

    def learn(step: int) -> dict[str, float]:
        given = draw()
        with torch.no_grad():
            frames = given.frames(head.durations.around(given.window))
            _, made = head(given.hidden, frames, given.patches)
            made = made[given.real]
            noise = torch.randn(len(made), GROUPS, GROUP) * heat
            end = several.moved(noise, several.context(made), steps)
        once = head.flow.moved(noise, head.flow.context(made), 1)
        loss = F.mse_loss(once, end)
        descend(loss, mine)
        return {"apart": loss.item()}

    course.go(learn)


def remaker(head: SpeechHead, width: int) -> Remake:
    """An utterance with the mels that the head would give it, patch after true patch; its pitch stays."""

    @torch.no_grad()
    def remake(u: Utterance) -> Utterance:
        if listens(u):  # softer than its sound
            return u
        given = lesson([(u, None)], width)
        last = F.pad(given.patches[0, :-1], (0, 0, 0, 0, 1, 0))
        whole = given.frames(head.durations.around(given.window))
        rows = Frames(*(getattr(whole, f.name)[0] for f in fields(Frames)))
        made = head.patch(given.hidden[0], rows, last, torch.randn(len(last), GROUPS, GROUP))
        frames = u.frames.copy()
        frames[:, :PITCH] = made.flatten(0, 1)[: len(frames), :PITCH].cpu().numpy()
        return replace(u, frames=frames)

    return remake
