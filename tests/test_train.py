"""Training: targets say what the scenes expect, feedback is what really happened, weights survive the disk."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from microturn.bench import scores
from microturn.bench.metrics import Run
from microturn.bench.suites import SUITES as BENCH
from microturn.cli import main
from microturn.model.checkpoint import (
    load_model,
    load_weights,
    read_tensors,
    save_weights,
    warm_start,
)
from microturn.model.config import NANO, tiny
from microturn.model.network import LESSONS, VOICE, Network
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import compose, write
from microturn.scenes.episode import Clip, Episode, Placed, Read, Say, Word
from microturn.streams import Channel, Decision
from microturn.train import given, sound
from microturn.train.bank import Bank, BankScript, Part, Request
from microturn.train.batch import Batch, fed_back, stack
from microturn.train.examples import Examples, _chance
from microturn.train.lexicon import Lexicon
from microturn.train.loop import Run as TrainingRun
from microturn.train.loop import feedback, learn, slips
from microturn.train.losses import LATE, TOGETHER, losses, phrases
from microturn.train.muon import Muon, optimizers, orthogonal
from microturn.train.prompts import convert
from microturn.train.real import own, transcripts
from microturn.train.recipe import Recipe
from microturn.train.reel import Reel
from microturn.train.release import LARGEST_MB, WEIGHTS, release
from microturn.train.renamed import passed_on, rename
from microturn.train.rollout import Rollout, played, roll_out
from microturn.train.targets import targets
from test_bank import said
from test_scenes import timed

torch.set_num_threads(1)
PIECES = PieceTokenizer.load()
SUITES = {
    "time": scores.timespeak,
    "cue": scores.cuespeak,
    "interrupt": scores.interrupt,
    "converse": scores.turns,
}


def episode(scene: str, seed: int, seconds: float = 20.0) -> Episode:
    script = write(scene, seed, "train", seconds)
    rng = random.Random(seed)
    return compose(script, [timed(line, rng) for line in script.lines], seconds)


def batch_of(count: int, seconds: float = 6.0) -> Batch:
    episodes = [episode("converse", seed, seconds) for seed in range(count)]
    return stack(episodes, np.random.default_rng(0), tiny(), PIECES, [], [], 1.0, Lexicon())


@pytest.mark.parametrize("scene", SUITES)
def test_whoever_does_what_the_targets_say_scores_everything(scene: str) -> None:
    runs = []
    for seed in range(40):
        lived = episode(scene, seed)
        t = targets(lived, PIECES, NANO.read_pieces, NANO.say_pieces)
        done = Rollout(*(torch.from_numpy(x)[None] for x in (t.decision, t.say, t.hear)))
        runs.append(Run(lived, played(done, 0, PIECES, NANO.lead_ticks)))
    assert SUITES[scene](runs)[0].value == pytest.approx(1.0)


def test_a_yield_is_a_step_of_its_own_and_drops_what_was_not_played() -> None:
    says = (Say("one two three four five six", 2000, until_ms=3000), Say("okay", 3000))
    t = targets(Episode("x", 0, 40, says=says), PIECES, 4, 4)
    assert t.decision[3000 // 200 - 2] == Decision.LISTEN
    assert t.decision[3000 // 200 - 1] == Decision.SPEAK
    assert not t.say[t.decision != Decision.SPEAK].any()


def test_feedback_is_of_the_tick_before() -> None:
    said = torch.arange(1, 7).view(1, 6, 1)
    own = fed_back(said, said, said[..., 0])
    assert own.said[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert own.decided[0, 1:].tolist() == [1, 2, 3, 4, 5]


def test_a_roll_out_is_what_the_network_does_when_it_is_fed_that_roll_out() -> None:
    """Free running tick by tick and one parallel pass over its own outputs must agree."""
    torch.manual_seed(0)
    network, batch = Network(tiny(window=64, group=8)), batch_of(3)
    done = roll_out(network, batch)
    with torch.no_grad():
        studied = network.study(
            batch.setup,
            batch.setup_channel,
            batch.percept,
            fed_back(done.say, done.hear, done.decision),
            done.hear,
        )
    assert torch.equal(network.decision(studied.hidden).argmax(-1), done.decision)
    rows, own = studied.listening.flatten(0, 1), fed_back(done.say, done.hear, done.decision)
    spelled = network.hear.spell(
        rows, torch.ones(len(rows), dtype=torch.bool), before=own.heard.flatten(0, 1)
    )
    assert torch.equal(spelled.view_as(done.hear), done.hear)


def test_a_quick_roll_out_does_nearly_the_same_and_changes_no_weight() -> None:
    network = Network(NANO)
    warm_start(network, "nano")
    episodes = [replace(episode("converse", seed, 6.0), told=True) for seed in range(3)]
    batch = stack(episodes, np.random.default_rng(0), NANO, PIECES, [], [], 0, quiet=True)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    done, quick = roll_out(network, batch), roll_out(network, batch, quick=True)
    assert {name: torch.equal(before[name], w) for name, w in network.state_dict().items()} == dict.fromkeys(
        before, True
    )
    assert (done.decision == Decision.SPEAK).any()
    for exact, near in zip(vars(done).values(), vars(quick).values(), strict=True):
        assert (exact == near).float().mean() > 0.95


def test_words_are_recalled_alike_in_a_whole_episode_and_tick_by_tick() -> None:
    """Also when more words came than are kept, and with instructions read before."""
    torch.manual_seed(0)
    network = Network(tiny(window=64, group=8, recall=5))
    network.decision.bias.data[Decision.SPEAK] = 2.0
    typed = replace(episode("converse", 1, 6.0), reads=(Read(-1, Channel.INSTRUCTIONS, "say apple"),))
    episodes = [typed, episode("converse", 2, 6.0)]
    batch = stack(episodes, np.random.default_rng(0), tiny(), PIECES, [], [], 1.0)
    done = roll_out(network, batch)
    own = fed_back(done.say, done.hear, done.decision)
    with torch.no_grad():
        hidden = network.study(batch.setup, batch.setup_channel, batch.percept, own, done.hear).hidden
        rows, n = torch.arange(done.decision.numel()), done.decision.shape[1]
        assert network.recall is not None
        read = batch.percept.text
        recalled = network.recall(hidden, batch.setup, done.hear, read, own.said, rows // n, rows % n)
        speaking = (done.decision == Decision.SPEAK).flatten()
        ticks = hidden[:, batch.setup.shape[1] :].flatten(0, 1)
        said = network.say.spell(ticks, speaking, recalled=recalled, before=own.said.flatten(0, 1))
    assert speaking.any()
    assert (done.hear != 0).any(-1).sum(1).min() > 5
    assert torch.equal(said.view_as(done.say), done.say)


def test_what_stood_beside_an_earlier_mention_is_recalled() -> None:
    """Before anything is learned: "five" was beside "milk", and milk is heard again."""
    torch.manual_seed(0)
    recall = Network(tiny(recall=64)).recall
    assert recall is not None
    said = ["milk", "five", *["and"] * 12, "coat", "banana", *["and"] * 12, *[""] * 4, "milk"]
    heard = torch.zeros(1, len(said), recall.reading, dtype=torch.long)
    heard[0, :, 0] = torch.tensor([PIECES.encode(" " + word)[0] if word else 0 for word in said])
    hidden, nothing = torch.zeros(1, len(said), tiny().d_model), torch.zeros(1, 0, 4, dtype=torch.long)
    with torch.no_grad():
        words = torch.tensor(sorted(set(heard[0, :, 0].tolist())))  # each unlike the others
        recall._table[0].weight[words] = torch.eye(tiny().piece_dim)[: len(words)]
        last = torch.tensor([0]), torch.tensor([len(said) - 1])
        silent = torch.zeros_like(heard)
        found = recall(hidden, nothing, heard, silent, silent, *last)[0, 0]
        five, banana, milk = (recall._table[0](heard[0, at, 0]) for at in (1, 15, 0))
    assert found @ five > found @ banana
    assert found @ five > found @ milk


def test_whoever_reads_aloud_goes_on_where_he_is() -> None:
    """Before anything is learned: "the song" was said, so "is about" comes next, not what follows another "the"."""
    torch.manual_seed(0)
    recall = Network(tiny(recall=64)).recall
    assert recall is not None
    line = "past the road and over it the song is about a man in the rain"
    text = line.split()
    read = torch.zeros(1, len(text) + 6, recall.reading, dtype=torch.long)
    said = torch.zeros_like(read)
    piece = {word: PIECES.encode_word(word)[0] for word in text}
    read[0, : len(text), 0] = torch.tensor([piece[word] for word in text])
    said[0, -1, :2] = torch.tensor([piece["the"], piece["song"]])
    with torch.no_grad():
        recall._table[0].weight[list(piece.values())] = torch.eye(tiny().piece_dim)[: len(piece)]
        nothing = torch.zeros(1, 0, 4, dtype=torch.long)
        hidden = torch.zeros(*read.shape[:2], tiny().d_model)
        last = torch.tensor([0]), torch.tensor([read.shape[1] - 1])
        first, then = recall(hidden, nothing, torch.zeros_like(read), read, said, *last)[0, :2]
        worth = {word: float(first @ recall._table[0].weight[piece[word]]) for word in text}
        behind = {word: float(then @ recall._table[0].weight[piece[word]]) for word in text}
    assert max(worth, key=worth.__getitem__) == "is"
    assert max(behind, key=behind.__getitem__) == "about"
    assert worth["song"] < worth["is"] / 2


def test_a_way_that_was_closed_begins_anew(tmp_path: Path) -> None:
    closed, network = Network(tiny()), Network(tiny())
    torch.nn.init.zeros_(closed.eyes.out.weight)
    save_weights(closed, tmp_path / "closed", {})
    warm_start(network, str(tmp_path / "closed"))
    assert network.eyes.out.weight.any()
    assert torch.equal(network.eyes.join.weight, closed.eyes.join.weight)


def test_ears_with_more_blocks_begin_as_the_smaller_ones_were(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small, network = Network(tiny()), Network(tiny(ear_blocks=3, syllable_blocks=4))
    save_weights(small, tmp_path / "small", {})
    warm_start(network, str(tmp_path / "small"))
    p = batch_of(1).percept
    (few, _), (more, _) = (
        ears(p.levels, p.has_audio, ears.past(len(p.levels))) for ears in (small.ears, network.ears)
    )
    assert torch.equal(few.syllables, more.syllables)


def test_what_is_to_keep_still_does_not_learn(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(tiny().to_json(), "utf-8")
    recipe = tmp_path / "still.json"
    recipe.write_text(
        json.dumps({"model": str(tmp_path / "tiny.json"), "still": ["ears.", "eyes.maps"]}), "utf-8"
    )
    network = TrainingRun(Recipe.load(recipe), tmp_path / "run").network
    quiet = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    assert {name.split(".")[0] for name in quiet} == {"ears", "eyes"}
    assert {name for name in quiet if name.startswith("eyes.")} == {"eyes.maps.weight", "eyes.maps.bias"}


def test_a_few_steps_lower_every_loss() -> None:
    torch.manual_seed(0)
    network, batch = Network(tiny(d_model=64)), batch_of(4)
    made = optimizers(network, 3e-3, 3e-3)
    history = []
    for _ in range(12):
        own = fed_back(batch.say, batch.hear, batch.decision)
        studied = network.study(batch.setup, batch.setup_channel, batch.percept, own, batch.hear)
        each = losses(network, studied, batch.hear, own.said, batch)
        each.total().backward()  # type: ignore[no-untyped-call]
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad()
        history.append([loss.item() for name, loss in vars(each).items() if name != "sight"])  # no film
    assert all(last < first for first, last in zip(history[0], history[-1], strict=True))


def test_where_questions_are_only_overheard_nothing_is_learned_of_when_to_speak() -> None:
    torch.manual_seed(0)
    network = Network(tiny())
    asked = [episode("converse", seed, 6.0) for seed in range(3)]
    quiet = replace(asked[0], says=(), undecided=True)

    def decision(episodes: list[Episode]) -> float:
        batch = stack(episodes, np.random.default_rng(0), tiny(), PIECES, [], [], 0.0, Lexicon())
        own = fed_back(batch.say, batch.hear, batch.decision)
        studied = network.study(batch.setup, batch.setup_channel, batch.percept, own, batch.hear)
        return float(losses(network, studied, batch.hear, own.said, batch).decision.detach())

    assert decision(asked) == pytest.approx(decision([*asked, quiet]), rel=1e-4)
    assert decision(asked) != pytest.approx(decision([*asked, replace(quiet, undecided=False)]), rel=1e-2)
    assert decision([quiet]) == 0.0


def test_closed_eyes_learn_nothing() -> None:
    """Nor does anything pass through them, which would take time."""
    network, batch = Network(tiny()), batch_of(2)
    assert not batch.percept.has_frame.any()
    own = fed_back(batch.say, batch.hear, batch.decision)
    studied = network.study(batch.setup, batch.setup_channel, batch.percept, own, batch.hear)
    losses(network, studied, batch.hear, own.said, batch).total().backward()  # type: ignore[no-untyped-call]
    assert studied.sight is None
    assert not [n for n, w in network.named_parameters() if n.startswith("eyes.") and w.grad is not None]
    assert network.no_frame.grad is not None


def test_ears_can_learn_alone() -> None:
    torch.manual_seed(0)
    network, batch, alone = Network(tiny(d_model=64)), batch_of(4), Recipe(only="ears")
    made, history = optimizers(network, 3e-3, 3e-3), []
    before = network.backbone.norm.scale.clone()
    for step in range(12):
        history.append(learn(network, batch, alone, step))
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad()
    assert history[-1]["sound"] < history[0]["sound"]
    assert history[-1]["word"] < history[0]["word"]
    assert torch.equal(network.backbone.norm.scale, before)
    silent = replace(batch, sounds=batch.sounds[:0])
    assert learn(network, silent, alone, 12) == {"sound": 0.0, "word": 0.0}


def test_words_that_follow_each_other_closely_are_spelled_as_one() -> None:
    words = torch.tensor(
        [
            [0, 10, 8, 5, 6, 0],
            [0, 20, 5, 7, 0, 0],
            [0, 90, 9, 8, 9, 1],
            [1, 99, 4, 2, 0, 0],
            [1, 98, 4, 3, 0, 0],
        ]
    )
    found = [[n for n in row if n] for row in phrases(words)[:, 1:].tolist()]
    assert found == [[10, 15 + LATE, 5, 6, 7], [90, 9 + LATE, 8, 9, 1], [99, 4 + LATE, 2], [98, 4 + LATE, 3]]
    many = torch.tensor([[0, 10 * i, 9, i + 1] for i in range(TOGETHER + 2)])
    assert (phrases(many)[:, 3:] != 0).sum(1).tolist() == [TOGETHER, 2]


def test_products_of_half_precision_say_the_same() -> None:
    torch.manual_seed(0)
    network, batch = Network(tiny(d_model=64)), batch_of(2)
    own = fed_back(batch.say, batch.hear, batch.decision)
    found = []
    for halved in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            studied = network.study(batch.setup, batch.setup_channel, batch.percept, own, batch.hear)
            found.append(
                [loss.item() for loss in vars(losses(network, studied, batch.hear, own.said, batch)).values()]
            )
    assert found[1] == pytest.approx(found[0], rel=0.02, abs=0.02)


def test_every_matrix_between_vectors_of_the_ears_is_kept_orthogonal() -> None:
    network = Network(tiny())
    muon = next(o for o in optimizers(network, 1e-3, 1e-3) if isinstance(o, Muon))
    held = {id(weight) for group in muon.param_groups for weight in group["params"]}
    floors = [p for n, p in network.ears.named_parameters() if p.ndim == 2 and n.endswith("weight")]
    assert {p.shape for p in floors if id(p) not in held} <= {
        network.ears.table.weight.shape,
        network.ears.out_upper.weight.shape,
    }


def test_orthogonal_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 20, 50), steps=5))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.5


# ---- sound ----


def clip(frames: int = 100) -> Clip:
    mel = np.random.default_rng(0).integers(100, 255, (frames, 64)).astype(np.uint8)
    return Clip("hi there", "anna", (Word("hi", 0, 400), Word("there", 450, 900)), mel)


def test_another_rate_moves_the_words_with_the_sound() -> None:
    varied = sound.vary(clip(), np.random.default_rng(3))
    assert varied.ms != clip().ms
    assert varied.words[1].end_ms / varied.ms == pytest.approx(0.9, abs=0.02)


def test_a_voice_that_takes_on_another_timbre_has_it_and_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    bright = np.clip(rng.normal(np.linspace(60, 180, 64), 20, (200, 64)), 0, 255).astype(np.uint8)
    own, other = (replace(clip(), mel=mel) for mel in (bright[:, ::-1], bright))
    timbres = sound.Timbre.of([own]), sound.Timbre.of([other])
    assert np.array_equal(sound.resembling(own, *timbres, 0.0).mel, own.mel)
    taken = sound.resembling(own, *timbres, 1.0)
    assert taken.words == own.words
    assert np.abs(sound.Timbre.of([taken]).mean - timbres[1].mean).max() < 3
    assert taken.mel.mean() == pytest.approx(own.mel.mean(), abs=3)


def test_parts_of_words_can_be_missing() -> None:
    heard = sound.gaps(clip(2000), np.random.default_rng(1)).mel
    whole = clip(2000).mel.astype(int)
    missing = whole - heard
    assert ((missing % sound.FAINT == 0) | (missing == whole)).all()  # fainter, or nothing left
    assert 0.01 < (missing > 0).mean() < 0.5
    assert sound.gaps(clip(2000), np.random.default_rng(1)).words == clip(2000).words


def test_mixing_is_deterministic_and_loud_where_somebody_speaks() -> None:
    lived = Episode("hear", 0, 10, placed=(Placed(clip(50), 1000),))
    for hardship in (0.0, 1.0):
        first, arrived = sound.mix(lived, np.random.default_rng(1), [], [], hardship)
        again, _ = sound.mix(lived, np.random.default_rng(1), [], [], hardship)
        assert np.array_equal(first, again)
        assert first.shape == (10, 20, 64)
        assert len(arrived) == 10
    clean, _ = sound.mix(lived, np.random.default_rng(1), [], [], 0.0)
    assert clean[5:7].mean() > clean[:5].mean() + 2


# ---- disk ----


def test_weights_survive_the_disk_exactly_and_packed_nearly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(tiny())
    save_weights(network, tmp_path / "whole", {"minutes": "1"})
    save_weights(network, tmp_path / "small", {}, packed=True)
    for name, slack in (("whole", 0.0), ("small", 1 / 127)):
        other = Network(tiny())
        load_weights(other, tmp_path / name)
        for (key, a), b in zip(network.state_dict().items(), other.state_dict().values(), strict=True):
            if not key.startswith((VOICE, *LESSONS)):
                assert float((a - b).abs().max()) <= slack * float(a.abs().max())
    assert not load_model(str(tmp_path / "whole")).voiced


def test_a_snapshot_is_taken_up_by_the_same_weights_loaded_again(tmp_path: Path) -> None:
    save_weights(Network(tiny()), tmp_path / "small", {}, packed=True)
    before, after = (load_model(str(tmp_path / "small")) for _ in range(2))  # what is not stored differs
    for model in (before, after):
        model.allocate(1)
    after.restore(0, before.snapshot(0))


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    save_weights(Network(tiny()), tmp_path / "a", {})
    (tmp_path / "b.safetensors").write_bytes(b"not weights")
    for path, network in ((tmp_path / "a", Network(tiny(d_model=48))), (tmp_path / "b", Network(tiny()))):
        with pytest.raises(ValueError, match=path.name) as error:
            load_weights(network, path)
        assert "\n" not in str(error.value)


def test_a_recipe_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"model": "nano", "speed": 9}), "utf-8")
    with pytest.raises(ValueError, match="speed"):
        Recipe.load(tmp_path / "r.json")
    assert replace(Recipe(), seed=2).seed == 2


def test_what_would_be_passed_over_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"model": "nano", "told": 1}), "utf-8")
    assert main(["train", str(tmp_path / "r.json"), "--out", str(tmp_path / "run"), "--minutes", "0"]) == 2
    assert "--minutes must be more than 0" in capsys.readouterr().err
    share = (sys.executable, "-m", "microturn.train.release", str(tmp_path), "--share", "0.4")
    done = subprocess.run(share, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name the other with --before" in done.stderr


def test_released_weights_are_read_back_by_name(tmp_path: Path) -> None:
    save_weights(Network(tiny()), tmp_path / "run" / "weights", {"minutes": "3"})
    size = release(tmp_path / "run", "small", tmp_path / "released")
    assert size < (tmp_path / "run" / "weights.safetensors").stat().st_size
    model = load_model(str(tmp_path / "released" / "small"))
    assert model.config == tiny()
    assert read_tensors(tmp_path / "released" / "small.safetensors")[1]["minutes"] == "3"


def test_new_skills_keep_the_voice_of_the_weights_before(tmp_path: Path) -> None:
    before, after = Network(tiny(flow_steps=0)), Network(tiny())
    save_weights(before, tmp_path / "released" / "small", {"voiced": "heart"}, packed=True)
    save_weights(after, tmp_path / "run" / "weights", {"minutes": "3"})
    release(tmp_path / "run", "small", tmp_path / "released")
    model = load_model(str(tmp_path / "released" / "small"))
    assert model.spec.voices == ("heart",)
    assert (model.config.flow_steps, model.network.voice.config.flow_steps) == (0, 0)
    assert torch.equal(model.network.voice.decoder.place, before.voice.decoder.place)


def test_a_mean_of_two_runs_can_be_released(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old, new = Network(tiny()), Network(tiny())
    save_weights(old, tmp_path / "old" / "weights", {})
    save_weights(new, tmp_path / "new" / "weights", {"minutes": "3"})
    (tmp_path / "released").mkdir()
    release(tmp_path / "new", "small", tmp_path / "released", tmp_path / "old", 0.25)
    mean = Network(tiny())
    load_weights(mean, tmp_path / "released" / "small")
    a, b, c = (network.decision.weight for network in (old, new, mean))
    assert torch.allclose(c, 0.75 * a + 0.25 * b, atol=0.02)
    assert not torch.allclose(c, b, atol=0.02)
    release(tmp_path / "new", "shy", tmp_path / "released", tmp_path / "old", 0.25, shy=0.5)
    story = load_weights(shy := Network(tiny()), tmp_path / "released" / "shy")
    less = (mean.decision.bias - shy.decision.bias).tolist()
    assert less == pytest.approx([0.5 * (d is Decision.SPEAK) for d in Decision], abs=0.02)
    assert story["shy"] == "0.5"


def test_the_package_carries_nano_and_less_than_it_may() -> None:
    model = load_model()
    assert model.config.name == "nano"
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < LARGEST_MB << 20


def test_what_is_told_is_known_in_its_tick_and_never_has_to_be_heard() -> None:
    episodes = [replace(episode("converse", seed, 6.0), told=told) for seed, told in ((1, True), (2, False))]
    batch = stack(episodes, np.random.default_rng(0), tiny(), PIECES, [], [], 1.0)
    own, heard, _ = feedback(Network(tiny()), batch, rolled=False, holes=1.0)
    assert torch.equal(heard[0], batch.hear[0])
    assert torch.equal(own.heard[0, 1:], batch.hear[0, :-1])
    assert not heard[1].any()
    assert not batch.hear_known[0].any()
    assert batch.hear_known[1].all()
    rolled, heard, _ = feedback(Network(tiny()), batch, rolled=True, holes=0.0)
    assert torch.equal(heard[0], batch.hear[0])
    assert torch.equal(rolled.heard[0, 1:], batch.hear[0, :-1])


@pytest.mark.parametrize("scene", ["cue", "reps"])
def test_skills_can_be_looked_at_without_ears(scene: str) -> None:
    """The words are given in their ticks, whatever the network hears; what it does with them is its own."""
    suite, kind = given.SKILLS[scene]
    lived = given.episodes(scene, kind, 2)
    assert all(e.told and bool(e.film) == (scene == "reps") for e in lived)
    assert [e.says for e in lived] == [e.says for e in given.episodes(scene, kind, 2)]
    torch.manual_seed(0)
    runs = given.live(Network(tiny()), lived)
    for episode, run in zip(lived, runs, strict=True):
        assert [h.text for h in run.played.heard] == [w.text for p in episode.placed for w in p.clip.words]
    assert BENCH[suite].score(runs, 1)[0].value == 0


def test_what_is_decided_without_ears_is_counted() -> None:
    network = Network(tiny())
    torch.nn.init.zeros_(network.decision.weight)
    with torch.no_grad():
        network.decision.bias[int(Decision.DELEGATE)] = 9.0
    for run in given.live(network, given.episodes("weave", "delegate", 2)):
        assert [d for _, d in run.played.decided] == [Decision.DELEGATE] * run.episode.ticks


def test_a_word_that_was_early_is_not_to_be_heard_again() -> None:
    torch.manual_seed(0)
    hear = torch.tensor([[[0], [5], [0], [6], [7], [0], [0], [8]]])
    wrote, right = slips(hear, 1.0)
    assert wrote[0, :, 0].tolist() == [5, 0, 6, 0, 7, 0, 8, 0]
    assert right[0, :, 0].tolist() == [0, 0, 0, 0, 7, 0, 0, 0]
    wrote, right = slips(hear, 0.0)
    assert torch.equal(wrote, hear)
    assert torch.equal(right, hear)


class TestRenaming:
    def lived(self) -> tuple[Episode, Batch, Batch]:
        said = Clip(
            "say biscuit when i say key",
            "a",
            _apart("say biscuit when i say key"),
            np.zeros((300, 64), np.uint8),
        )
        lived = Episode("cue", 0, 40, (Placed(said, 0),), says=(Say("biscuit", 4000),), told=True)
        as_it_was, renamed = (
            stack([lived] * 8, np.random.default_rng(0), tiny(), PIECES, [], [], 1.0) for _ in "ab"
        )
        rename(renamed, [lived] * 8, random.Random(1))
        return lived, as_it_was, renamed

    def test_what_is_passed_on_is_another_word_wherever_it_stands(self) -> None:
        _, before, after = self.lived()
        texts = [[PIECES.decode(b.hear[row].flatten().tolist()) for row in range(8)] for b in (before, after)]
        said = [PIECES.decode(after.say[row].flatten().tolist()).strip() for row in range(8)]
        assert set(texts[0]) == {" say biscuit when i say key"}
        changed = [
            (text.split(), word) for text, word in zip(texts[1], said, strict=True) if word != "biscuit"
        ]
        assert 1 <= len(changed) <= 7
        assert all(text[1] == word for text, word in changed)
        assert all(text.split()[0] == "say" and text.endswith("when i say key") for text in texts[1])

    def test_words_whose_meaning_counts_are_left(self) -> None:
        lived, _, _ = self.lived()
        assert passed_on(lived)[0] == {"biscuit"}
        meant = Clip(
            "say cow at each animal", "a", _apart("say cow at each animal"), np.zeros((9, 64), np.uint8)
        )
        assert passed_on(replace(lived, placed=(Placed(meant, 0),)))[0] == set()

    def test_words_that_share_pieces_with_others_are_left(self) -> None:
        assert PIECES.encode_word("toast")[0] == PIECES.encode_word("to")[0]
        text = "say toast to me"
        said = Clip(text, "a", _apart(text), np.zeros((300, 64), np.uint8))
        lived = Episode("cue", 0, 40, (Placed(said, 0),), says=(Say("toast", 4000),), told=True)
        batch = stack([lived] * 20, np.random.default_rng(0), tiny(), PIECES, [], [], 1.0)
        rename(batch, [lived] * 20, random.Random(1))
        assert {PIECES.decode(row.flatten().tolist()) for row in batch.hear} == {" say toast to me"}


def _apart(text: str) -> tuple[Word, ...]:
    return tuple(Word(word, 400 * i, 400 * i + 200) for i, word in enumerate(text.split()))


def test_films_are_looked_at_once_and_shown_again(tmp_path: Path) -> None:
    small = tiny()
    network = Network(small)
    save_weights(network, tmp_path / "w", {})
    episodes = [episode("reps", seed, 4.0) for seed in range(2)]
    batch = stack(episodes, np.random.default_rng(0), small, PIECES, [], [], 1.0, Lexicon(), True)
    drawn: list[int] = []

    def draw() -> Batch:
        drawn.append(1)
        return batch

    reel = Reel(str(tmp_path / "w"), small)
    shown = [reel.batch(random.Random(i), draw) for i in range(80)]
    assert 12 < len(drawn) < 60
    with torch.no_grad():
        past = fed_back(batch.say, batch.hear, batch.decision)
        whole, again = (
            network.study(b.setup, b.setup_channel, b.percept, past, b.hear) for b in (batch, shown[-1])
        )
    assert torch.allclose(whole.hidden, again.hidden, atol=1e-5)


def test_what_is_asked_before_a_camera_is_heard(tmp_path: Path) -> None:
    """Scripts of films are spoken in batches of their own, in which there is something to see."""
    part = Part()
    for seed, scene in enumerate(("reps", "reps", "charades", "cue")):
        script = write(scene, seed, "train", 12.0)
        lines = tuple((line.text, "ann") for line in script.lines)
        for text, voice in lines:
            part.add(Request(text, voice), said(text))
        part.scripts.append(BankScript(scene, seed, 12.0, ("ann", "ann"), lines))
    part.write(tmp_path, "scripts-0-0000")
    examples = Examples(Bank(tmp_path), 0.0, 0.0, told=0.3, later=0.5, seen=0.4)
    kinds = [(seed, examples.filmed(seed), _chance(seed) < 0.3) for seed in range(2000)]
    assert sum(film for _, film, quiet in kinds if quiet) / 2000 == pytest.approx(0.15, abs=0.02)
    assert sum(film for _, film, quiet in kinds if not quiet) / 2000 == pytest.approx(0.28, abs=0.03)
    watching = [seed for seed, film, quiet in kinds if film and not quiet]
    batch = examples.batch(watching[0], 40.0, tiny(), PIECES)
    assert bool(batch.percept.has_frame.any())
    assert not bool(batch.told.any())
    assert int((batch.percept.levels > 0).sum()) > 0
    assert {examples.watched(seed, 16.0).scene for seed in range(20)} == {"reps", "charades"}
    assert {examples.episode(seed, 12.0).scene for seed in range(5)} == {"cue"}


def test_ones_own_recordings_are_heard_like_other_people(tmp_path: Path) -> None:
    part = Part()
    for voice in ("read-1", "own-anna"):
        for text in ("the moon is bright", "we found a rope"):
            part.add(Request(text, voice), said(text))
    part.write(tmp_path, "real-0-0000")
    examples = Examples(Bank(tmp_path), 1.0, 1.0)
    heard = {p.clip.voice for seed in range(60) for p in examples.episode(seed, 12.0).placed}
    assert heard == {"read-1", "own-anna"}


def test_prompts_of_a_telephone_exchange_become_a_folder_of_recordings(tmp_path: Path) -> None:
    """In 16 kHz as they are, figures as words; tones and what is too long stay out."""
    sounds, texts, folder = tmp_path / "en", tmp_path / "en.txt.gz", tmp_path / "prompts"
    (sounds / "digits").mkdir(parents=True)
    for name, seconds in (("digits/4", 1), ("press", 2), ("beep", 1), ("menu", 14), ("unknown", 1)):
        with av.open(sounds / f"{name}.g722", "w", format="g722") as file:
            stream = file.add_stream("g722", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000 * seconds), np.int16), "s16", "mono")
            frame.rate = 16000
            for packet in (*stream.encode(frame), *stream.encode(None)):
                file.mux(packet)
    lines = (
        "; Sounds",
        "",
        "digits/4: four",
        "press: Press 4.",
        "beep: [a tone]",
        "menu: Menu",
        "missing: Gone",
    )
    texts.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert convert(sounds, texts, folder) == 2
    assert [(row["file"], row["text"]) for row in transcripts(folder)] == [
        ("digits-4.flac", "four"),
        ("press.flac", "press four"),
    ]
    found = list(own(folder))
    assert {line.voice for line in found} == {"own-allison"}
    assert [round(len(line.cut()) / 16000) for line in found] == [1, 2]
