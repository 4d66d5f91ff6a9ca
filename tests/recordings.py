"""Recordings made on the spot for tests: tones in any container, films whose brightness tells the time."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import cast

import av
import numpy as np

from microturn.streams import Floats

FRAMES_PER_SECOND = 25
WIDTH, HEIGHT = 64, 32


def tone(seconds: float, rate: int, hz: float = 440.0, level: float = 0.5) -> Floats:
    return np.asarray(level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate), np.float32)


def write_wav(path: Path, samples: Floats, rate: int, channels: int = 1) -> Path:
    pcm = np.round(np.repeat(samples[:, None], channels, 1) * 32768).clip(-32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
    return path


def encode(path: Path, codec: str, samples: Floats | None, rate: int = 48_000, film_s: float = 0.0) -> Path:
    """A file with a stereo sound track and, if `film_s`, a film in which frame i has brightness 5·i."""
    with av.open(str(path), "w") as container:
        if film_s:
            film = container.add_stream("mpeg4", rate=FRAMES_PER_SECOND, options={"qscale": "2"})
            film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track: av.AudioStream | None = None
        if samples is not None:
            track = cast(av.AudioStream, container.add_stream(codec, rate=rate, layout="stereo"))
        for i in range(round(film_s * FRAMES_PER_SECOND)):
            grey = np.full((HEIGHT, WIDTH, 3), 5 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts = i
            container.mux(film.encode(frame))
        if film_s:
            container.mux(film.encode(None))
        if track is not None and samples is not None:
            mixer = av.AudioResampler(track.format.name, "stereo", rate, frame_size=1024)
            sound = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
            sound.sample_rate, sound.pts = rate, 0
            for part in (*mixer.resample(sound), *mixer.resample(None)):
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    return path
