"""One row of a step as the records that everybody outside the engine sees."""

from microturn.engine.slots import Gathered
from microturn.streams import Action, Decision, Perception, TextIn, TickInput, TickOutput, Tokenizer


def action_of(row: int, gathered: Gathered, output: TickOutput, tokenizer: Tokenizer) -> Action:
    return Action(
        tick=int(gathered.tick[row]),
        decision=Decision(int(output.decision[row])),
        say=tuple(tokenizer.piece(p) for p in output.say[row].tolist() if p),
        hear=tuple(tokenizer.piece(p) for p in output.hear[row].tolist() if p),
        speech=output.speech[row].copy() if output.voiced[row] else None,
        odds=tuple(output.odds[row].tolist()),
        missed=not gathered.heard[row],
    )


def perception_of(row: int, gathered: Gathered, batch: TickInput, text: tuple[TextIn, ...]) -> Perception:
    return Perception(
        audio=batch.audio[row].copy() if gathered.heard[row] else None,
        frame=batch.frame[row].copy() if batch.has_frame[row] else None,
        text=text,
        cancelled=bool(batch.cancelled[row]),
    )
