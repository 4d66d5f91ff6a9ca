"""WebRTC: a conversation over Opus both ways, a video track and a data channel that carries the Live events.

The model's 200 ms go out as frames of 20 ms at an even pace. Sound that comes is 48 kHz and goes in at 16; of the
pictures the newest of each tick is shown to the model.
"""

from __future__ import annotations

import asyncio
from collections import deque
from fractions import Fraction

import numpy as np
from aiortc import MediaStreamTrack
from av import AudioFrame

from microturn.clock import SPEAK_RATE, SPEAK_SAMPLES, Clock, WallClock
from microturn.server.sound import pcm16
from microturn.streams import Action, Decision, Floats

FRAME = SPEAK_RATE // 50  # 480 samples, 20 ms
CUSHION = 2  # frames of silence before speech that follows silence: what a late tick may be late
MOST = CUSHION + 2 * SPEAK_SAMPLES // FRAME  # frames that may wait: two ticks
FADE = 3  # frames that are still heard, fading, of a model that yields
_SILENCE = np.zeros(FRAME, np.float32)


class Playout:
    """Actions in, 20 ms frames out. Silence that nobody waits behind is not queued, so no delay piles up."""

    def __init__(self) -> None:
        self._frames: deque[Floats] = deque()
        self._decision = Decision.LISTEN

    def push(self, action: Action) -> None:
        if action.decision is Decision.LISTEN and self._decision is not Decision.LISTEN:
            self._fade()
        self._decision = action.decision
        if action.speech is None:
            self._frames.extend([_SILENCE] * (SPEAK_SAMPLES // FRAME) if self._frames else [])
        else:
            self._frames.extend([] if self._frames else [_SILENCE] * CUSHION)
            self._frames.extend(action.speech.reshape(-1, FRAME))
        while len(self._frames) > MOST:
            self._frames.popleft()

    @property
    def waiting(self) -> int:
        return len(self._frames)

    def next(self) -> Floats:
        return self._frames.popleft() if self._frames else _SILENCE

    def _fade(self) -> None:
        rest = list(self._frames)[:FADE]
        ramp = np.linspace(1.0, 0.0, FRAME * FADE, dtype=np.float32).reshape(FADE, FRAME)
        self._frames = deque(frame * gain for frame, gain in zip(rest, ramp, strict=False))


class SpeechTrack(MediaStreamTrack):
    """What the model says, as a track: a frame every 20 ms, whatever happens."""

    kind = "audio"

    def __init__(self, playout: Playout, clock: Clock | None = None) -> None:
        super().__init__()
        self._playout, self._clock = playout, clock or WallClock()
        self._due: float | None = None  # seconds, of the next frame
        self._samples = 0

    async def recv(self) -> AudioFrame:
        now = self._clock.now()
        if self._due is None or now - self._due > 0.2:  # the first, or the machine stood still: begin anew
            self._due = now
        await asyncio.sleep(max(0.0, self._due - now))
        self._due += 0.02
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(pcm16(self._playout.next()))
        frame.sample_rate, frame.pts, frame.time_base = SPEAK_RATE, self._samples, Fraction(1, SPEAK_RATE)
        self._samples += FRAME
        return frame
