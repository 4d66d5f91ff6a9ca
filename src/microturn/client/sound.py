"""Where a client's sound comes from and goes to: a headset (or microphone and loudspeaker), a recording, or nowhere.

The devices run as one stream in blocks of 10 ms, so that echo control knows what was played while it was heard.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from microturn.clock import HEAR_RATE, HEAR_SAMPLES, SPEAK_RATE, TICK_MS, TICKS_PER_SECOND, Clock, WallClock
from microturn.media import audio_ticks, examine

BLOCK = SPEAK_RATE // 100  # samples of 10 ms
MS = SPEAK_RATE // 1000 * 2  # bytes of 1 ms
CUSHION_MS = 60  # held back against jitter whenever there was nothing left to play
LATE_MS = 2 * TICK_MS  # so much waiting sound is a conversation with the past
UNSENT = 50  # blocks that wait for a line that stalls; what comes then is not heard
TAIL_TICKS = 4 * TICKS_PER_SECOND  # of silence after a recording, in which it is answered
EXTRA = "pip install -e '.[talk]'"


class NoSound(ValueError):
    """Why there is no microphone or loudspeaker, in one line."""


class Sound(Protocol):
    rate: int  # Hz, both ways

    def pieces(self) -> AsyncIterator[bytes]:
        """What is heard, PCM16 mono, in real time. Ends when there is no more."""

    def play(self, pcm: bytes) -> bool:
        """False when it was thrown away, because too much waits already."""

    def stop(self) -> None:
        """No more pieces."""


class Silence:
    """No devices: nothing is heard, and what is said can only be read."""

    rate = SPEAK_RATE

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def pieces(self) -> AsyncIterator[bytes]:
        await self._stopped.wait()
        return
        yield b""

    def play(self, pcm: bytes) -> bool:
        return True

    def stop(self) -> None:
        self._stopped.set()


class Recorded(Silence):
    """A recording is spoken, and then there is silence for a while. Nothing is played."""

    rate = HEAR_RATE

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        super().__init__()
        self._recording, self._clock = examine(path), clock or WallClock()

    async def pieces(self) -> AsyncIterator[bytes]:
        began = self._clock.now()
        for tick, audio in enumerate((*audio_ticks(self._recording), *[None] * TAIL_TICKS)):
            samples = np.zeros(HEAR_SAMPLES, np.float32) if audio is None else audio
            yield (samples * 32767).clip(-32768, 32767).astype("<i2").tobytes()
            due = began + (tick + 1) / TICKS_PER_SECOND
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), due - self._clock.now())
            if self._stopped.is_set():
                return


class Playout:
    """Jitter buffer: 200 ms come at a time, blocks of any size are pulled out by another thread."""

    def __init__(self) -> None:
        self._held, self._lock = bytearray(), threading.Lock()

    def push(self, pcm: bytes) -> bool:
        with self._lock:
            late = len(self._held) > (TICK_MS if not any(pcm) else LATE_MS) * MS
            if not late:
                self._held += pcm if self._held else bytes(CUSHION_MS * MS) + pcm
            return not late or not any(pcm)  # silence is skipped to catch up, and nobody misses it

    def pull(self, size: int) -> bytes:
        with self._lock:
            pcm = bytes(self._held[:size])
            del self._held[:size]
        return pcm.ljust(size, b"\0")


class EchoControl:
    """Takes what the loudspeaker says out of what the microphone hears; WebRTC's, by way of livekit."""

    def __init__(self) -> None:
        self._rtc: Any = importlib.import_module("livekit.rtc")
        self._apm = self._rtc.AudioProcessingModule(
            echo_cancellation=True, noise_suppression=True, high_pass_filter=True
        )

    def __call__(self, heard: bytes, played: bytes, delay_s: float) -> bytes:
        """10 ms each. `delay_s` lies between playing a block and hearing its echo, as the devices see it."""
        far, near = (self._rtc.AudioFrame(pcm, SPEAK_RATE, 1, BLOCK) for pcm in (played, heard))
        self._apm.process_reverse_stream(far)
        self._apm.set_stream_delay_ms(min(max(round(1000 * delay_s), 0), 500))
        self._apm.process_stream(near)
        return bytes(near.data)


class Headset:
    """Microphone and loudspeaker."""

    rate = SPEAK_RATE

    def __init__(self) -> None:
        """Raises NoSound."""
        try:
            devices: Any = importlib.import_module("sounddevice")
        except ImportError:
            raise NoSound(f"no microphone without sounddevice: {EXTRA}") from None
        except OSError:
            raise NoSound("no microphone without PortAudio: apt-get install libportaudio2") from None
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._playout = Playout()
        self.echo_control: EchoControl | None = None
        with suppress(ImportError):
            self.echo_control = EchoControl()
        try:
            self._stream = devices.RawStream(
                SPEAK_RATE, BLOCK, channels=1, dtype="int16", latency="low", callback=self._block
            )
            self._stream.start()
        except devices.PortAudioError as error:
            raise NoSound(f"no microphone or loudspeaker: {error}") from None

    def _block(self, heard: Any, to_play: Any, samples: int, time: Any, status: Any) -> None:
        """On PortAudio's thread, every 10 ms."""
        to_play[:] = played = self._playout.pull(2 * samples)
        pcm = bytes(heard)
        if self.echo_control:
            pcm = self.echo_control(pcm, played, time.outputBufferDacTime - time.inputBufferAdcTime)
        with suppress(RuntimeError):  # the loop has gone before the stream
            self._loop.call_soon_threadsafe(self._hear, pcm)

    def _hear(self, pcm: bytes) -> None:
        if self._heard.qsize() < UNSENT:
            self._heard.put_nowait(pcm)

    async def pieces(self) -> AsyncIterator[bytes]:
        while pcm := await self._heard.get():
            yield pcm

    def play(self, pcm: bytes) -> bool:
        return self._playout.push(pcm)

    def stop(self) -> None:
        self._heard.put_nowait(None)

    def close(self) -> None:
        self._stream.close()


@contextmanager
def open_sound(recording: str | Path | None = None) -> Iterator[Sound]:
    """The devices of this machine, or a recording in their place. Raises NoSound or MediaError."""
    if recording is not None:
        yield Recorded(Path(recording))
        return
    headset = Headset()
    try:
        yield headset
    finally:
        headset.close()
