"""One number per head. The ticks around a change of decision weigh more, whichever way it goes: a weight that prefers
one decision to another would make the network take it too often.

Shape suffixes: B episodes, N ticks, T pieces.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from microturn.model.network import Network, Studied
from microturn.model.senses import PAIR, Heard
from microturn.streams import Decision
from microturn.train.batch import Batch
from microturn.train.sights import moves_loss, sight_losses


@dataclass(frozen=True)
class Losses:
    decision: Tensor
    say: Tensor
    hear: Tensor
    sound: Tensor  # per sound of the user's words, as the ears tell them apart
    word: Tensor  # per word of the user's, as the ears tell them apart
    sight: Tensor  # of what films show, as the eyes tell it

    def total(self) -> Tensor:
        sense = SOUND * self.sound + WORD * self.word + SIGHT * self.sight
        return DECISION * self.decision + self.say + self.hear + sense


DECISION = 2.0
CHANGE = 3.0  # more weight for the ticks around a change of decision
AROUND = 2  # ticks on either side
SPEAK_NOTHING = 0.5  # weight of a speaking tick that begins no piece
HEAR_NOTHING = 0.25
SOUND = 0.5
WORD = 0.3
SIGHT = 0.3
TOGETHER, TOGETHER_GAP = 5, 10  # words whose sounds are found together, frames of 20 ms between them
LATE = 3  # frames in which the last sound may still be told
LATER = 3  # 20 ms frames, one of which is where a word is told from others


def phrases(words: Tensor) -> Tensor:
    """Words [W, 3 + P] that follow each other closely as one, at most `TOGETHER`.

    Where one ends and the next begins is not always known well, and the end of a sound only when it is over: so
    there is a little time for it behind the last one, and between them it does not matter.
    """
    joined: list[list[int]] = []
    count = 0
    for row, first, frames, *rest in words.tolist():
        sounds = [s for s in rest if s]
        before = joined[-1] if joined else None
        gap = first - before[1] - before[2] if before and before[0] == row else TOGETHER_GAP + 1
        if before and 0 <= gap <= TOGETHER_GAP and count < TOGETHER:
            before[2] = first + frames - before[1]
            before += sounds
            count += 1
        else:
            if before:
                before[2] += LATE
            joined.append([row, first, frames, *sounds])
            count = 1
    joined[-1][2] += LATE
    out = words.new_zeros(len(joined), max(map(len, joined)))
    for i, phrase in enumerate(joined):
        out[i, : len(phrase)] = words.new_tensor(phrase)
    return out


def sound_loss(network: Network, heard: Heard, words: Tensor) -> Tensor:
    """The sounds of a few words in their order, somewhere within their 20 ms frames (CTC)."""
    if not len(words):
        return heard.frames.new_zeros(())
    words = phrases(words)
    row, first, count, sounds = words[:, 0], words[:, 1], words[:, 2], words[:, 3:]
    odds_BFS = network.sounds(heard.syllables).view(*heard.frames.shape[:2], -1).log_softmax(-1)
    at_WF = (first[:, None] + torch.arange(int(count.max()), device=words.device)).clamp_max(
        odds_BFS.shape[1] - 1
    )
    each = F.ctc_loss(
        odds_BFS[row[:, None], at_WF].transpose(0, 1),
        sounds,
        count,
        (sounds != 0).sum(1),
        reduction="sum",
        zero_infinity=True,
    )
    return each / (sounds != 0).sum()


def word_loss(network: Network, heard: Heard, words: Tensor, others: Tensor) -> Tensor:
    """Where a word has ended it is told from all others of the batch, and from `others`."""
    if not len(words):
        return heard.frames.new_zeros(())
    row, first, count = words[:, 0], words[:, 1], words[:, 2]
    wide = max(words.shape[1] - 3, others.shape[1])
    every = torch.cat([F.pad(w, (0, wide - w.shape[1])) for w in (words[:, 3:], others)])
    names, which = every.unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    end = (first + count - 1 + first % LATER) // PAIR
    heard_WD = heard.syllables[row, end.clamp_max(heard.syllables.shape[1] - 1)]
    return F.cross_entropy(network.lexis(heard_WD, names), which[: len(words)])


def losses(network: Network, studied: Studied, heard: Tensor, said: Tensor, batch: Batch) -> Losses:
    """[B, N, T] what counted as heard in each tick, and what was said in the one before."""
    whole, hidden = studied.hidden, studied.hidden[:, batch.setup.shape[1] :]
    decision = batch.decision.flatten()
    before = F.pad(batch.decision, (1, 0), value=int(Decision.LISTEN))[:, :-1]
    changed = (batch.decision != before).float()[:, None]
    weight = 1 + CHANGE * F.max_pool1d(changed, 2 * AROUND + 1, 1, AROUND)[:, 0]
    weight = weight.masked_fill(batch.undecided[:, None], 0).flatten()
    each = F.cross_entropy(network.decision(hidden).flatten(0, 1), decision, reduction="none")
    rows = hidden.flatten(0, 1)
    speaking = (decision == Decision.SPEAK).nonzero()[:, 0]
    recalled = None
    if network.recall and len(speaking):
        n = hidden.shape[1]
        read = batch.percept.text
        recalled = network.recall(whole, batch.setup, heard, read, said, speaking // n, speaking % n)
    before = said.flatten(0, 1)[speaking]
    say, say_count = network.say.loss(
        rows[speaking], batch.say.flatten(0, 1)[speaking], SPEAK_NOTHING, recalled, before
    )
    known = batch.hear_known.flatten().nonzero()[:, 0]
    listening, words = studied.listening.flatten(0, 1)[known], batch.hear.flatten(0, 1)[known]
    before = F.pad(heard, (0, 0, 1, 0))[:, :-1].flatten(0, 1)[known]
    hear, hear_count = network.hear.loss(listening, words, HEAR_NOTHING, before=before)
    learning = studied.sound.frames.requires_grad
    seen = hidden.new_zeros(())
    if batch.sight and studied.sight and studied.sight.maps.requires_grad:
        seen = sight_losses(network, studied.sight, batch.sight).total()
    elif batch.sight and studied.sight and studied.sight.ticks.requires_grad:
        seen = moves_loss(network, studied.sight, batch.sight)
    return Losses(
        (each * weight).sum() / weight.sum().clamp_min(1),
        say / say_count.clamp_min(1),
        hear / hear_count.clamp_min(1),
        sound_loss(network, studied.sound, batch.sounds) if learning else hidden.new_zeros(()),
        word_loss(network, studied.sound, batch.sounds, batch.others) if learning else hidden.new_zeros(()),
        seen,
    )
