"""Cases run through a model, free-running: it is fed its own words and nobody else's.

The engine does it at driven pace, as it does for files, so a score is a score of what users get. Words come
out of pieces by the rule of playing: a piece said by step k is played in tick k + lead, unless one of the
steps between decided not to speak any more. A piece with a leading space begins a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from microturn.bench.metrics import Heard, Played
from microturn.bench.waves import Case
from microturn.clock import end_ms, start_ms
from microturn.engine import Engine, play_all
from microturn.events import TimedText, join_pieces
from microturn.scenes.episode import Word
from microturn.streams import Action, Decision, InteractionModel

SLOTS = 32


def drive(
    model: InteractionModel,
    cases: Sequence[Case],
    slots: int = SLOTS,
    progress: Callable[[int], None] | None = None,
) -> list[Played]:
    """What the model does with each case; its slots are taken over. `progress` hears how many are done."""
    if not cases:
        return []
    engine = Engine(model, slots=min(slots, len(cases)))
    streams = [case.stream(model.spec.frame_size) for case in cases]
    try:
        for done, _ in enumerate(play_all(engine, streams), 1):
            if progress is not None:
                progress(done)
    finally:
        engine.close()
    return [played(stream.actions, model.spec.lead_ticks) for stream in streams]


def played(actions: Sequence[Action], lead_ticks: int) -> Played:
    """Words said, timed by the ticks in which they are played, and words heard."""
    said: list[Word] = []
    whole = False  # whether the last piece was played, so that the next may belong to its word
    for step, action in enumerate(actions):
        between = actions[step + 1 : step + lead_ticks]
        plays = step + lead_ticks < len(actions) and all(a.decision is not Decision.LISTEN for a in between)
        if not plays:
            whole = whole and not action.say
            continue
        begin, end = start_ms(step + lead_ticks), end_ms(step + lead_ticks)
        for piece in action.say:
            if said and whole and not piece.startswith(" "):
                said[-1] = Word(said[-1].text + piece, said[-1].start_ms, end)
            else:
                said.append(Word(piece.strip(), begin, end))
            whole = True
    wanted = (Decision.DELEGATE, Decision.CANCEL)
    decided = tuple(
        (step, action.decision) for step, action in enumerate(actions) if action.decision in wanted
    )
    speech = (None, *(action.speech for action in actions[:-1]))  # answers to tick k are heard in k + 1
    return Played(tuple(w for w in said if w.text), heard(actions), decided, speech)


def heard(actions: Sequence[Action]) -> tuple[Heard, ...]:
    """The transcript by words, each in the tick of its first piece."""
    pieces = [TimedText(tick, piece) for tick, action in enumerate(actions) for piece in action.hear]
    return tuple(Heard(word.text, word.tick) for word in join_pieces(pieces))
