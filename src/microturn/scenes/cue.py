"""Answering cues while the user goes on talking: “every time i say apple say pie”.

Conventions. A rule is not acknowledged; it holds from its end on, and the words inside a rule or inside
what ends it are no cues. A cue's answer is played at `react` of the cue's end, over the user. Taking a rule
back is answered with “okay”. Everything else that the user says is plain talk and gets no answer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from microturn.clock import tick_of
from microturn.scenes.episode import Clip, Episode, Expected, Line, Placed, Say, Script, react
from microturn.scenes.stage import Stage, heard_end, read_ms, say_ms
from microturn.scenes.talk import sentence, sentence_with
from microturn.scenes.wording import Wordings, said_in, tidy
from microturn.scenes.words import CLASSES, is_reserved, near, pair
from microturn.streams import Channel

SAID = said_in("cue")
KINDS = {"animal": "an animal", "colour": "a colour", "drink": "a drink", "food": "something to eat"}
KINDS |= {"name": "a name", "number": "a number", "place": "a place"}


@dataclass(frozen=True)
class Rule:
    cues: tuple[str, ...]
    reply: str


@dataclass(frozen=True)
class Move:
    """`kind` is rule, read, talk or revoke."""

    kind: str
    line: int = -1
    rule: Rule | None = None
    text: str = ""
    channel: Channel = Channel.TYPED


class Cue:
    name = "cue"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        return _Writer(rng, split, seconds).write()

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        return _Player(Stage(script, tuple(clips), seconds), rng).play(script.facts["moves"])


class _Writer:
    """Draws the rules, the talk with cues, near misses and neither in it, and perhaps the end of a rule."""

    def __init__(self, rng: random.Random, split: str, seconds: float) -> None:
        self.rng, self.split, self.left_ms = rng, split, seconds * 1000 - 1500
        self.lines: list[Line] = []
        self.moves: list[Move] = []
        self.cues: list[str] = []  # every cue and answer so far

    def write(self) -> Script:
        rng = self.rng
        by_class = rng.random() < 0.12
        first = self._kind_rule() if by_class else self._word_rule(SAID["RULE"])
        rules = [first]
        if rng.random() < 0.1:
            self._talk([], 1)
        if not by_class and self.left_ms > 9000 and rng.random() < 0.35:
            rules.append(self._word_rule(SAID["SECOND"]))
        revoke = self.left_ms > 9000 and rng.random() < 0.3
        self._talk(rules, 30, 5000 if revoke else 0)
        if revoke:
            gone = rng.choice(rules)
            slots = {"cue": gone.cues[0] if len(gone.cues) == 1 else "that", "reply": gone.reply}
            text = SAID["REVOKE"].draw(rng, self.split, **slots)
            if len(rules) > 1:  # with two rules it must be plain which one is meant
                text = f"stop saying {gone.reply} please"
            self._add(Move("revoke", rule=gone), text)
            self._talk(rules, 30)
        return Script(Cue.name, 0, tuple(self.lines), {"moves": tuple(self.moves)})

    def _word_rule(self, wordings: Wordings) -> Rule:
        cue, reply = pair(self.rng, self.split, tuple(self.cues))
        self.cues += [cue, *reply.split()]
        rule = Rule((cue,), reply)
        if wordings is SAID["RULE"] and self.rng.random() < 0.25:
            text = SAID["TYPED"].draw(self.rng, self.split, cue=cue, reply=reply)
            channel = self.rng.choice((Channel.TYPED, Channel.INSTRUCTIONS))
            self.moves.append(Move("read", rule=rule, text=text, channel=channel))
        else:
            self._add(Move("rule", rule=rule), wordings.draw(self.rng, self.split, cue=cue, reply=reply))
        return rule

    def _kind_rule(self) -> Rule:
        kind = self.rng.choice(tuple(KINDS))
        _, reply = pair(self.rng, self.split, CLASSES[kind])
        while is_reserved(kind, reply) != (self.split == "test"):
            _, reply = pair(self.rng, self.split, CLASSES[kind])
        self.cues += reply.split()
        self._add(
            Move("rule", rule=Rule(CLASSES[kind], reply)),
            SAID["KIND"].draw(self.rng, self.split, kind=KINDS[kind], reply=reply),
        )
        return Rule(CLASSES[kind], reply)

    def _add(self, move: Move, text: str) -> None:
        self.moves.append(Move(move.kind, len(self.lines), move.rule))
        self.lines.append(Line(tidy(text)))
        self.left_ms -= say_ms(text) + 600

    def _talk(self, rules: list[Rule], most: int, keep_ms: float = 0) -> None:
        for _ in range(most):
            self._add(Move("talk"), self._sentence(rules))
            if self.left_ms < keep_ms:
                break

    def _sentence(self, rules: list[Rule]) -> str:
        rng = self.rng
        cues = [cue for rule in rules for cue in rule.cues]
        avoid = tuple({*cues, *self.cues})
        what = rng.random()
        if rules and what < 0.6:
            cue = rng.choice(rng.choice(rules).cues)
            while True:
                text = sentence_with(rng, cue)
                if sum(word in cues for word in text.split()) == 1:
                    return text
        if rules and what < 0.75 and len(cues) < 4:
            return sentence_with(rng, near(rng, cues[0], avoid), avoid)
        return sentence(rng, avoid)


class _Player:
    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.rng = stage, rng
        self.now = rng.randrange(0, 1500)
        self.rules: list[Rule] = []

    def play(self, moves: tuple[Move, ...]) -> Episode:
        for move in moves:
            if move.kind == "read":
                self._read(move)
            elif not self._line(move):
                break
        return self.stage.episode()

    def _read(self, move: Move) -> None:
        opening = move.channel is Channel.INSTRUCTIONS or self.rng.random() < 0.4
        read = self.stage.read(move.text, -1 if opening else tick_of(self.now), move.channel)
        assert move.rule is not None
        self.rules.append(move.rule)
        self.now = max(self.now, read_ms(read) + self.rng.randrange(400, 1500))

    def _line(self, move: Move) -> bool:
        """Place the line with all that follows; later, while the model still speaks; or not at all."""
        for shift in range(0, 2400, 200):
            placed = self.stage.at(move.line, self.now + shift)
            says = self._answers(placed, move)
            if not self.stage.fits(placed) or not self.stage.free(*(say for say, _ in says)):
                continue
            self.stage.put(placed)
            for say, heard in says:
                if move.kind == "revoke":
                    self.stage.answer(say, heard)
                else:
                    self.stage.cued(say, heard)
            if move.kind == "rule" and move.rule is not None:
                self.rules.append(move.rule)
            if move.kind == "revoke" and move.rule is not None:
                self.rules.remove(move.rule)
                self.stage.expect(Expected("halt", says[0][0].at_ms, self.stage.ms, move.rule.reply))
            # mostly the user just goes on; a breath after a rule
            self.now = heard_end(placed) + self.rng.randrange(150, 900) + 400 * (move.kind != "talk")
            return True
        return False

    def _answers(self, placed: Placed, move: Move) -> list[tuple[Say, int]]:
        """What the model says because of this line, with the end (ms) of what it answers."""
        if move.kind == "revoke":
            return [(Say("okay", react(heard_end(placed))), heard_end(placed))]
        if move.kind == "rule":
            return []
        found: list[tuple[Say, int]] = []
        for i, word in enumerate(self.stage.script.lines[move.line].text.split()):
            for rule in self.rules:
                if word in rule.cues:
                    heard = placed.word_end(i)
                    found.append((Say(rule.reply, react(heard)), heard))
        return found
