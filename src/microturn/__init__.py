"""microturn: an interaction model and everything around it that makes it usable.

Time comes in micro-turns of 200 ms. Every tick the model hears, sees and reads one `Perception` and
answers with one `Action`; nothing but the trained network decides in between.
"""

__version__ = "0.1.0"
