"""`microturn train CONFIG`: the training loop, on two CPU cores or one GPU unchanged.

A run lives in a folder: its recipe, a log of one JSON object a line, plots, and a checkpoint from which it goes on
to the step. What is fed back to the network is, for a growing share of the batches, what it really did when it
lived through those very episodes alone (train/rollout.py); for the rest the right answers, with holes.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from microturn.model.checkpoint import save_weights, warm_start
from microturn.model.config import find_config
from microturn.model.network import VOICE, Network, Own
from microturn.model.tokenizer import PieceTokenizer
from microturn.train.batch import Batch, fed_back
from microturn.train.crew import APART, Crew
from microturn.train.examples import batches
from microturn.train.half import half
from microturn.train.losses import SOUND, WORD, losses, sound_loss, word_loss
from microturn.train.muon import optimizers
from microturn.train.oracle import corrected
from microturn.train.recipe import Recipe
from microturn.train.rollout import roll_out
from microturn.train.shards import gather, join, own, parts, place, restore, shard, weights, whole
from microturn.train.sights import Sight, jostled, sight_losses
from microturn.train.watch import Watch


def rate_at(recipe: Recipe, step: int, minutes: float) -> float:
    """The learning rate as a share of its full value."""
    warm = min(1.0, (step + 1) / recipe.warm_steps)
    cooling = (minutes / recipe.minutes - (1 - recipe.cool_share)) / recipe.cool_share
    return warm * (1 - 0.93 * min(max(cooling, 0.0), 1.0))


def feedback(network: Network, batch: Batch, rolled: bool, holes: float) -> tuple[Own, Tensor, Batch]:
    """What is fed back, what counts as heard in each tick, and the batch with what is right after that."""
    if rolled:
        gather(network)
        done = roll_out(network, batch, quick=True)
        past = fed_back(done.say, done.hear, done.decision)
        decision, say, hear = corrected(
            batch.decision, batch.say, batch.hear, batch.cut, done.decision, done.say, done.hear
        )
        return past, done.hear, replace(batch, decision=decision, say=say, hear=hear)
    heard, hear = slips(batch.hear, holes)
    hidden = torch.rand(batch.decision.shape, device=heard.device) < holes
    heard = torch.where(hidden[..., None], 0, heard)
    heard = torch.where(batch.told[:, None, None], batch.hear, heard)
    return fed_back(batch.say, heard, batch.decision), heard, replace(batch, hear=hear)


def slips(hear: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Words as somebody would write them down who is sometimes a tick early [B, N, T], and what is right after that.

    A word that was early is not written again. Without this lesson a network doubles every word of which it is not
    sure in which tick it ends, because with the right past it never has to look at what it wrote.
    """
    some = (hear != 0).any(-1)
    early = some & (torch.rand(some.shape, device=hear.device) < share)
    early[:, 1:] &= ~some[:, :-1]
    early[:, 0] = False
    left = torch.where(early[..., None], 0, hear)
    ahead = torch.where(early[..., None], hear, 0)
    return left + torch.cat([ahead[:, 1:], torch.zeros_like(ahead[:, :1])], 1), left


def learn(network: Network, batch: Batch | Sight, recipe: Recipe, step: int) -> dict[str, float]:
    """The gradients of one batch."""
    if isinstance(batch, Sight):
        return learn_eyes(network, batch)
    if recipe.only == "ears":
        return learn_ears(network, batch)
    rolled = step >= recipe.rolled_from and (step * 7919 % 1000) < recipe.rolled * 1000
    past, heard, batch = feedback(network, batch, rolled, recipe.holes)
    with half(heard.device):
        studied = network.study(batch.setup, batch.setup_channel, batch.percept, past, heard)
        each = losses(network, studied, heard, past.said, batch)
    each.total().backward()  # type: ignore[no-untyped-call]
    numbers = {name: loss.item() for name, loss in vars(each).items()}
    if batch.sight is None:
        del numbers["sight"]
    return numbers | {"rolled": float(rolled)}


def learn_ears(network: Network, batch: Batch) -> dict[str, float]:
    """A word is rare and its sounds are many: small batches of nothing but sound teach the ears soonest."""
    p = batch.percept
    with half(p.levels.device):
        heard, _ = network.ears(p.levels, p.has_audio, network.ears.past(len(p.levels)))
        sound = sound_loss(network, heard, batch.sounds)
        word = word_loss(network, heard, batch.sounds, batch.others)
    if len(batch.sounds):  # else nobody says anything in it
        (SOUND * sound + WORD * word).backward()  # type: ignore[no-untyped-call]
    return {"sound": sound.item(), "word": word.item()}


def learn_eyes(network: Network, sight: Sight) -> dict[str, float]:
    with half(sight.frames.device):
        maps, told = network.eyes.look(sight.frames)
        film = sight.has_frame.nonzero()[:, 0]
        _, saw = network.eyes.remember(maps, told, jostled(told, film), sight.has_frame)
        each = sight_losses(network, saw, sight)
    each.total().backward()  # type: ignore[no-untyped-call]
    moved = {"moves": each.moves.item()} if sight.in_a_row else {}
    return {"where": each.where.item(), "what": each.what.item(), **moved}


class Run:
    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.rank, self.company = place()
        self.device = join()
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.network = Network(find_config(recipe.model)).to(self.device)
        if recipe.start:
            warm_start(self.network, recipe.start)
        for name, weight in self.network.named_parameters():
            weight.requires_grad_(not name.startswith(recipe.still))
        shard(self.network, self.device)
        self.optimizers = optimizers(self.network, recipe.rate, recipe.muon_rate)
        self.step, self.minutes, self.ticks = 0, 0.0, 0
        self.state = folder / (f"state-{self.rank}.pt" if self.company > 1 else "state.pt")
        if self.state.exists():
            self._resume()
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1), "utf-8")

    def _resume(self) -> None:
        kept = torch.load(self.state, map_location=self.device, weights_only=True)
        for name, weight in self.network.state_dict().items():
            if not name.startswith(VOICE):
                own(weight).copy_(kept["network"][name])
        for optimizer, state in zip(self.optimizers, kept["optimizers"], strict=True):
            restore(optimizer, state)
        self.step, self.minutes, self.ticks = kept["step"], kept["minutes"], kept["ticks"]

    def save(self) -> None:
        """State first under another name: a run that is stopped while it saves loses nothing."""
        torch.save(
            {
                "network": {name: own(weight) for name, weight in self.network.state_dict().items()},
                "optimizers": [parts(o.state_dict()) for o in self.optimizers],
                "step": self.step,
                "minutes": self.minutes,
                "ticks": self.ticks,
            },
            self.state.with_suffix(".new"),
        )
        os.replace(self.state.with_suffix(".new"), self.state)
        story = {"recipe": json.dumps(asdict(self.recipe)), "steps": str(self.step)}
        story |= {"minutes": f"{self.minutes:.1f}", "hours_heard": f"{self.ticks / 18000:.1f}"}
        complete = self._complete()
        if self.rank == 0:
            save_weights(complete, self.folder / "weights", story)

    def _complete(self) -> Network:
        """The network with all its weights here; all devices must ask."""
        if self.company == 1:
            return self.network
        complete = Network(self.network.c).to(self.device)
        complete.load_state_dict(weights(self.network))
        return complete

    def advance(self, batch: Batch | Sight, crew: Crew) -> dict[str, float]:
        """One step."""
        r = self.recipe
        share = rate_at(r, self.step, self.minutes)
        for optimizer, full in zip(self.optimizers, (r.rate, r.muon_rate), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = full * share * group.get("faster", 1.0)
        numbers = learn(self.network, batch, r, self.step)
        self.ticks += batch.ticks + crew.gather()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return numbers | {"norm": whole(norm).item()}

    def _look(self, watch: Watch) -> None:
        complete = self._complete()
        if self.rank == 0:
            watch.look(complete, self.step, self.minutes)

    def go(self) -> None:
        r = self.recipe
        watch = Watch(self.folder, r.watched, r.seed)
        crew = Crew(learn, self.network, r if self.company == 1 else replace(r, mates=0), self.step)
        stream = batches(r, self.network.c, self.step + APART * self.rank)
        saved = watched = self.minutes
        for batch in stream:
            began = time.monotonic()
            numbers = self.advance(batch.to(self.device), crew)
            self.minutes += (time.monotonic() - began) / 60
            if self.rank == 0:
                watch.log(self.step, self.minutes, numbers)
            if self.minutes - watched > r.watch_minutes:
                self._look(watch)
                watched = self.minutes
            if self.minutes - saved > r.save_minutes:
                self.save()
                saved = self.minutes
            if self.minutes >= r.minutes:
                break
        crew.close()
        self.save()
        self._look(watch)
        stream.close()  # type: ignore[attr-defined]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="a recipe: JSON with the fields of train/recipe.py")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/out/NAME OF THE RECIPE)")
    parser.add_argument(
        "--minutes", type=float, help="train this long in all instead of what the recipe says"
    )


def run(args: argparse.Namespace) -> int:
    recipe = Recipe.load(args.config)
    if args.minutes is not None:
        if not args.minutes > 0:
            raise ValueError("--minutes must be more than 0")
        recipe = replace(recipe, minutes=args.minutes)
    PieceTokenizer.load()
    Run(recipe, args.out or Path("runs/out") / args.config.stem).go()
    return 0
