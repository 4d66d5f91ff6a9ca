"""Generators of episodes, one file a skill. They may import clock and streams; they never see a model's
insides.

`write` draws a scene's script from a seed and `compose` places it with clips; both are deterministic. Rooms
outside use these two, `SCENES` and the records of episode.py.

How the suites are scored from `Episode.expected`, the model's words being timed by when they are played:

- timespeak (scene time): a `say` is met by its text beginning within its window (±400 ms, by rescaling
  around the middle also ±200 and ±800). Words outside every `say` and `reply` window count against
  precision. Stop obeyed: the `halt` after it holds.
- cuespeak (cue, digits): the same, windows run from the cue's end to 800 ms after it; `quiet` where no rule
  ever fires.
- interrupt (interrupt): a `halt` holds when none of its words (the old content's next ones) begins within
  its window; a `reply` holds when its words, the first up to eight, are the first to begin after `start_ms`
  and do so by `end_ms`. Stop latency: from the window's start less the reaction; response latency: first
  word − start.
- backchannel (interrupt): a `carry_on` holds when its words are said in order within its window, with no
  gap that the content does not have.
- pause, turns (converse): any word that begins within a `pause` is a takeover; a `reply` gives latency at
  true ends.
- listening (listening): soft words per minute, the share of them that begin within a `clause_end`, and none
  in a `pause`; nothing longer than three words after the first `reply`.
- translate (translate): every word is a `say` of its own from its end on, counted by words; codeswitch
  (codeswitch) as cuespeak.
- orders (orders; the suite has real people): the last read-back that `Order.parse` finds in what was said
  equals the one in `order`.
- tone, instructions, recall: each `say` and `reply` met, less every false utterance.
- weave (weave): the same, and a decision to `delegate` or to `cancel` within each window of that name and
  nowhere else; words within a `pause` count as false.
- false utterances (nothing, hear, and every `quiet` elsewhere): any word that begins within a `quiet`.
"""

import random
import runpy
from collections.abc import Sequence
from dataclasses import replace

from microturn.scenes.converse import DRILL, Converse
from microturn.scenes.cue import Cue
from microturn.scenes.delegate import Delegate
from microturn.scenes.digits import Digits
from microturn.scenes.episode import Clip, Episode, Scene, Script
from microturn.scenes.game import Commentary
from microturn.scenes.hear import Hear, Nothing
from microturn.scenes.instructions import Instructions
from microturn.scenes.interrupt import Interrupt
from microturn.scenes.listening import Listening
from microturn.scenes.notice import Gaze, Look, Notice
from microturn.scenes.orders import Orders
from microturn.scenes.readout import Readout
from microturn.scenes.recall import Recall
from microturn.scenes.reps import Charades, Reps
from microturn.scenes.time import ONCE, Time
from microturn.scenes.tone import Tone
from microturn.scenes.translate import SWITCH, Translate

SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        *(Time(), Cue(), Converse(), Interrupt(), Listening(), Hear(), Nothing(), Digits()),
        *(Translate(), Translate("codeswitch", SWITCH), Orders(), Tone(), Delegate()),
        *(Instructions(), Recall(), Readout(), Converse("drill", DRILL), Time("once", ONCE)),
        *(Reps(), Charades(), Notice(), Look(), Gaze(), Commentary()),
    )
}
TRAIN_WEIGHTS: dict[str, float] = {
    "cue": 0.24,
    "time": 0.18,
    "converse": 0.18,
    "interrupt": 0.12,
    "hear": 0.10,
    "listening": 0.06,
    "digits": 0.07,
    "nothing": 0.05,
}
# scenes that came after the first bank; a bank takes them with `--scenes later`
LATER_WEIGHTS: dict[str, float] = {
    "translate": 0.15,
    "codeswitch": 0.12,
    "orders": 0.18,
    "tone": 0.13,
    "weave": 0.2,
    "instructions": 0.14,
    "recall": 0.08,
}
# what is asked and said before a camera; a bank takes it with `--scenes seen`
SEEN_WEIGHTS: dict[str, float] = {
    "reps": 0.34,
    "notice": 0.24,
    "look": 0.1,
    "charades": 0.18,
    "commentary": 0.08,
    "gaze": 0.06,
}
# a bank takes these with `--scenes asked`: in all wordings, what is asked of the model in words, and talk beside it
ASKED_WEIGHTS: dict[str, float] = {
    "time": 0.22, "cue": 0.22, "interrupt": 0.22, "converse": 0.12, "weave": 0.06, "listening": 0.04, "orders": 0.03,
    "instructions": 0.02, "tone": 0.02, "hear": 0.02, "nothing": 0.02, "recall": 0.01,
}  # fmt: skip


def find(name: str) -> Scene:
    """A scene by name; one of your own is FILE.py:CLASS."""
    if name not in SCENES:
        path, _, kind = name.rpartition(":")
        if not path.endswith(".py"):
            raise ValueError(f"unknown scene “{name}”: one of {', '.join(SCENES)}, or FILE.py:CLASS")
        known = runpy.run_path(path)
        if kind not in known:
            raise ValueError(f"{path}: no class {kind}")
        SCENES[name] = known[kind]()
    return SCENES[name]


def write(scene: str, seed: int, split: str, seconds: float) -> Script:
    """The script of a scene by name: the same for the same arguments."""
    if split not in ("train", "given", "test"):
        raise ValueError(f"unknown split “{split}”: train, given or test")
    rng = random.Random(f"{scene} {split} {seed} {seconds}")
    return replace(find(scene).script(rng, split, seconds), scene=scene, seed=seed)


def compose(script: Script, clips: Sequence[Clip], seconds: float, take: int = 0) -> Episode:
    """The script placed in time; every `take` has other pauses."""
    rng = random.Random(f"{script.scene} {script.seed} {take}")
    return find(script.scene).compose(script, clips, rng, seconds)


__all__ = [
    "ASKED_WEIGHTS", "LATER_WEIGHTS", "SCENES", "SEEN_WEIGHTS", "TRAIN_WEIGHTS", "compose", "find", "write",
]  # fmt: skip
