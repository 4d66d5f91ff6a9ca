"""Speaking on time: reminders, timers and counting, by the seconds that have passed and nothing else.

Conventions. A rule is not acknowledged: the model is silent until something is due. Due times count from
the end of the rule (from the tick in which a typed rule arrives, from 0 for one read at opening). A change
counts from its own end and is not acknowledged either; whatever ends a rule is answered with “okay”.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from microturn.clock import start_ms, tick_of
from microturn.scenes.episode import Clip, Episode, Expected, Line, Placed, Say, Script, on_tick, react
from microturn.scenes.stage import WINDOW_MS, Stage, heard_end, quiet, read_ms, reply_to, said_end
from microturn.scenes.talk import sentence
from microturn.scenes.wording import Wordings
from microturn.scenes.words import ALL, TASKS, VERBS, is_reserved, number
from microturn.streams import Channel

EVERY = Wordings(
    train=(
        "remind me to {task} every {n} seconds (until i ask you to stop|until i tell you to stop|)",
        "(please|can you|) tell me to {task} every {n} seconds",
        "every {n} seconds (remind|tell) me to {task}",
        "i want you to say {task} every {n} seconds",
        "(please|can you|) say {task} every {n} seconds",
        "every {n} seconds say {task}",
        "say {task} once every {n} seconds",
        "keep saying {task} every {n} seconds",
        "each {n} seconds say {task}",
        "just say {task} every {n} seconds",
        "repeat {task} every {n} seconds (until i say stop|)",
    ),
    reserved=(
        "keep telling me to {task} with {n} seconds in between",
        "i keep forgetting to {task} so nag me every {n} seconds",
        "every time {n} seconds go by tell me to {task}",
        "could you say {task} once every {n} seconds till i've had enough",
        "say {task} then wait {n} seconds and say it again forever",
        "{task} is what i want to hear every {n} seconds",
        "give me a shout to {task} each {n} seconds (would you|)",
        "it's every {n} seconds that i should {task} so tell me",
    ),
    more=(
        "{task} every {n} seconds (please|)",
        "i want {task} every {n} seconds",
        "say {task} again and again every {n} seconds",
        "(always|) say {task} when another {n} seconds have passed",
        "go on saying {task} every {n} seconds",
        "(will you|you should) say {task} every {n} seconds",
        "(start|begin) saying {task} every {n} seconds",
        "you have to say {task} every {n} seconds",
        "with {n} seconds in between say {task}",
        "every {n} seconds i want (you to say|to hear) {task}",
        "every {n} seconds (i need|please tell me) to {task}",
        "don't stop saying {task} every {n} seconds",
        "at every {n} seconds say {task}",
        "do say {task} every {n} seconds till i stop you",
        "(could you|would you) remind me every {n} seconds to {task}",
        "at intervals of {n} seconds say {task}",
        "i need to hear {task} every {n} seconds",
        "until i stop you say {task} every {n} seconds",
        "(from now on|starting now) say {task} every {n} seconds",
        "let me hear {task} every {n} seconds",
    ),
)
ONCE = Wordings(
    train=(
        "in {n} seconds say {task}",
        "(please|can you|) say {task} in {n} seconds",
        "after {n} seconds say {task}",
        "wait {n} seconds and (then|) say {task}",
        "remind me to {task} in {n} seconds",
        "in {n} seconds (remind|tell) me to {task}",
        "say {task} after {n} seconds",
        "tell me to {task} in {n} seconds",
        "i want you to say {task} in {n} seconds",
    ),
    reserved=(
        "{n} seconds from now (please|) tell me to {task}",
        "i have to {task} in {n} seconds don't let me forget",
        "give me {n} seconds and then tell me {task}",
        "once {n} seconds are up i'd like to hear {task}",
        "when {n} seconds have passed (can you|) let me know to {task}",
        "just one reminder for me {task} after {n} seconds",
        "hold on for {n} seconds before you tell me to {task}",
    ),
    more=(
        "{n} seconds and then say {task}",
        "say {task} once in {n} seconds from here",
        "hold on for {n} seconds and say {task}",
        "count to {n} in your head and say {task}",
        "(i'd like|i want) to hear {task} in {n} seconds",
        "say {task} when {n} seconds have gone by",
        "in {n} seconds i want (you to say|to hear) {task}",
        "let me know in {n} seconds to {task}",
        "(will you|you should) say {task} after {n} seconds",
        "not now but in {n} seconds say {task}",
        "say {task} just once after {n} seconds",
        "{task} in {n} seconds please",
        "{n} seconds later say {task}",
        "at {n} seconds say {task}",
        "(could you|would you) say {task} {n} seconds from now",
        "{n} seconds from now say {task}",
        "give me {n} seconds and then say {task}",
        "once {n} seconds have passed say {task}",
        "(when|as soon as) {n} seconds are over say {task}",
        "let {n} seconds go by and say {task}",
    ),
)
TIMER = Wordings(
    train=(
        "(please|can you|) set a timer for {n} seconds",
        "tell me when {n} seconds (are up|have passed)",
        "let me know (in|after) {n} seconds",
        "set a {n} second timer",
        "start a timer for {n} seconds",
        "time {n} seconds for me",
    ),
    reserved=(
        "let me know when {n} seconds are up",
        "i'm boiling something tell me when it's been {n} seconds",
        "put {n} seconds on the clock (for me|)",
        "could you keep an eye on the time beep after {n} seconds",
    ),
    more=(
        "give me {n} seconds on the timer",
        "(i want|make) a timer of {n} seconds",
        "(put|run) a timer for {n} seconds",
        "tell me when {n} seconds (are gone|have gone by)",
        "a timer for {n} seconds please",
        "say when {n} seconds are up",
        "(will you|) keep time for {n} seconds",
        "start {n} seconds now",
        "i need a timer for {n} seconds",
        "(could you|would you) time {n} seconds",
        "timer {n} seconds",
    ),
)
COUNT = Wordings(
    train=(
        "count up every {n} seconds",
        "(please|can you|) count up one every {n} seconds",
        "count one number every {n} seconds",
        "every {n} seconds count one up",
        "say the next number every {n} seconds",
    ),
    reserved=(
        "start counting and leave {n} seconds between the numbers",
        "count one two three and so on {n} seconds apart",
        "i'd like you to count slowly one number per {n} seconds",
        "one number then {n} seconds of quiet then the next one",
    ),
    more=(
        "count one more every {n} seconds",
        "one number every {n} seconds please",
        "(will you|start to) count a number every {n} seconds",
        "count from one with {n} seconds in between",
        "count on every {n} seconds",
        "i want you to count up every {n} seconds",
        "every {n} seconds say the next number",
        "keep counting every {n} seconds",
        "count up at intervals of {n} seconds",
    ),
)
TWO = Wordings(
    train=(
        "in {n} seconds say {task} and in {m} seconds say {task2}",
        "say {task} in {n} seconds and {task2} in {m} seconds",
        "after {n} seconds say {task} and after {m} seconds say {task2}",
        "remind me to {task} in {n} seconds and to {task2} in {m} seconds",
    ),
    reserved=(
        "two things {task} in {n} seconds and {task2} in {m} seconds",
        "i need to {task} in {n} seconds also {task2} in {m} seconds",
        "set me two reminders {n} seconds for {task} {m} seconds for {task2}",
        "{n} seconds from now say {task} {m} seconds from now {task2}",
    ),
    more=(
        "{task} in {n} seconds and {task2} in {m} seconds please",
        "(i'd like|i want) to hear {task} in {n} seconds and {task2} in {m} seconds",
        "say {task} when {n} seconds have gone by and {task2} after {m} seconds",
        "in {n} seconds {task} and in {m} seconds {task2}",
        "tell me to {task} in {n} seconds and to {task2} after {m} seconds",
        "{n} seconds from now say {task} and {m} seconds from now say {task2}",
        "wait {n} seconds for {task} and {m} seconds for {task2}",
    ),
)
STOP = Wordings(
    train=(
        "(okay|thanks|please|alright|) stop",
        "(okay|please|) stop (it|that) now",
        "(okay|you can|please) stop (now|reminding me)",
        "that's enough (now|thanks|)",
        "(okay|) that's enough",
        "no more (reminders|please)",
        "you can stop now",
        "(please|) be quiet now",
        "cancel that",
        "forget (it|about it)",
        "stop saying that",
    ),
    reserved=(
        "you (can|may) quit reminding me now",
        "i don't need (the reminders|to be reminded) any more",
        "(okay|right|) i've done it (you can leave it now|no more please)",
        "turn (that|it|the reminder) off (would you|)",
        "would you please be so kind and end the reminders",
        "(alright|) i heard you (the first time|) give it a rest",
        "(cut it out|knock it off) (already|will you|)",
    ),
    more=(
        "(okay|) enough of that",
        "(please|) no more of (that|it)",
        "(that's|this is) all for now",
        "we are done (now|here|)",
        "(okay|please|) leave it",
        "don't say it (again|any longer)",
        "(let's|we can) stop here",
        "(okay|thanks) i'm good now",
        "that will be all",
        "give up on that",
        "(please|) don't go on",
        "never mind",
        "(alright|okay) you're done",
        "hush now",
        "(alright|okay) no need to go on",
        "(okay|) i've heard enough",
        "you may stop",
        "(thanks|okay) quit it now",
        "end (that|it) please",
    ),
)
CHANGE = Wordings(
    train=(
        "make it every {n} seconds",
        "(please|actually|) make that every {n} seconds",
        "(please|actually|now) do it every {n} seconds",
        "change it to every {n} seconds",
        "change that to {n} seconds",
        "(actually|) every {n} seconds (please|instead)",
    ),
    reserved=(
        "(that's too often|that's too slow) let's have {n} seconds between them",
        "can we go to {n} seconds (instead of that|)",
        "i'd rather hear it every {n} seconds",
        "how about {n} seconds (apart|between each one) instead",
        "sorry i meant to say {n} seconds each time",
        "same reminder but with {n} seconds in between (please|)",
    ),
    more=(
        "(let's make it|i want it) every {n} seconds",
        "(no|oh) every {n} seconds (is better|instead)",
        "(try|take|use) {n} seconds (instead|now|)",
        "from here on every {n} seconds",
        "{n} seconds (instead|now|please)",
        "not so often every {n} seconds",
        "say it every {n} seconds (now|instead)",
        "(please|) change to {n} seconds",
        "could it be every {n} seconds",
        "(let's|) switch to every {n} seconds",
        "(i'd prefer|rather) every {n} seconds",
        "{n} seconds would be better",
        "go to every {n} seconds",
    ),
)
TIME_IS_UP = "time's up"
CALM_MS = 200  # between two things that the model says


@dataclass(frozen=True)
class Due:
    """What a rule asks for: `says` after `period_ms`, and again every `period_ms` where there is more."""

    period_ms: int
    says: tuple[str, ...]


@dataclass(frozen=True)
class Move:
    """One thing that the user does: `kind` is rule, change, stop or talk."""

    kind: str
    line: int = -1  # −1: typed or read at opening
    dues: tuple[Due, ...] = ()
    channel: Channel | None = None
    text: str = ""
    after: int = 0  # a stop or change comes when so many things were said


@dataclass(frozen=True)
class Running:
    """A rule in force from `since_ms` until `until_ms`."""

    due: Due
    since_ms: int
    until_ms: int
    done: int = 0  # of its words said before it was changed

    def says(self, end_ms: int) -> list[Say]:
        found: list[Say] = []
        for i, text in enumerate(self.due.says[self.done :], 1):
            say = Say(text, on_tick(self.since_ms + i * self.due.period_ms))
            if say.at_ms >= self.until_ms or said_end(say) > end_ms:
                break
            found.append(say)
        return found

    def pending(self, from_ms: int) -> str:
        """What would be said next from then on; nothing where the rule has ended or is through."""
        said = sum(self.since_ms + i * self.due.period_ms < from_ms for i in range(1, len(self.due.says) + 1))
        left = self.due.says[self.done + said :]
        return left[0] if left and self.until_ms > from_ms else ""


class Time:
    name = "time"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        return _Writer(rng, split, seconds).write()

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        moves = script.facts["moves"]
        assert isinstance(moves, tuple)
        return _Player(stage, rng).play(moves)


class _Writer:
    """Draws what the user will do: a rule or two, talk, perhaps a change, perhaps an end."""

    def __init__(self, rng: random.Random, split: str, seconds: float) -> None:
        self.rng, self.split, self.seconds = rng, split, seconds
        self.lines: list[Line] = []
        self.moves: list[Move] = []

    def write(self) -> Script:
        rng = self.rng
        kind = rng.choices(("every", "once", "count", "two", "both", "timer"), (9, 4, 3, 2, 2, 2))[0]
        typed = rng.random() < 0.15
        longest = max(
            2, min(12, int((self.seconds - 5) / (2.2 if kind in ("every", "count", "both") else 1.5)))
        )
        n = rng.randint(2, longest)
        if kind in ("every", "both"):
            text, (task,) = self._tasks(EVERY, n)
            self._rule(text, typed, self._repeated(n, task))
            if kind == "both":
                m = 2 * n if 2 * n <= longest and rng.random() < 0.5 else n
                text, (other,) = self._tasks(EVERY, m)
                if other != task:
                    self._rule(text, False, self._repeated(m, other))
        elif kind == "count":
            self._rule(self._draw(COUNT, n=number(n)), typed, Due(n * 1000, tuple(map(number, range(1, 60)))))
        elif kind == "two":
            m = n + rng.randint(2, 4)
            text, (task, other) = self._tasks(TWO, n, m)
            self._rule(text, typed, Due(n * 1000, (task,)), Due(m * 1000, (other,)))
        elif kind == "once":
            text, (task,) = self._tasks(ONCE, n)
            self._rule(text, typed, Due(n * 1000, (task,)))
        else:
            self._rule(self._draw(TIMER, n=number(n)), typed, Due(n * 1000, (TIME_IS_UP,)))
        self._talk(0.5)
        if kind in ("every", "count") and rng.random() < 0.35:
            m = rng.choice([k for k in range(2, longest + 2) if k != n])
            due = Due(m * 1000, self.moves[0].dues[0].says)
            text = self._draw(CHANGE, n=number(m))
            self._add(Move("change", dues=(due,), after=rng.randint(1, 2)), text)
            self._talk(0.4)
        if rng.random() < (0.6 if kind in ("every", "count", "both") else 0.2):
            self._add(
                Move("stop", after=rng.randint(1, 4) if kind in ("every", "count", "both") else 0),
                self._draw(STOP),
            )
            self._talk(0.3)
        return Script(Time.name, 0, tuple(self.lines), {"moves": tuple(self.moves)})

    def _repeated(self, n: int, text: str) -> Due:
        return Due(n * 1000, (text,) * 60)

    def _draw(self, wordings: Wordings, **slots: str) -> str:
        return wordings.draw(self.rng, self.split, **slots)

    def _tasks(self, wordings: Wordings, n: int, m: int = 0) -> tuple[str, list[str]]:
        """A rule and what it has the model say: things to do where it reads “to …”, else any word."""
        form = self._draw(wordings, n=number(n), m=number(m), task="{task}", task2="{task2}")
        doing = "to {task}" in form
        tasks: list[str] = []
        for period in (n, m) if m else (n,):
            while True:
                task = self.rng.choice((*TASKS, *VERBS) if doing or self.rng.random() < 0.2 else ALL)
                known = is_reserved(task, number(period)) == (self.split == "test")
                if known and task not in tasks and (n > 2 or len(task.split()) <= 2):
                    break
            tasks.append(task)
        return form.format(task=tasks[0], task2=tasks[-1]), tasks

    def _add(self, move: Move, text: str) -> None:
        self.moves.append(replace(move, line=len(self.lines)))
        self.lines.append(Line(text))

    def _rule(self, text: str, typed: bool, *dues: Due) -> None:
        if typed:
            channel = self.rng.choice((Channel.TYPED, Channel.INSTRUCTIONS))
            self.moves.append(Move("rule", dues=dues, channel=channel, text=text))
        else:
            self._add(Move("rule", dues=dues), text)

    def _talk(self, chance: float) -> None:
        while self.rng.random() < chance and len(self.lines) < self.seconds / 5:
            self._add(Move("talk"), sentence(self.rng))


class _Player:
    """Places the moves one after another, each at the first moment that leaves no doubt about what is due."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.rng = stage, rng
        self.running: list[Running] = []  # ended ones too: what they said stays said
        self.okays: list[Say] = []
        self.now = rng.randrange(0, 1800)

    def play(self, moves: tuple[Move, ...]) -> Episode:
        stage = self.stage
        for move in moves:
            if move.channel is not None:
                self._read(move)
            elif move.kind == "talk":
                self._talk(move)
            elif move.kind == "rule":
                self._rule(move)
            else:
                self._end(move)
        for say in self._due(self.running):
            stage.say(say)
            stage.expect(Expected("say", say.at_ms - WINDOW_MS, say.at_ms + WINDOW_MS, say.text))
        stage.say(*self.okays)
        if not stage.says:
            stage.expect(quiet(0, stage.ms))
        return stage.episode()

    def _due(self, running: Sequence[Running]) -> list[Say]:
        return [say for rule in running for say in rule.says(self.stage.ms)]

    def _clear(self, running: Sequence[Running], okays: Sequence[Say]) -> bool:
        """Whether everything that would be said then stands apart."""
        spans = sorted((s.at_ms, said_end(s)) for s in (*self._due(running), *okays))
        apart = all(b - a >= CALM_MS for (_, a), (b, _) in pairwise(spans))
        return apart and (not spans or spans[-1][1] <= self.stage.ms)

    def _read(self, move: Move) -> None:
        assert move.channel is not None
        opening = move.channel is Channel.INSTRUCTIONS or self.rng.random() < 0.3
        read = self.stage.read(move.text, -1 if opening else tick_of(self.now), move.channel)
        since = start_ms(max(0, read.tick))
        self.running += [Running(due, since, self.stage.ms) for due in move.dues]
        self.now = read_ms(read) + self.rng.randrange(800, 3000)

    def _talk(self, move: Move) -> None:
        placed = self.stage.at(move.line, self.now + self.rng.randrange(200, 3000))
        if self.stage.fits(placed):
            self._put(placed)

    def _put(self, placed: Placed) -> None:
        self.stage.put(placed)
        self.now = heard_end(placed) + self.rng.randrange(300, 900)

    def _rule(self, move: Move) -> None:
        """A first rule comes at once; a second one where the two never collide."""
        for shift in range(0, 12_000, 200):
            placed = self.stage.at(move.line, self.now + shift)
            end = heard_end(placed)
            new = [*self.running, *(Running(due, end, self.stage.ms) for due in move.dues)]
            if self.stage.fits(placed) and self._clear(new, self.okays):
                self.running = new
                self._put(placed)
                return

    def _end(self, move: Move) -> None:
        """A stop or a change, when enough was said and while nothing is due."""
        enough = sorted(say.at_ms for say in self._due(self.running))[: move.after]
        begin = max([self.now, *(at + 400 for at in enough)]) + self.rng.randrange(0, 1500)
        for shift in range(0, 12_000, 200):
            placed = self.stage.at(move.line, begin + shift)
            if not self.stage.fits(placed):
                return
            from_ms = react(heard_end(placed))
            first = placed.word_start(0) - CALM_MS
            if any(first <= say.at_ms < from_ms for say in self._due(self.running)):
                continue
            ended = [replace(rule, until_ms=min(rule.until_ms, from_ms)) for rule in self.running]
            cut = [text for rule in self.running if (text := rule.pending(from_ms))]
            if not cut:
                return
            new, okays = list(ended), list(self.okays)
            if move.kind == "change":
                done = ended[0].done + len(ended[0].says(self.stage.ms))
                new.append(Running(move.dues[0], heard_end(placed), self.stage.ms, done))
            else:
                okays.append(Say("okay", from_ms))
            if self._clear(new, okays):
                self._put(placed)
                if move.kind == "stop":
                    self.stage.expect(reply_to(okays[-1], heard_end(placed)))
                    self.stage.expect(*(Expected("halt", from_ms, self.stage.ms, text) for text in cut))
                self.running, self.okays = new, okays
                return
