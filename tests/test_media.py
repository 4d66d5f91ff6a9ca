"""Recordings become exactly as many ticks as they last, whatever they are stored in; bad files say why."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microturn.clock import HEAR_SAMPLES, SPEAK_SAMPLES
from microturn.media import MediaError, WavWriter, audio_ticks, examine, frame_ticks, letterbox
from microturn.streams import Floats, joined
from recordings import encode, tone, write_wav


def heard(path: Path) -> Floats:
    return np.concatenate([tick for tick in audio_ticks(examine(path)) if tick is not None])


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 60_000),
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]),
    channels=st.integers(1, 6),
)
def test_any_wav_is_covered_by_its_ticks_and_answered_in_its_length(
    tmp_path_factory: pytest.TempPathFactory, samples: int, rate: int, channels: int
) -> None:
    path = write_wav(
        tmp_path_factory.mktemp("wav") / "a.wav", tone(samples / rate, rate)[:samples], rate, channels
    )
    recording = examine(path)
    assert recording.samples == samples
    assert recording.spoken_samples == round(samples * 24_000 / rate)
    assert recording.ticks == -(-samples * 5 // rate)
    ticks = list(audio_ticks(recording))
    assert len(ticks) == recording.ticks
    assert all(tick is not None and tick.shape == (HEAR_SAMPLES,) for tick in ticks)


def test_sixteen_kilohertz_mono_arrives_bit_for_bit(tmp_path: Path) -> None:
    sound = np.round(tone(0.6, 16_000) * 32768) / np.float32(32768)
    assert np.array_equal(heard(write_wav(tmp_path / "a.wav", sound, 16_000)), sound)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_rate_and_channels_change_neither_pitch_nor_level(tmp_path: Path, rate: int, channels: int) -> None:
    sound = heard(write_wav(tmp_path / "a.wav", tone(1.0, rate), rate, channels))
    wanted = tone(1.0, 16_000)
    if channels <= 2:  # what belongs to six loudspeakers is mixed down by the usual weights
        assert np.abs(sound - wanted)[400:-400].max() < 0.01
    spectrum = np.abs(np.fft.rfft(sound))
    assert int(spectrum.argmax()) == 440


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp3", "libmp3lame"),
        ("a.flac", "flac"),
        ("a.opus", "libopus"),
        ("a.m4a", "aac"),
        ("a.aiff", "pcm_s16be"),
    ],
)
def test_common_formats_are_heard(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, codec, tone(1.4, 48_000))
    assert float(examine(path).seconds) == pytest.approx(1.4, abs=0.03)
    spectrum = np.abs(np.fft.rfft(heard(path)[:16_000]))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=1)


def test_each_tick_sees_the_newest_frame_at_or_before_its_end(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "aac", tone(2.0, 48_000), film_s=2.0)
    frames = list(frame_ticks(path, (32, 64), examine(path).ticks))
    assert len(frames) == 10
    for tick, frame in enumerate(frames):
        newest = min(5 * (tick + 1), 49)  # 25 frames a second: one begins just as the tick ends
        assert frame is not None
        assert float(frame.mean()) == pytest.approx(5 * newest, abs=4)


def test_after_the_film_nothing_is_seen(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", "aac", tone(2.0, 48_000), film_s=0.6)
    frames = list(frame_ticks(path, (32, 64), 10))
    assert [frame is not None for frame in frames] == [True] * 3 + [False] * 7


@given(width=st.integers(1, 300), height=st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_letterbox_keeps_the_shape_and_fills_one_side(width: int, height: int) -> None:
    white = av.VideoFrame.from_ndarray(np.full((height, width, 3), 255, np.uint8), format="rgb24")
    seen = letterbox(white, (120, 160)) > 128
    rows, columns = int(seen.any(axis=(1, 2)).sum()), int(seen.any(axis=(0, 2)).sum())
    assert rows == 120 or columns == 160
    assert rows == pytest.approx(min(120, 160 * height / width), abs=1)
    assert columns == pytest.approx(min(160, 120 * width / height), abs=1)


def test_a_hole_in_the_recording_is_nothing_came(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for begin in (0, 32_000):  # a second of sound, a second of nothing, a second of sound
            for at in range(begin, begin + 16_000, 1600):
                frame = av.AudioFrame.from_ndarray(np.full((1, 1600), 9000, np.int16), "s16", "mono")
                frame.sample_rate, frame.pts = 16_000, at
                container.mux(track.encode(frame))
        container.mux(track.encode(None))
    ticks = list(audio_ticks(examine(path)))
    assert [tick is None for tick in ticks] == [False] * 5 + [True] * 5 + [False] * 5


def refused(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        examine(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing.wav")
    assert "folder" in refused(tmp_path)
    (tmp_path / "empty.wav").touch()
    assert "empty" in refused(tmp_path / "empty.wav")
    (tmp_path / "notes.wav").write_text("not a recording at all\n" * 100)
    assert "not a recording" in refused(tmp_path / "notes.wav")
    assert "zero length" in refused(write_wav(tmp_path / "zero.wav", tone(0, 16_000), 16_000))
    assert "no audio stream" in refused(encode(tmp_path / "silent.mp4", "aac", None, film_s=0.4))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.mkv", "aac"), ("a.aiff", "pcm_s16be")],
)
def test_truncated_files_are_refused(tmp_path: Path, name: str, codec: str) -> None:
    whole = encode(tmp_path / name, codec, tone(3.0, 48_000)).read_bytes()
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    assert "truncated" in refused(cut)


def test_a_truncated_wav_is_refused_but_one_of_unknown_length_is_heard(tmp_path: Path) -> None:
    whole = bytearray(write_wav(tmp_path / "a.wav", tone(3.0, 16_000), 16_000).read_bytes())
    (tmp_path / "cut.wav").write_bytes(whole[:-40_000])
    assert "states 3.0 s but ends after 1.8 s" in refused(tmp_path / "cut.wav")
    whole[40:44] = b"\xff" * 4  # as a program writes it that pours into a pipe
    (tmp_path / "poured.wav").write_bytes(whole)
    assert examine(tmp_path / "poured.wav").seconds == 3


def test_writer_leaves_nothing_but_a_whole_file(tmp_path: Path) -> None:
    writer = WavWriter(tmp_path / "a.wav", 10_000)
    writer.write(np.full(4800, 0.5, np.float32), 4800)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav.part"]
    writer.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav"]
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 24_000, 10_000)
        pcm = np.frombuffer(file.readframes(10_000), "<i2")
    assert (pcm[:4800] == 16384).all()
    assert not pcm[4800:].any()


def test_ticks_of_sound_are_joined_and_silence_is_as_long_as_sound() -> None:
    loud = np.ones(SPEAK_SAMPLES, np.float32)
    assert joined([None, loud, None]).tolist() == [*loud * 0, *loud, *loud * 0]
    assert joined([]).shape == (0,)
