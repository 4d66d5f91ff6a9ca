"""A small phone recogniser, only to find when each word of a known sentence was said by a person.

Warping against one synthetic reading (align.py) is exact for synthetic voices and up to 0.3 s off for
children with an accent. So a little convolutional network learns, from the bank's many hibari speakers
whose phone times are known, which phone each 10 ms frame belongs to; Viterbi then walks through the
sentence's phones, with an optional silence between words. Accented speakers are labelled with the phone
that they meant. Trained in a minute or two.

Shapes: B pieces, T frames of 10 ms, P phones (0 is silence), S states of a sentence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from microturn.model.ears import BINS, from_bytes, power_mel
from microturn.scenes.episode import Clip
from microturn.streams import Floats
from microturn.train.bank import Bank
from microturn.train.voices.align import Alignment
from microturn.train.voices.hibari import PAUSES, STRESS, speaker, teacher

SILENCE_DB = 38.0  # below the loudest frames
PIECE = 240  # frames in a training piece
BATCH = 12
RANGE = 4.0  # decades of power below the loudest frames that the network sees
LEAVE_SILENCE, ENTER_SILENCE = -0.7, -2.5  # log-odds of the optional silence between words


class PhoneNet(nn.Module):
    def __init__(self, phones: int, width: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = BINS
        for spread in (1, 2, 4, 1):
            layers += [
                nn.Conv1d(size, width, 5, padding=2 * spread, dilation=spread),
                nn.BatchNorm1d(width),
                nn.GELU(),
            ]
            size = width
        self.body = nn.Sequential(*layers, nn.Dropout(0.1), nn.Conv1d(width, phones, 1))

    def forward(self, seen_BCT: Tensor) -> Tensor:
        """[B, BINS, T] → log-probabilities [B, P, T]."""
        scores: Tensor = self.body(seen_BCT)
        return scores.log_softmax(1)


def view(power_TC: Tensor) -> Tensor:
    """Log power as the network sees it: the loudest frames at 0, each bin's mean taken out, [BINS, T]."""
    log_TC = power_TC.clamp_min(1e-12).log10()
    top = log_TC.amax(1).quantile(0.97)
    log_TC = (log_TC - top).clamp(-RANGE, 0.5)
    return (log_TC - log_TC.mean(0)).T


@dataclass
class PhoneAligner:
    net: PhoneNet
    phones: list[str]  # symbol of class i + 1
    prior_P: Tensor  # log share of frames

    def save(self, path: Path) -> None:
        torch.save(
            {"net": self.net.state_dict(), "phones": json.dumps(self.phones), "prior": self.prior_P}, path
        )

    @classmethod
    def load(cls, path: Path) -> PhoneAligner:
        kept = torch.load(path, weights_only=True)
        phones: list[str] = json.loads(kept["phones"])
        net = PhoneNet(len(phones) + 1)
        net.load_state_dict(kept["net"])
        return cls(net.eval(), phones, kept["prior"])

    def walk(self, samples: Floats, text: str, states: list[int]) -> tuple[NDArray[np.int64], float]:
        """Which of the states in order each frame of 10 ms is in, and the score of it all."""
        with torch.no_grad():
            seen = view(power_mel(torch.from_numpy(samples)))
            scores_PT = (self.net(seen[None])[0] - 0.7 * self.prior_P[:, None]).numpy().astype(np.float64)
        if scores_PT.shape[1] < len(states):
            raise ValueError(f"{text!r} cannot be said in {scores_PT.shape[1] / 100:.1f} s")
        return _walk(scores_PT[states].T, np.asarray(states))

    def align(self, samples: Floats, text: str) -> Alignment:
        """Where in `samples` (16 kHz) each word is. The cost is minus the mean score of a frame."""
        words = [_phones(group) for group in teacher().phonemes(text)]
        number = {phone: i for i, phone in enumerate(self.phones, start=1)}
        states, owner = [0], [-1]
        for at, word in enumerate(words):
            known = [number[p] for p in word if p in number]
            if not known:
                raise ValueError(f"no known phone in a word of {text!r}")
            states += [*known, 0]
            owner += [at] * len(known) + [-1]
        path, score = self.walk(samples, text, states)
        owners = np.asarray(owner)[path]
        spans = []
        for at in range(len(words)):
            frames = np.flatnonzero(owners == at)
            spans.append((frames[0] / 100, (frames[-1] + 1) / 100))
        return Alignment(tuple(spans), -score / len(path))


def _walk(scores_TS: NDArray[np.float64], states: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """The best path through the states in order; only silences between words may be left out."""
    frames, count = scores_TS.shape
    quiet = states == 0
    enter = np.where(quiet, ENTER_SILENCE, 0.0)
    enter[-1] = 0.0
    skip = np.full(count, -np.inf)  # over the silence before this state
    skip[2:][quiet[1:-1]] = 0.0
    best = np.full(count, -np.inf)
    best[0] = scores_TS[0, 0]
    best[1] = scores_TS[0, 1]
    came = np.zeros((frames, count), np.int64)
    ways = np.full((3, count), -np.inf)
    for t in range(1, frames):
        ways[0] = best
        ways[1, 1:] = best[:-1] + enter[1:]
        ways[2, 2:] = best[:-2] + skip[2:]
        came[t] = ways.argmax(0)
        best = ways.max(0) + scores_TS[t]
    state = count - 1 if best[-1] >= best[-2] else count - 2
    score = float(best[state])
    path = np.zeros(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= came[t, state]
    return path, score


def learn(bank: Bank, steps: int = 600, clips: int = 900, seed: int = 0) -> PhoneAligner:
    """Train on the bank's hibari speakers."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    numbers = [n for voice in bank.voices() if voice.startswith("hibari") for n in bank.clips_of(voice)]
    chosen = [bank[int(n)] for n in rng.permutation(numbers)[:clips]]
    marked = [(clip, symbols) for clip in chosen if (symbols := _frame_phones(clip)) is not None]
    phones = sorted({symbol for _, symbols in marked for symbol in symbols if symbol})
    number = {"": 0} | {phone: i for i, phone in enumerate(phones, start=1)}
    labels = [torch.tensor([number[s] for s in symbols]) for _, symbols in marked]
    powers = [from_bytes(torch.from_numpy(np.array(clip.mel))) for clip, _ in marked]
    net = PhoneNet(len(number))
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        seen, wanted = zip(*(_piece(powers, labels, rng) for _ in range(BATCH)), strict=True)
        loss = nn.functional.nll_loss(net(torch.stack(seen)), torch.stack(wanted))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
        if step % 100 == 99:
            print(f"phones: step {step + 1}, loss {loss.item():.3f}", flush=True)
    shares = torch.bincount(torch.cat(labels), minlength=len(number)).float() + 1
    return PhoneAligner(net.eval(), phones, (shares / shares.sum()).log())


def _piece(powers: list[Tensor], labels: list[Tensor], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A stretch of a clip between silences, with a room, a microphone and noise."""
    at = int(rng.integers(len(powers)))
    before, after = int(rng.integers(5, 80)), PIECE
    power = nn.functional.pad(powers[at], (0, 0, before, after))
    label = nn.functional.pad(labels[at], (before, after))
    start = int(rng.integers(0, max(1, len(labels[at]) + before - PIECE // 2)))
    power, label = power[start : start + PIECE], label[start : start + PIECE]
    hum = np.interp(np.linspace(0, 1, BINS), np.linspace(0, 1, 5), rng.normal(0, 0.5, 5)) + rng.uniform(
        -6.5, -3.2
    )
    floor = torch.from_numpy(10**hum).float() * torch.empty(PIECE, BINS).exponential_()
    tone = torch.from_numpy(
        np.interp(np.linspace(0, 1, BINS), np.linspace(0, 1, 6), rng.normal(0, 0.4, 6))
    ).float()
    tail = float(rng.choice([0.0, rng.uniform(0.0, 0.75)]))  # share of the power left after 20 ms: a room
    echo = power.clone()
    for _ in range(4 if tail else 0):
        echo[2:] = power[2:] + tail * echo[:-2]
    return view(torch.pow(10, tone) * (0.8 * power + 0.2 * echo) + floor), label


def _frame_phones(clip: Clip) -> list[str] | None:
    """The phone of each frame of a hibari clip, "" for silence. None where its times cannot be reproduced."""
    who = speaker(clip.voice)
    groups = teacher().phonemes(clip.text)
    said = list(groups)
    for heard, instead in who.accent:
        said = [group.replace(heard, instead) for group in said]
    timed = teacher().phone_ends(said, who.pace)
    meant = [p for group in groups for p in _phones(group)]
    if len(timed) != len(meant):
        return None  # an accent that drops or joins phones
    shift = clip.words[0].start_ms / 1000 - timed[0].start
    db = 10 * from_bytes(torch.from_numpy(np.array(clip.mel))).sum(-1).clamp_min(1e-9).log10().numpy()
    threshold = np.percentile(db, 95) - SILENCE_DB
    symbols = [""] * len(db)
    for phone, stretch in zip(meant, timed, strict=True):
        for t in range(
            max(0, round((stretch.start + shift) * 100)), min(len(db), round((stretch.end + shift) * 100))
        ):
            symbols[t] = phone if db[t] > threshold else ""
    return symbols


def _phones(group: str) -> list[str]:
    """A word's phones: no stress, no punctuation."""
    return [c for c in group if c not in STRESS and c not in PAUSES]
