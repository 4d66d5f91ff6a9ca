"""Slow work beside the conversation: context package out, text for the interaction model in.

May import clock, streams and events; knows neither server nor engine nor tensors. A conversation keeps a
`Recent`, hands `Recent.build(…)` to `Background.delegate` when the model decides to delegate, and gives the
model what `Inbox.take()` has for it, once a tick.
"""

from microturn.background.delegations import Backend, Background, Delegation, Failure, State, Words
from microturn.background.inbox import Inbox, Kind, Piece, When, clean
from microturn.background.package import Budget, ContextPackage, Earlier, Line, Recent

__all__ = [
    "Backend",
    "Background",
    "Budget",
    "ContextPackage",
    "Delegation",
    "Earlier",
    "Failure",
    "Inbox",
    "Kind",
    "Line",
    "Piece",
    "Recent",
    "State",
    "When",
    "Words",
    "clean",
]
