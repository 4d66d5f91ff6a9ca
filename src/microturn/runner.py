"""Recordings through the model, offline: a sound file out that is exactly as long as the one that went in.

Driven pace: a tick happens when its input is there, as fast as the machine allows, with the results that live
sessions would have had. What the model says in answer to tick k is heard from tick k + 1 on, as it is live:
the output can be laid beside the input, sample for sample. Several recordings run in one batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from microturn.clock import SPEAK_SAMPLES, tick_of
from microturn.engine import Engine, Pace, Session
from microturn.events import EventLog, TimedText, join_pieces
from microturn.media import MediaError, Recording, WavWriter, audio_ticks, examine, frame_ticks
from microturn.picture import Trace, peaks, save_picture
from microturn.script import ScriptLine
from microturn.streams import Action, Bytes, Channel, Decision, Floats, InteractionModel, Perception, TextIn

TOGETHER = 8  # recordings in one batch


@dataclass(frozen=True)
class Job:
    """One recording and what to make of it."""

    audio: Path
    out: Path
    video: Path | None = None
    script: tuple[ScriptLine, ...] = ()
    instructions: str = ""
    eagerness: float = 0.0
    events: Path | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `failure` is one line for a person; nothing was written then."""

    job: Job
    seconds: float = 0.0
    words_said: int = 0
    words_heard: int = 0
    spoken_ticks: int = 0
    failure: str | None = None


Watch = Callable[[int, int], None]  # ticks done, ticks in all as far as known


def run_jobs(model: InteractionModel, jobs: Sequence[Job], watch: Watch | None = None) -> Iterator[Outcome]:
    """Every job's outcome, in the order of ending. A recording that cannot be used harms no other."""
    engine = Engine(model, slots=min(TOGETHER, max(1, len(jobs))))
    waiting = deque(jobs)
    running: list[_Run] = []
    done, known = 0, 0
    try:
        while waiting or running:
            while waiting and len(running) < engine.slots.count:
                job = waiting.popleft()
                try:
                    running.append(_Run(engine, job))
                    known += running[-1].recording.ticks
                except (OSError, ValueError) as error:
                    yield Outcome(job, failure=_line(job, error))
            ended: list[Outcome] = []
            fed = [run for run in running if _try(run, run.feed, ended)]
            engine.drain()
            running = [run for run in fed if _try(run, run.follow, ended)]
            done += len(running)
            if watch:
                watch(done, known)
            yield from ended
    finally:
        for run in running:
            run.discard()
        engine.close()


def _try(run: _Run, part: Callable[[], bool], ended: list[Outcome]) -> bool:
    """One part of a run's tick. False when the run has ended, well or not."""
    try:
        if part():
            return True
        ended.append(run.outcome())
    except (OSError, ValueError) as error:
        run.discard()
        ended.append(Outcome(run.job, failure=_line(run.job, error)))
    return False


class _Run:
    """One job on its way through the engine."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self.job = job
        inputs = {job.audio.resolve(), job.video.resolve() if job.video else None}
        for path in (job.out, job.events, job.picture):
            if path and path.resolve() in inputs:
                raise ValueError("the answer would overwrite the recording; name another file")
        self.recording: Recording = examine(job.audio)
        late = [line for line in job.script if line.ms >= self.recording.seconds * 1000]
        if late:
            raise ValueError(
                f"the script goes on at {late[0].ms} ms, after the end of the recording "
                f"({float(self.recording.seconds) * 1000:.0f} ms)"
            )
        self._audio = audio_ticks(self.recording)
        self._frames = self._pictures(engine)
        opening = [TextIn(job.instructions, Channel.INSTRUCTIONS)] if job.instructions.strip() else []
        opening += [TextIn(line.text, line.channel) for line in job.script if line.channel is Channel.HISTORY]
        self._script = deque(line for line in job.script if line.channel is not Channel.HISTORY)
        self._fed = 0
        self._log = EventLog(engine.spec.lead_ticks)
        self._heard: list[TimedText] = []  # pieces
        self._said: list[TimedText] = []
        self._seen: deque[tuple[Perception, Action]] = deque()
        self._trace = Trace(job.audio.name, engine.spec.name, float(self.recording.seconds))
        self._session: Session = engine.open(
            pace=Pace.DRIVEN,
            witness=lambda perception, action: self._seen.append((perception, action)),
            read=opening,
            eagerness=job.eagerness,
        )
        self._wav: WavWriter | None = None
        self._lines: TextIO | None = None
        try:
            job.out.parent.mkdir(parents=True, exist_ok=True)
            self._wav = WavWriter(job.out, self.recording.spoken_samples)
            if job.events:
                job.events.parent.mkdir(parents=True, exist_ok=True)
                self._lines = _part(job.events).open("w", encoding="utf-8")
            self._play(None)  # nothing can be answered before the first tick is over
            self._write(tuple(opening), None)
        except OSError:
            self.discard()
            raise

    def _pictures(self, engine: Engine) -> Iterator[Bytes | None]:
        if self.job.video is None:
            return iter(())
        return frame_ticks(self.job.video, engine.spec.frame_size, self.recording.ticks)

    def feed(self) -> bool:
        """Push the next tick. False at the end of the recording."""
        if self._fed == self.recording.ticks:
            self._close()
            return False
        text: list[TextIn] = []
        while self._script and tick_of(self._script[0].ms) <= self._fed:
            line = self._script.popleft()
            text.append(TextIn(line.text, line.channel))
        self._session.push(Perception(next(self._audio), next(self._frames, None), tuple(text)))
        self._fed += 1
        return True

    def follow(self) -> bool:
        """Write down what the model did."""
        if self._session.error is not None:
            raise ValueError(f"the model failed in tick {self._fed - 1}: {self._session.error}")
        while self._seen:
            perception, action = self._seen.popleft()
            trace = self._trace
            trace.decisions.append(action.decision)
            trace.missed.append(action.missed)
            trace.user.append(peaks(perception.audio))
            self._play(action.speech)
            self._write(perception.text, action)
        return True

    def _play(self, speech: Floats | None) -> None:
        assert self._wav is not None
        self._wav.write(speech, SPEAK_SAMPLES)
        self._trace.voice.append(peaks(speech))

    def _write(self, read: tuple[TextIn, ...], action: Action | None) -> None:
        for event in self._log.opening(read) if action is None else self._log.follow(action, read):
            if self._lines:
                self._lines.write(event.to_json() + "\n")
            if event.text is None:
                continue
            text = TimedText(event.tick, event.text)
            if event.type == "say":
                self._said.append(text)
            elif event.type == "hear":
                self._heard.append(text)
            elif event.channel is not None:
                self._trace.read.append((text, event.channel))

    def _close(self) -> None:
        """Everything is there: move it to its place."""
        self._session.close()
        assert self._wav is not None
        self._trace.said, self._trace.heard = join_pieces(self._said), join_pieces(self._heard)
        if self.job.picture:
            self.job.picture.parent.mkdir(parents=True, exist_ok=True)
            save_picture(self._trace, self.job.picture)
        if self._lines and self.job.events:
            self._lines.close()
            _part(self.job.events).replace(self.job.events)
        self._wav.close()

    def outcome(self) -> Outcome:
        trace = self._trace
        spoken = sum(decision is Decision.SPEAK for decision in trace.decisions)
        return Outcome(self.job, trace.seconds, len(trace.said), len(trace.heard), spoken)

    def discard(self) -> None:
        """Leave nothing half done behind."""
        self._session.close()
        if self._wav:
            self._wav.discard()
        if self._lines and self.job.events:
            self._lines.close()
            _part(self.job.events).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _line(job: Job, error: OSError | ValueError) -> str:
    """One line that names the file at fault."""
    text = str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        text = f"{error.filename}: is a file where a folder is needed"
    elif isinstance(error, OSError):
        text = f"{error.filename or job.out}: {(error.strerror or text).lower()}"
    elif not isinstance(error, MediaError):
        text = f"{job.audio}: {text}"
    return " ".join(text.split())
