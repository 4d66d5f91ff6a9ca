"""Speaking on time: reminders, timers and counting, by the seconds that have passed and nothing else.

Conventions. A rule is not acknowledged: the model is silent until something is due. Due times count from
the end of the rule (from the tick in which a typed rule arrives, from 0 for one read at opening). A change
counts from its own end and is not acknowledged either; whatever ends a rule is answered with “okay”.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from microturn.clock import start_ms, tick_of
from microturn.scenes.episode import Clip, Episode, Expected, Line, Placed, Say, Script, on_tick, react
from microturn.scenes.stage import WINDOW_MS, Stage, heard_end, read_ms, reply_to, said_end
from microturn.scenes.talk import sentence
from microturn.scenes.wording import Wordings, said_in
from microturn.scenes.words import ALL, TASKS, VERBS, is_reserved, number
from microturn.streams import Channel

SAID = said_in("time")
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


KINDS = {"every": 9, "once": 4, "count": 3, "two": 2, "both": 2, "timer": 2}
ONCE = KINDS | {"once": 12, "timer": 4, "every": 5}  # a drill: what is asked for once is not said again


class Time:
    def __init__(self, name: str = "time", kinds: dict[str, int] = KINDS) -> None:
        self.name, self._kinds = name, kinds

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        return _Writer(rng, split, seconds).write(self.name, self._kinds)

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        return _Player(Stage(script, tuple(clips), seconds), rng).play(script.facts["moves"])


class _Writer:
    """Draws what the user will do: a rule or two, talk, perhaps a change, perhaps an end."""

    def __init__(self, rng: random.Random, split: str, seconds: float) -> None:
        self.rng, self.split, self.seconds = rng, split, seconds
        self.lines: list[Line] = []
        self.moves: list[Move] = []

    def write(self, name: str, kinds: dict[str, int]) -> Script:
        rng = self.rng
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        typed = rng.random() < 0.15
        longest = max(
            2, min(12, int((self.seconds - 5) / (2.2 if kind in ("every", "count", "both") else 1.5)))
        )
        n = rng.randint(2, longest)
        if kind in ("every", "both"):
            text, (task,) = self._tasks(SAID["EVERY"], n)
            self._rule(text, typed, self._repeated(n, task))
            if kind == "both":
                m = 2 * n if 2 * n <= longest and rng.random() < 0.5 else n
                text, (other,) = self._tasks(SAID["EVERY"], m)
                if other != task:
                    self._rule(text, False, self._repeated(m, other))
        elif kind == "count":
            self._rule(
                self._draw(SAID["COUNT"], n=number(n)), typed, Due(n * 1000, tuple(map(number, range(1, 60))))
            )
        elif kind == "two":
            m = n + rng.randint(2, 4)
            text, (task, other) = self._tasks(SAID["TWO"], n, m)
            self._rule(text, typed, Due(n * 1000, (task,)), Due(m * 1000, (other,)))
        elif kind == "once":
            text, (task,) = self._tasks(SAID["ONCE"], n)
            self._rule(text, typed, Due(n * 1000, (task,)))
        else:
            self._rule(self._draw(SAID["TIMER"], n=number(n)), typed, Due(n * 1000, (TIME_IS_UP,)))
        self._talk(0.5)
        if kind in ("every", "count") and rng.random() < 0.35:
            m = rng.choice([k for k in range(2, longest + 2) if k != n])
            due = Due(m * 1000, self.moves[0].dues[0].says)
            text = self._draw(SAID["CHANGE"], n=number(m))
            self._add(Move("change", dues=(due,), after=rng.randint(1, 2)), text)
            self._talk(0.4)
        if rng.random() < (0.6 if kind in ("every", "count", "both") else 0.2):
            self._add(
                Move("stop", after=rng.randint(1, 4) if kind in ("every", "count", "both") else 0),
                self._draw(SAID["STOP"]),
            )
            self._talk(0.3)
        return Script(name, 0, tuple(self.lines), {"moves": tuple(self.moves)})

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
