"""Answering cues while the user goes on talking: “every time i say apple say pie”.

Conventions. A rule is not acknowledged; it holds from its end on, and the words inside a rule or inside
what ends it are no cues. A cue's answer is played at `react` of the cue's end, over the user. Taking a rule
back is answered with “okay”. Everything else that the user says is plain talk and gets no answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from microturn.clock import tick_of
from microturn.scenes.episode import Clip, Episode, Expected, Line, Placed, Say, Script, react
from microturn.scenes.stage import CUE_MS, Stage, heard_end, quiet, read_ms, say_ms
from microturn.scenes.talk import sentence, sentence_with
from microturn.scenes.wording import Wordings, tidy
from microturn.scenes.words import CLASSES, near, pair
from microturn.streams import Channel

RULE = Wordings(
    train=(
        "(every time|whenever|each time|any time|when) i say {cue} (say|answer|you say|reply) {reply}",
        "(every time|whenever|each time|when) you hear {cue} (say|answer|you say|reply) {reply}",
        "(every time|whenever|when) i mention {cue} (say|you say) {reply}",
        "(every time|whenever|when) i say {cue} (i want you to|please|you have to) say {reply}",
        "(every time|whenever|when) i say the word {cue} say {reply}",
        "(whenever|each time|when) you hear the word {cue} (say|answer) {reply}",
        "say {reply} (every time|whenever|each time|when) i say {cue}",
        "say {reply} (every time|whenever|when) you hear {cue}",
        "if i say {cue} (say|you say|answer|reply) {reply}",
        "if you hear {cue} (say|answer) {reply}",
        "answer {reply} (whenever|when) i (say|mention) {cue}",
    ),
    reserved=(
        "let's play a game i say {cue} and you say {reply}",
        "if (ever|) you hear me say {cue} (come|answer) back with {reply}",
        "{cue} means you (have to|should) say {reply}",
        "your answer to {cue} is always (going to be|) {reply}",
        "i want to hear {reply} as soon as i've said {cue}",
        "once {cue} comes out of my mouth you go {reply}",
        "say {reply} back to me if i say {cue}",
        "me saying {cue} is your sign to say {reply}",
        "listen out for {cue} and (then|) shout {reply}",
        "could you please (always|) follow {cue} with {reply}",
    ),
    more=(
        "i say {cue} (and|then|) you say {reply}",
        "when {cue} is mentioned (say|answer|reply) {reply}",
        "on {cue} you (say|answer) {reply}",
        "{reply} is what you say (when|whenever|every time) i say {cue}",
        "{reply} is what i want to hear after {cue}",
        "after (i say|the word) {cue} (always|) say {reply}",
        "i want (to hear|) {reply} (each|every) time i say {cue}",
        "listen for {cue} and (say|answer) {reply}",
        "watch out for the word {cue} and answer {reply}",
        "(could|would|will) you say {reply} when you hear {cue}",
        "(shout|throw in|put in) {reply} (when|if|each time) i say {cue}",
        "reply with {reply} to {cue}",
        "answer {cue} with {reply}",
        "follow {cue} with {reply}",
        "interrupt me with {reply} (when|whenever) i say {cue}",
        "(i'd like you to|you should|you must) say {reply} when i mention {cue}",
        "(as often as|once|in case) i say {cue} (say|answer) {reply}",
        "if {cue} (is said|turns up|is mentioned) (say|answer|you say) {reply}",
        "your (part|job) is to say {reply} after {cue}",
        "{cue} gets {reply}",
        "to {cue} you (reply|say|answer) {reply}",
        "here is a game i say {cue} you say {reply}",
        "it's {reply} (whenever|when) i say {cue}",
        "say {reply} right after {cue}",
        "take {cue} as the sign to say {reply}",
        "every {cue} wants a {reply} from you",
        "(the moment|as soon as) i say {cue} (say|answer) {reply}",
        "my saying {cue} means you say {reply}",
        "(please|) call out {reply} (whenever|if) i use the word {cue}",
        "for every {cue} that i say you say {reply}",
        "respond with {reply} (each time|whenever) {cue} comes up",
        "let me hear {reply} when i say {cue}",
        "{cue} is the cue and {reply} is your answer",
        "should i say {cue} then say {reply}",
    ),
)
SECOND = Wordings(
    train=(
        "and (when|whenever|every time) i say {cue} say {reply}",
        "and for {cue} say {reply}",
        "and if i say {cue} (say|answer) {reply}",
        "also (when|whenever) you hear {cue} say {reply}",
    ),
    reserved=(
        "now one more i say {cue} you say {reply}",
        "same thing with {cue} but there you answer {reply}",
        "plus if {cue} comes up (then|) you go {reply}",
        "and for {cue} the answer (is|should be) {reply}",
    ),
    more=(
        "and {cue} gets {reply}",
        "and answer {cue} with {reply}",
        "and say {reply} after {cue}",
        "and on {cue} (say|answer) {reply}",
        "and reply with {reply} to {cue}",
        "(also|and|then) say {reply} (when|whenever|if) i say {cue}",
        "and {reply} (when|whenever|if) i say {cue}",
        "and (once|in case|each time) i (say|mention) {cue} say {reply}",
        "plus {reply} for {cue}",
        "and it's {reply} for {cue}",
        "and {reply} is your answer to {cue}",
        "and as soon as i say {cue} say {reply}",
    ),
)
TYPED = Wordings(
    train=(
        "(every time|whenever|when) the user says {cue} (say|answer|reply) {reply}",
        "(every time|whenever|when) you hear {cue} (say|answer|reply) {reply}",
        "(every time|whenever|when) i say {cue} (say|answer|reply) {reply}",
        "say {reply} (whenever|when|every time) the user (says|mentions) {cue}",
        "if the user (says|mentions) {cue} say {reply}",
    ),
    reserved=(
        "listen for {cue} in the user's speech and respond with {reply}",
        "on hearing {cue} from the user (always|) output {reply}",
        "should the user say {cue} then your response is {reply}",
        "{reply} is the answer each time {cue} is said by the user",
        "respond with {reply} right after the user says {cue}",
    ),
    more=(
        "after the word {cue} (always|) say {reply}",
        "answer {cue} with {reply}",
        "reply with {reply} to {cue}",
        "(once|in case|each time) the user (says|mentions) {cue} say {reply}",
        "listen for {cue} and say {reply}",
        "{reply} is what you say when you hear {cue}",
        "{cue} gets {reply}",
        "when {cue} is mentioned (say|answer) {reply}",
        "(as soon as|the moment) the user says {cue} say {reply}",
        "respond with {reply} whenever {cue} comes up",
        "your answer to the word {cue} is {reply}",
    ),
)
KIND = Wordings(
    train=(
        "(every time|whenever|when|each time) i (say|mention) {kind} say {reply}",
        "say {reply} (whenever|when|every time) i (say|mention) {kind}",
        "if (i mention|you hear) {kind} say {reply}",
    ),
    reserved=(
        "listen (out|) for {kind} and shout {reply} when you hear one",
        "say {reply} as soon as i've named {kind}",
        "let's play (a game|) i name {kind} and you say {reply}",
        "anything i say that is {kind} gets {reply} from you",
    ),
    more=(
        "when {kind} is mentioned say {reply}",
        "answer {kind} with {reply}",
        "(once|in case|as often as) i (say|mention) {kind} (say|answer) {reply}",
        "{reply} is what you say when i mention {kind}",
        "listen for {kind} and say {reply}",
        "i say {kind} you say {reply}",
        "on {kind} you say {reply}",
        "(put in|throw in) {reply} (when|whenever) you hear {kind}",
        "reply with {reply} to {kind}",
        "(as soon as|the moment) i mention {kind} say {reply}",
        "for {kind} your answer is {reply}",
    ),
)
REVOKE = Wordings(
    train=(
        "stop saying {reply} (when i say {cue}|now|please)",
        "(okay|) stop saying {reply}",
        "you (don't have to|can stop) saying {reply} now",
        "(okay|please) no more {reply} now",
        "forget (about {cue}|the rule about {cue}|that rule)",
        "don't (say {reply} anymore|answer to {cue} anymore)",
        "you can stop that now",
        "(okay|) that's enough",
        "(okay|please|) stop that now",
    ),
    reserved=(
        "you (don't have|don't need) to say {reply} any more",
        "from now on don't answer when i say {cue}",
        "(okay|) we're done with that (game|one) now",
        "i take it back you can drop (that|the rule)",
        "enough with the {reply} (already|now)",
    ),
    more=(
        "no need for {reply} (now|any longer)",
        "never mind {cue} (now|from here on)",
        "leave out the {reply} now",
        "(enough of|no longer say) {reply}",
        "we are done with {cue}",
        "cancel the {cue} (rule|thing)",
        "{cue} doesn't matter now",
        "(please|okay) give up saying {reply}",
        "the game is over",
        "(you may|let's) end that now",
        "(thanks|okay) that will be all",
        "(alright|okay) quit saying {reply}",
        "from now on ignore {cue}",
        "drop the rule about {cue}",
        "you no longer need to say {reply}",
        "(okay|) i've heard enough",
    ),
)
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
        stage = Stage(script, tuple(clips), seconds)
        moves = script.facts["moves"]
        assert isinstance(moves, tuple)
        return _Player(stage, rng).play(moves)


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
        first = self._kind_rule() if by_class else self._word_rule(RULE)
        rules = [first]
        if rng.random() < 0.1:
            self._talk([], 1)
        if not by_class and self.left_ms > 9000 and rng.random() < 0.35:
            rules.append(self._word_rule(SECOND))
        revoke = self.left_ms > 9000 and rng.random() < 0.3
        self._talk(rules, 30, 5000 if revoke else 0)
        if revoke:
            gone = rng.choice(rules)
            slots = {"cue": gone.cues[0] if len(gone.cues) == 1 else "that", "reply": gone.reply}
            text = REVOKE.draw(rng, self.split, **slots)
            if len(rules) > 1:  # with two rules it must be plain which one is meant
                text = f"stop saying {gone.reply} please"
            self._add(Move("revoke", rule=gone), text)
            self._talk(rules, 30)
        return Script(Cue.name, 0, tuple(self.lines), {"moves": tuple(self.moves)})

    def _word_rule(self, wordings: Wordings) -> Rule:
        cue, reply = pair(self.rng, self.split, tuple(self.cues))
        self.cues += [cue, *reply.split()]
        rule = Rule((cue,), reply)
        if wordings is RULE and self.rng.random() < 0.25:
            text = TYPED.draw(self.rng, self.split, cue=cue, reply=reply)
            channel = self.rng.choice((Channel.TYPED, Channel.INSTRUCTIONS))
            self.moves.append(Move("read", rule=rule, text=text, channel=channel))
        else:
            self._add(Move("rule", rule=rule), wordings.draw(self.rng, self.split, cue=cue, reply=reply))
        return rule

    def _kind_rule(self) -> Rule:
        kind = self.rng.choice(tuple(KINDS))
        _, reply = pair(self.rng, self.split, CLASSES[kind])
        self.cues += reply.split()
        self._add(
            Move("rule", rule=Rule(CLASSES[kind], reply)),
            KIND.draw(self.rng, self.split, kind=KINDS[kind], reply=reply),
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
        if not self.stage.says:
            self.stage.expect(quiet(0, self.stage.ms))
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
                    self.stage.say(say)
                    self.stage.expect(Expected("say", heard, heard + CUE_MS, say.text))
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
