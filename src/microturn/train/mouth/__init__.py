"""Teaches the model to speak: sentences → a teacher's speech → vocoder and speech head → a voice file.

`python -m microturn.train.mouth PART` runs one part; runs/voice.sh runs all in order, docs/voice.md says why.
May import `model`, `train.voices`, `train.real`, `scenes.words` and `clock`. Parts talk through folders only: a
voice bank, a run folder for each part, a voice file.
"""
