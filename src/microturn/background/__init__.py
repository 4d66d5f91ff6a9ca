"""Slow work beside the conversation: context packages out, text for the interaction model in.

May import clock, streams and events; knows neither server nor engine nor tensors. `open_background` gives a
function that makes the `Background` of one conversation. That is told of every tick with `follow`, which gives
what the model is to read next, and of the model's decisions with `delegate` and `cancel`.
"""

from microturn.background.connect import NewBackground, Settings, add_arguments, open_background, settings
from microturn.background.delegations import Backend, Background, Delegation, Failure, Given, Over, Words
from microturn.background.functions import Calls, Continued
from microturn.background.inbox import Inbox, Kind, Piece, When, clean
from microturn.background.package import Budget, ContextPackage, Recent, State, fit
from microturn.background.tools import Function

__all__ = [
    "Backend", "Background", "Budget", "Calls", "ContextPackage", "Continued", "Delegation", "Failure",
    "Function", "Given", "Inbox", "Kind", "NewBackground", "Over", "Piece", "Recent", "Settings", "State",
    "When", "Words", "add_arguments", "clean", "fit", "open_background", "settings",
]  # fmt: skip
