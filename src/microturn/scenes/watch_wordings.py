"""How people ask for what scenes of the camera do, see watch.py."""

from __future__ import annotations

from microturn.scenes.wording import said_in

_SAID = said_in("watch_wordings")
COUNT = _SAID["COUNT"]
GOAL = _SAID["GOAL"]
HOW_MANY = _SAID["HOW_MANY"]
TURNS = _SAID["TURNS"]
EVERY_COLOUR = _SAID["EVERY_COLOUR"]
APPEARS = _SAID["APPEARS"]
WHAT_APPEARS = _SAID["WHAT_APPEARS"]
LEAVES = _SAID["LEAVES"]
SAYING = _SAID["SAYING"]
CHARADES = _SAID["CHARADES"]
CALL = _SAID["CALL"]
ASKS = {name.removeprefix("ASKS-"): said for name, said in _SAID.items() if name.startswith("ASKS-")}
BOUNDS = (("start", "stop"), ("go", "stop"), ("now", "done"), ("on", "off"), ("hello", "bye"), ("up", "down"))
