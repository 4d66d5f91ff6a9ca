"""Benchmarks: what users ask for, scored by the tick clock. Suites, metrics, baselines, and the engine's own.

May import scenes, engine, model and train's voices through their public faces. Nothing here is scored by a
language model. A suite is a set of cases (`waves.Case`), run free-running through the engine (`drive`),
counted by `scores`, and printed beside what silence, chatter, chance and the answer itself would have got
(`baselines`).
"""
