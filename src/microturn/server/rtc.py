"""WebRTC: a conversation over Opus both ways, a video track and a data channel that carries the Live events.

The model's 200 ms go out as frames of 20 ms at an even pace. Sound that comes is 48 kHz and goes in at 16; of the
pictures the newest of each tick is shown to the model.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from fractions import Fraction

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from av import AudioFrame, VideoFrame

from microturn.clock import HEAR_RATE, SPEAK_RATE, SPEAK_SAMPLES, TICK_MS, Clock, WallClock
from microturn.engine import SessionClosed
from microturn.media import letterbox
from microturn.server.access import MESSAGES, Bucket
from microturn.server.conversation import Conversation, TooFast
from microturn.server.live import Live, bytes_of
from microturn.server.live_events import LiveError
from microturn.server.lobby import Lobby
from microturn.server.sound import Resampler, pcm16
from microturn.streams import Action, Decision, Floats

WIRE_RATE = 48_000  # Hz, of Opus
GAP = WIRE_RATE * TICK_MS // 1000  # samples: lost packets up to a tick are filled with silence
HELD_BACK = "_RTCRtpReceiver__jitter_buffer"  # aiortc's buffer of packets; there is no other way to it
SEEN = ("video/VP8", "video/rtx")
KEY_FRAME = b"\x9d\x01\x2a"  # of VP8: then come width and height
PACKETS, FILMED = 120, 60  # of Opus, and frames of VP8, a second; beyond that nothing is decoded
CANDIDATES, LINES = 100, 1000  # of an offer: a browser sends some ten and a hundred
OPEN_S = 15.0  # within which the data channel must be there
UNHEARD = ("_outbound_queue", "_sent_queue")  # of aiortc's association: what the other side has not confirmed
LAST_S = 5.0  # for a peer to get what was sent last, though it be lost twice on its way
HANG_UP_S = 3.0  # for all to get it when the server stops
UNSENT = 1 << 20  # bytes that wait for a peer before it is let go

FRAME = SPEAK_RATE // 50  # 480 samples, 20 ms
CUSHION = 1  # frame of silence before speech that follows silence: what a late tick may be late
QUIET = 0.003  # of full scale: what may be left out
MOST = CUSHION + 2 * SPEAK_SAMPLES // FRAME  # frames that may wait: two ticks
FADE = 3  # frames that are still heard, fading, of a model that yields
_SILENCE = np.zeros(FRAME, np.float32)


class Playout:
    """Actions in, 20 ms frames out. Silence is what is left when nothing waits: a delay ends with a pause."""

    def __init__(self) -> None:
        self._frames: deque[Floats] = deque()
        self._decision = Decision.LISTEN

    def push(self, action: Action) -> bool:
        """False when sound was left out because too much waits."""
        if action.decision is Decision.LISTEN and self._decision is not Decision.LISTEN:
            self._fade()
        self._decision = action.decision
        if action.speech is not None:
            frames = list(action.speech.reshape(-1, FRAME))
            if len(self._frames) > CUSHION:  # ticks were late: made up for in a frame that makes no sound
                quiet = (i for i, frame in enumerate(frames) if np.abs(frame).max() < QUIET)
                if (at := next(quiet, None)) is not None:
                    del frames[at]
            self._frames.extend([] if self._frames else [_SILENCE] * CUSHION)
            self._frames.extend(frames)
        dropped = [self._frames.popleft() for _ in range(len(self._frames) - MOST)]
        return all(np.abs(frame).max() < QUIET for frame in dropped)

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


async def answer(lobby: Lobby, conversation: Conversation, live: Live, offer: str) -> str:
    """The SDP answer; the conversation is carried from then on. Raises ValueError for an offer of no use."""
    peer = Peer(lobby, conversation, live)
    try:
        sdp = await peer.answer(offer)
    except Exception as error:
        await peer.close()
        if isinstance(error, ValueError) and str(error):
            raise
        raise ValueError(f"the SDP offer cannot be used: {error or type(error).__name__}"[:200]) from None
    _peers.add(task := asyncio.create_task(peer.carry()))
    task.add_done_callback(_peers.discard)
    return sdp


_peers: set[asyncio.Task[None]] = set()  # the loop alone would let go of them


async def hang_up() -> None:
    """Peers whose conversations have been closed get to their end: cancelled in the middle, aiortc never does."""
    for patience in (HANG_UP_S, HANG_UP_S):
        if not _peers:
            return
        _, waiting = await asyncio.wait(_peers, timeout=patience)
        for peer in waiting:  # still without a data channel, say: closed while everything else still lives
            peer.cancel()


class AtOnce(JitterBuffer):
    """A packet of Opus is a whole frame: it is heard when it comes, unless a later one was heard already.

    aiortc's own buffer keeps four back, 80 ms, and gives one that is lost up after 240. Ticks even out what comes.
    """

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self._newest: int | None = None
        self._pace = Bucket(PACKETS, 2 * PACKETS)

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        behind = 0 if self._newest is None else (self._newest - packet.sequence_number) % 65_536
        if self._newest is not None and behind < 32_768:
            return False, None
        self._newest = packet.sequence_number
        if self._pace.take(1):
            return False, None
        return False, JitterFrame(vars(packet)["_data"], packet.timestamp)


class Film(JitterBuffer):
    """Frames of VP8; what follows a key frame that is larger than can be shown is never decoded."""

    def __init__(self, most: int) -> None:
        super().__init__(capacity=512, is_video=True)
        self._most, self._fits = most, False  # pixels
        self._pace = Bucket(FILMED, 2 * FILMED)

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        lost, frame = super().add(packet)
        if frame and frame.data[3:6] == KEY_FRAME and not frame.data[0] & 1:
            width, height = (int.from_bytes(frame.data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
            self._fits = width * height <= self._most
        if frame and self._pace.take(1):
            self._fits = False  # until the next key frame
        return lost, frame if self._fits else None


class Peer:
    """One browser's connection, from its offer to its end."""

    def __init__(self, lobby: Lobby, conversation: Conversation, live: Live) -> None:
        self._lobby, self._conversation, self._live = lobby, conversation, live
        ice = [RTCIceServer(i.url, i.user or None, i.secret or None) for i in lobby.limits.ice]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=ice))
        self._playout = Playout()
        self._channel: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._messages, self._told_too_many = Bucket(MESSAGES, 2 * MESSAGES), False
        self._unread: asyncio.Queue[str | bytes] = asyncio.Queue(2 * MESSAGES)
        self._senses: list[asyncio.Task[None]] = []
        self._connection.on("track", self._begin_sense)
        self._connection.on("datachannel", self._begin_channel)
        self._connection.on("connectionstatechange", self._look)

    async def answer(self, offer: str) -> str:
        lines = offer.splitlines()  # reading many would take seconds, in which no tick moves
        for kind, most in (("m=", 3), ("a=candidate", CANDIDATES), ("", LINES)):
            if sum(line.startswith(kind) for line in lines) > most:
                raise ValueError(
                    f"the SDP offer has more than {most} lines{kind and f' that begin with {kind}'}"
                )
        connection = self._connection
        film = connection.addTransceiver("video", "recvonly")
        codecs = RTCRtpReceiver.getCapabilities("video")
        assert codecs is not None
        film.setCodecPreferences([codec for codec in codecs.codecs if codec.mimeType in SEEN])
        setattr(film.receiver, HELD_BACK, Film(self._live.offer.pictures))
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        kinds = [transceiver.kind for transceiver in connection.getTransceivers()]
        if kinds.count("audio") != 1 or kinds.count("video") > 1 or connection.sctp is None:
            raise ValueError("the SDP offer must have one audio, at most one video and a data channel")
        audio = connection.getTransceivers()[kinds.index("audio")]
        setattr(audio.receiver, HELD_BACK, AtOnce())
        audio.sender.replaceTrack(SpeechTrack(self._playout))
        audio.direction = "sendrecv"
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    async def carry(self) -> None:
        """Until the peer goes, which leaves the conversation waiting, or the conversation ends."""
        try:
            async with asyncio.timeout(OPEN_S):
                channel = await self._channel
            with self._lobby.connected(self._conversation):
                self._live.started()
                async with asyncio.TaskGroup() as group:
                    tasks = group.create_task(self._speak()), group.create_task(self._hear())
                    ends = group.create_task(self._gone.wait()), group.create_task(self._tell(channel))
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    for task in (*tasks, *ends):
                        task.cancel()
        except TimeoutError:
            self._conversation.close("connection_lost")
        finally:
            self._live.leave()
            await self.close()

    async def close(self) -> None:
        for sense in self._senses:
            sense.cancel()
        await self._connection.close()

    # ---- out ----

    async def _speak(self) -> None:
        while beat := await self._conversation.next_beat():
            if not self._playout.push(beat.action):
                with suppress(SessionClosed):
                    self._conversation.session.cancel_last()
            for event in self._live.tell(beat):
                self._live.send(event)

    async def _tell(self, channel: RTCDataChannel) -> None:
        with suppress(TimeoutError):
            while (event := await self._live.next_event()) is not None:
                if channel.readyState != "open" or channel.bufferedAmount > UNSENT:
                    return
                channel.send(event.decode())
            async with asyncio.timeout(LAST_S):
                while channel.bufferedAmount or any(getattr(channel.transport, name) for name in UNHEARD):
                    await asyncio.sleep(0.02)

    # ---- in ----

    def _begin_channel(self, channel: RTCDataChannel) -> None:
        if not self._channel.done():
            channel.on("message", self._take_message)
            channel.on("close", self._gone.set)
            self._channel.set_result(channel)

    async def _hear(self) -> None:
        """One after another: a picture takes a while, and what came later waits for it."""
        while True:
            await self._live.hear(await self._unread.get())

    def _take_message(self, message: str | bytes) -> None:
        most = self._live.offer.message
        if bytes_of(message) > most:
            self._live.send(LiveError("too_large", f"a message has at most {most} bytes").event())
        elif not (self._unread.full() or self._messages.take(1)):
            self._told_too_many = False
            self._unread.put_nowait(message)
        elif not self._told_too_many:
            self._told_too_many = True
            told = f"at most {MESSAGES} messages a second are read"
            self._live.send(LiveError("rate_limited", told).event())

    def _begin_sense(self, track: MediaStreamTrack) -> None:
        """Frames are taken from the beginning, because aiortc keeps all that are not."""
        sense = self._listen if track.kind == "audio" else self._look_at
        self._senses.append(asyncio.create_task(sense(track)))

    async def _listen(self, track: MediaStreamTrack) -> None:
        resample, due = Resampler(WIRE_RATE, HEAR_RATE), 0
        with suppress(MediaStreamError, SessionClosed):
            while isinstance(frame := await track.recv(), AudioFrame):
                pts = frame.pts or 0
                sound = frame.to_ndarray().reshape(frame.samples, -1).mean(axis=1, dtype=np.float32) / 32768.0
                if 0 < pts - due <= GAP:
                    sound = np.concatenate((np.zeros(pts - due, np.float32), sound))
                due = pts + frame.samples
                if self._conversation.connected:
                    with suppress(TooFast):  # what a stalled line brings all at once is too old to be heard
                        await self._conversation.push_audio(resample(sound))

    async def _look_at(self, track: MediaStreamTrack) -> None:
        size, shown = self._lobby.engine.spec.frame_size, -1
        with suppress(MediaStreamError, SessionClosed):
            while isinstance(frame := await track.recv(), VideoFrame):
                now = self._conversation.now_ms
                if now == shown:
                    continue
                shown = now
                picture = await asyncio.to_thread(letterbox, frame, size)
                if self._conversation.connected:
                    self._conversation.session.push_frame(picture)

    def _look(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._gone.set()
