"""Recordings in, recordings out: any container that PyAV opens becomes ticks of sound and frames.

Everything streams, so an hour takes no more memory than a second. A recording is read twice: `examine`
decodes it once to learn its exact length and whether it is whole, so that bad files are refused before any
work is done and the output can be exactly as long as the input. Where the file itself says that no sound was
there (a gap between timestamps), a tick is None: nothing came.
"""

from __future__ import annotations

import os
import stat
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import av.stream
import numpy as np
import soxr

from microturn.clock import HEAR_RATE, HEAR_SAMPLES, SPEAK_RATE, TICKS_PER_SECOND, end_ms
from microturn.streams import Bytes, Floats, joined

LONGEST_HOURS = 24  # a WAV file of 24 kHz PCM16 cannot hold more
LONGEST_GAP_S = 3600  # a longer jump between timestamps is a broken timestamp
GAP_S = Fraction(1, 5)  # a shorter hole is jitter of the container's clock
PADDING_SAMPLES = 4096  # what a codec may add at the end beyond the length that its container states


class MediaError(ValueError):
    """A file that cannot be used. Its text is one line for a person, and begins with the path."""


@dataclass(frozen=True)
class Recording:
    """A file that was decoded from end to end and found whole."""

    path: Path
    rate: int  # Hz, its own
    samples: int  # at that rate, gaps included

    @property
    def seconds(self) -> Fraction:
        return Fraction(self.samples, self.rate)

    @property
    def ticks(self) -> int:
        """Ticks that cover it; the last may be covered in part."""
        return -(-self.samples * TICKS_PER_SECOND // self.rate)

    @property
    def spoken_samples(self) -> int:
        """Length of the answer, sample for sample as long as the recording."""
        return round(self.seconds * SPEAK_RATE)


@dataclass(frozen=True)
class _Block:
    """Decoded sound at the recording's own rate; `gap` samples of nothing come before it."""

    samples: Floats
    rate: int
    gap: int


def examine(path: Path) -> Recording:
    """Decode a recording once. Raises MediaError unless it can be used from its first sample to its last."""
    _check_file(path)
    with _open(path) as container:
        stream = _audio_stream(path, container)
        declared = _declared_seconds(path, container, stream)
    samples, rate = 0, 0
    for block in _blocks(path):
        samples, rate = samples + block.gap + len(block.samples), block.rate
        if samples > LONGEST_HOURS * 3600 * rate:
            raise MediaError(f"{path}: longer than {LONGEST_HOURS} hours; cut it into pieces")
    if samples == 0:
        raise MediaError(f"{path}: there is no sound in it that can be decoded (zero length?)")
    if declared is not None:
        stated = round(declared * rate)
        if samples + max(rate // 4, stated // 50) < stated:
            raise MediaError(
                f"{path}: truncated: it states {float(declared):.1f} s but ends after {samples / rate:.1f} s"
            )
        if 0 < samples - stated <= PADDING_SAMPLES:
            samples = stated
    return Recording(path, rate, samples)


def has_video(path: Path) -> bool:
    """Whether there is a moving picture in it; not if it cannot be opened."""
    try:
        _check_file(path)
        with _open(path) as container:
            return _video_stream(container) is not None
    except MediaError:
        return False


def audio_ticks(recording: Recording) -> Iterator[Floats | None]:
    """Exactly `recording.ticks` ticks of [3200] samples at 16 kHz, mono; None where nothing came."""
    resampler = soxr.ResampleStream(recording.rate, HEAR_RATE, 1, dtype="float32")
    resampled = recording.rate != HEAR_RATE
    gaps: list[tuple[int, int]] = []  # 16 kHz samples [start, end) in which nothing came
    waiting: list[Floats] = []  # resampled, not yet handed out
    ready, given, position = 0, 0, 0

    def scaled(samples: int) -> int:
        return samples * HEAR_RATE // recording.rate

    def take() -> Floats | None:
        nonlocal waiting, ready, given
        joined = np.concatenate(waiting)
        waiting, ready = [joined[HEAR_SAMPLES:]], ready - HEAR_SAMPLES
        start = given * HEAR_SAMPLES
        given += 1
        while gaps and gaps[0][1] <= start:
            gaps.pop(0)
        if gaps and gaps[0][0] <= start and start + HEAR_SAMPLES <= gaps[0][1]:
            return None
        return joined[:HEAR_SAMPLES]

    for block in _blocks(recording.path):
        if block.gap:
            gaps.append((scaled(position), scaled(position + block.gap)))
        position += block.gap + len(block.samples)
        for piece in (*_silence(block.gap), block.samples):
            waiting.append(resampler.resample_chunk(piece) if resampled else piece)
            ready += len(waiting[-1])
            while ready >= HEAR_SAMPLES and given < recording.ticks:
                yield take()
    if resampled:
        waiting.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        ready += len(waiting[-1])
    missing = (recording.ticks - given) * HEAR_SAMPLES - ready
    if missing > 0:
        waiting.append(np.zeros(missing, np.float32))
        ready += missing
    while given < recording.ticks:
        yield take()


def whole_sound(path: Path) -> Floats:
    """All of a recording at 16 kHz, silence where nothing came."""
    return joined(audio_ticks(examine(path)), HEAR_SAMPLES)


def frame_ticks(path: Path, size: tuple[int, int], ticks: int) -> Iterator[Bytes | None]:
    """One frame a tick: the newest at or before the tick's end, letterboxed to `size` (height, width).

    None before the first frame and after the last one has been shown for its time.
    """
    shown: av.VideoFrame | None = None
    picture: Bytes | None = None
    with _open(path) as container:
        stream = _video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: there is no video stream in it")
        stream.thread_type = "AUTO"
        pixel = stream.sample_aspect_ratio or Fraction(1)
        coming = _timed_frames(container, stream)
        following = next(coming, None)
        last_s = Fraction(0)  # when the last frame has been shown for its time
        for tick in range(ticks):
            now = Fraction(end_ms(tick), 1000)
            newest = shown
            while following is not None and following[0] <= now:
                last_s = following[0] + 1 / (stream.average_rate or Fraction(TICKS_PER_SECOND))
                newest = following[1]
                following = next(coming, None)
            if newest is not shown:
                shown, picture = newest, letterbox(newest, size, pixel) if newest is not None else None
            over = following is None and Fraction(end_ms(tick - 1), 1000) >= last_s
            yield None if over else picture


def letterbox(frame: av.VideoFrame, size: tuple[int, int], pixel: Fraction = Fraction(1)) -> Bytes:
    """Scaled to fit, upright, on black; `pixel` is a source pixel's width ÷ height. [height, width, 3] RGB"""
    height, width = size
    turns = round(frame.rotation / 90) % 4  # quarter turns counter-clockwise, as phones write them
    shown_w, shown_h = float(frame.width * pixel), float(frame.height)
    fit_h, fit_w = (width, height) if turns % 2 else (height, width)
    scale = min(fit_w / shown_w, fit_h / shown_h)
    w, h = max(1, min(fit_w, round(shown_w * scale))), max(1, min(fit_h, round(shown_h * scale)))
    small = np.rot90(frame.reformat(width=w, height=h, format="rgb24").to_ndarray(), turns)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


class WavWriter:
    """Mono PCM16, written beside its place and moved there when whole; exactly `samples` long."""

    def __init__(self, path: Path, samples: int, rate: int = SPEAK_RATE) -> None:
        self.path, self._left = path, samples
        self._part = path.with_name(path.name + ".part")
        self._wave = wave.open(str(self._part), "wb")  # noqa: SIM115
        self._wave.setnchannels(1)
        self._wave.setsampwidth(2)
        self._wave.setframerate(rate)
        self._wave.setnframes(samples)

    def write(self, speech: Floats | None, samples: int) -> None:
        """Append so many samples, None being silence, as far as there is room."""
        samples = min(samples, self._left)
        if speech is None:
            self._wave.writeframesraw(bytes(2 * samples))
        else:
            pcm = np.round(np.clip(speech[:samples], -1, 1) * 32767).astype("<i2")
            self._wave.writeframesraw(pcm.tobytes())
        self._left -= samples

    def close(self) -> None:
        while self._left:
            self.write(None, SPEAK_RATE)
        self._wave.close()
        os.replace(self._part, self.path)

    def discard(self) -> None:
        self._wave.close()
        self._part.unlink(missing_ok=True)


def write_wav(path: Path, samples: Floats, rate: int = SPEAK_RATE) -> None:
    file = WavWriter(path, len(samples), rate)
    file.write(samples, len(samples))
    file.close()


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise MediaError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    if stat.S_ISDIR(found.st_mode):
        raise MediaError(f"{path}: is a folder; name a recording, or use --folder")
    if not stat.S_ISREG(found.st_mode):
        raise MediaError(f"{path}: is not an ordinary file")
    if found.st_size == 0:
        raise MediaError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise MediaError(f"{path}: permission denied")


def _open(path: Path) -> av.container.InputContainer:
    try:
        # A playlist must not make it open anything over the network, nor a name with a colon be a protocol.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError, ValueError):
        raise MediaError(
            f"{path}: not a recording that can be opened (damaged, truncated or no media)"
        ) from None


def _audio_stream(path: Path, container: av.container.InputContainer) -> av.AudioStream:
    if not container.streams.audio:
        raise MediaError(f"{path}: there is no audio stream in it")
    return container.streams.audio[0]


def _video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first moving picture; a cover image is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def _origin(container: av.container.InputContainer) -> Fraction | None:
    """Media time 0 of a film; sound alone begins with its first sample."""
    if _video_stream(container) is None or container.start_time is None:
        return None
    return Fraction(container.start_time, 1_000_000)


def _blocks(path: Path) -> Iterator[_Block]:
    with _open(path) as container:
        stream = _audio_stream(path, container)
        origin = _origin(container)
        rate, position = 0, 0
        setup: tuple[int, str, str] | None = None
        mixer: av.AudioResampler | None = None
        for packet in _packets(container, stream):
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError:
                continue  # a damaged packet is a hole in time; `examine` notices when nothing follows it
            for frame in frames:
                rate = rate or frame.sample_rate
                if (now := (frame.sample_rate, frame.layout.name, frame.format.name)) != setup:
                    # To integers, because only then does the mixer keep full scale at full scale.
                    setup, mixer = now, av.AudioResampler(format="s32", layout="mono", rate=rate)
                assert mixer is not None
                time = _time(frame)
                frame.pts = None
                mixed = [out.to_ndarray()[0] for out in mixer.resample(frame)]
                samples = (np.concatenate(mixed) if mixed else np.zeros(0)).astype(np.float32) / 2.0**31
                origin = time if origin is None else origin
                hole = (
                    time - origin - Fraction(position, rate) if time is not None and origin is not None else 0
                )
                gap = round(hole * rate) if GAP_S <= hole <= LONGEST_GAP_S else 0
                position += gap + len(samples)
                yield _Block(samples, rate, gap)


def _packets(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.Packet[av.AudioStream]]:
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.FFmpegError):
            return


def _timed_frames(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Frames with their media time in seconds; damaged ones are left out."""
    origin = _origin(container) or Fraction(0)
    count, step = 0, 1 / (stream.average_rate or Fraction(25))
    for packet in container.demux(stream):
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError:
            continue
        for frame in frames:
            time = _time(frame)
            yield (count * step if time is None else time - origin), frame
            count += 1


def _time(frame: av.AudioFrame | av.VideoFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _declared_seconds(
    path: Path, container: av.container.InputContainer, stream: av.AudioStream
) -> Fraction | None:
    """The length that the file itself states, where that statement can be trusted."""
    kind = container.format.name
    if kind in ("wav", "w64"):
        return _riff_seconds(path)
    if kind.startswith("matroska"):
        clock = str(stream.metadata.get("DURATION", "")).split(":")
        if len(clock) != 3:
            return None
        return Fraction(clock[0]) * 3600 + Fraction(clock[1]) * 60 + Fraction(clock[2])
    if kind == "mp3":
        with path.open("rb") as file:
            head = file.read(1 << 16)
        if b"Xing" not in head and b"Info" not in head:
            return None  # libav guesses from the bit rate
    elif not kind.startswith(("flac", "aiff", "au", "mov")):
        return None
    if stream.duration is None or stream.time_base is None:
        return None
    return stream.duration * stream.time_base


def _riff_seconds(path: Path) -> Fraction | None:
    """What the header of a WAV file promises; libav only tells what is there."""
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return None
        per_second = 0
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"fmt ":
                body = file.read(size)
                per_second = struct.unpack("<I", body[8:12])[0] if len(body) >= 16 else 0
                file.seek(size % 2, os.SEEK_CUR)
            elif name == b"data":
                streamed = size == 0 or size >= 0x7FFF_F000  # a writer that could not go back to fill it in
                return None if streamed or not per_second else Fraction(size, per_second)
            else:
                file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _silence(samples: int) -> Iterator[Floats]:
    """Zeros, at most 2¹⁶ at a time."""
    while samples > 0:
        yield np.zeros(min(samples, 1 << 16), np.float32)
        samples -= 1 << 16
