"""Generators of episodes, one file a skill. They may import clock and streams; they never see a model's insides."""
