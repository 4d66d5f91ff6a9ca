"""Films drawn from a seed: shaded bodies that move, things that repeat, backgrounds, cameras and their flaws.

What training sees instead of recordings: so much variety that a real film is one more variation. May import
streams; knows nothing of words or scenes. `Film` puts actors (`Body`, `Thing`) before a camera.
"""

from microturn.drawing.bodies import EXERCISES, TEST_EXERCISES, Body, Exercise
from microturn.drawing.film import Film
from microturn.drawing.motion import Rep, phase
from microturn.drawing.things import COLOURS, MOTIONS, SHAPES, TEST_SHAPES, Thing

__all__ = [
    "COLOURS",
    "EXERCISES",
    "MOTIONS",
    "SHAPES",
    "TEST_EXERCISES",
    "TEST_SHAPES",
    "Body",
    "Exercise",
    "Film",
    "Rep",
    "Thing",
    "phase",
]
