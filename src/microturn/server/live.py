"""The Live dialect: what a client's event does to a conversation, and what a conversation is told as.

One `Live` is one connection's side: the primary WebSocket, the data channel of a WebRTC peer, or a sideband that
looks on. It knows no sockets: messages go into `hear`, and what is to be sent comes out of `next_event`, and of
`tell` for the beats that the primary connection and the data channel take themselves.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from av import VideoFrame
from msgspec import Struct, structs
from PIL import Image

from microturn.background import Calls, Continued, Delegation, Given, Kind, Over, Piece
from microturn.clock import HEAR_RATE, SPEAK_RATE, end_ms, start_ms
from microturn.engine import SessionClosed
from microturn.media import letterbox
from microturn.server import live_events as wire
from microturn.server import live_work
from microturn.server.conversation import Beat, Closed, Conversation, Heard, TooFast
from microturn.server.live_events import LiveError
from microturn.server.live_start import NO_VOICE, Role, asked_voice, check, named
from microturn.server.lobby import Offer
from microturn.server.sound import Ear, Mouth, Resampler, pcm16
from microturn.streams import Bytes, Channel, TextIn

USAGE_TICKS = 50  # between reports of usage
UNSENT = 1024  # events that wait for a client before it is let go
SCANS = 64  # of a progressive JPEG; cameras and browsers make about ten
PICTURES = ThreadPoolExecutor(1, "microturn-pictures")  # so that nothing else waits for those of others
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class Live:
    def __init__(
        self, conversation: Conversation, config: wire.SessionConfig, offer: Offer, role: Role
    ) -> None:
        self.conversation, self.role, self._config, self.offer = conversation, role, config, offer
        kind, rate = conversation.start.format
        self._format, code = wire.AudioFormat(type=kind, rate=rate), kind.removeprefix("audio/")
        self._ear, self._mouth = Ear(rate, code), Mouth(rate, code)
        if role is Role.SIDEBAND:
            self._reflect, self._mouth = Resampler(HEAR_RATE, SPEAK_RATE), Mouth(SPEAK_RATE)
        extras = config.microturn or wire.Extras()
        self._ticks, self._packages = extras.ticks, extras.packages
        permits = config.client.data_channel if config.client and role is Role.CHANNEL else wire.DataChannel()
        self._may_send, self._may_see = permits.allowed_client_events, permits.allowed_server_events
        self._unsent: asyncio.Queue[bytes | None] = asyncio.Queue(UNSENT)
        self._lost = False  # a client that does not read
        self._closing: str | None = None  # the client's event that ends the session
        self._told_too_fast = False
        self._picture: tuple[wire.AppendVideo, Image.Image] | None = None  # the newest, not decoded yet
        self._seeing: asyncio.Task[None] | None = None
        self._saw_ms = -1
        self.leave = conversation.watch(self._note)

    # ---- from the client ----

    async def hear(self, message: str | bytes) -> None:
        """Act on a client's message; what is wrong with it is answered with an error event."""
        problem: LiveError
        try:
            event = wire.parse(short(message, self.offer))
        except LiveError as error:
            return self.send(error.event())
        try:
            return await self._act(event)
        except LiveError as error:
            problem = error
        except SessionClosed:
            problem = LiveError("session_closed", "the session has ended")
        except TooFast as error:
            if self._told_too_fast:
                return
            self._told_too_fast = True
            problem = LiveError("input_too_fast", str(error), "audio")
        except ValueError as error:
            param = {wire.AppendText: "text", wire.AppendInstructions: "content"}.get(type(event))
            problem = LiveError("invalid_value", str(error)[:300], param)
        problem.client_event_id = event.event_id
        self.send(problem.event())

    async def _act(self, event: wire.AnyClientEvent) -> None:
        kind, id, talk = str(event.__struct_config__.tag), event.event_id, self.conversation
        now = talk.now_ms
        if self._may_send not in (None, "all") and kind not in self._may_send:
            raise LiveError("not_permitted", f"this data channel may not send {kind}", "type")
        if talk.closed:
            raise SessionClosed
        match event:
            case wire.StartSession():
                raise LiveError("session_started", "the session has started already", "type")
            case wire.AppendAudio():
                if self.role is not Role.PRIMARY:
                    raise LiveError("not_permitted", f"a {self.role.value} sends no sound", "type")
                await talk.push_audio(self._ear(event.audio))
            case wire.AppendVideo():
                looked = asyncio.get_running_loop().run_in_executor(PICTURES, look, event, self.offer)
                self._picture = event, await looked  # a header can be long
                self._see()
            case wire.AppendText():
                await talk.write(TextIn(_short(event.text, "text"), Channel.TYPED))
                talk.publish(wire.TextAppended(client_event_id=id, start_ms=now, end_ms=now))
            case wire.Mute() | wire.Unmute():
                await talk.mute(isinstance(event, wire.Mute))
                talk.publish((wire.Muted if talk.muted else wire.Unmuted)(client_event_id=id))
            case wire.AppendInstructions():
                if event.delegation_id not in (None, *(d.id for d in talk.background.open)):
                    raise LiveError("invalid_value", "there is no such open delegation", "delegation_id")
                await talk.write(TextIn(_short(event.content, "content"), Channel.INSTRUCTIONS))
                talk.publish(wire.InstructionsAppended(client_event_id=id, start_ms=now, end_ms=now))
            case wire.AppendThinking():
                await self._append(Kind.THINKING, event)
                talk.publish(wire.ThinkingAppended(client_event_id=id, start_ms=now, end_ms=now))
            case wire.AppendCommentary():
                await self._append(Kind.COMMENTARY, event)
                talk.publish(wire.CommentaryAppended(client_event_id=id, start_ms=now, end_ms=now))
            case wire.CreateItem() | wire.CreateResponse() if not talk.start.responses:
                raise LiveError("unsupported_event", f"{kind}: the client does the work here", "type")
            case wire.CreateItem():
                live_work.add(talk, event.item)
            case wire.CreateResponse():
                if not live_work.go_on(talk):
                    talk.background.delegate(f"dlg_{secrets.token_hex(8)}")
            case wire.UpdateSession():
                check(event.session, self.offer, self.role)
                wanted, mine = event.session.delegation, self._config.delegation
                if wanted and (wanted.type == "responses") is not talk.start.responses:
                    raise LiveError("invalid_value", "it cannot change", "session.delegation.type")
                model = wanted and wanted.responses and wanted.responses.model
                known = mine and mine.responses and mine.responses.model
                if model and known != model and talk.config is not None:
                    where = "session.delegation.responses.model"
                    raise LiveError("unsupported_parameter", "there is one background model", where)
                live_work.equip(talk, wanted)
                if mine and wanted and (given := wanted.responses):
                    old = mine.responses or wire.Backend()
                    new = {name: value for name, value in structs.asdict(given).items() if value is not None}
                    mine.responses = structs.replace(old, **new)
                talk.publish(wire.SessionUpdated(session=self.resource, client_event_id=id))
            case wire.Played():
                talk.played(event.end_ms)
            case wire.Dropped():
                talk.session.cancel_last()
            case wire.CloseSession():
                self._closing = id
                talk.close("close_requested")

    def _see(self) -> None:
        """The newest picture is decoded, one in each tick."""
        now = self.conversation.now_ms
        if self._picture is not None and now > self._saw_ms and (self._seeing is None or self._seeing.done()):
            self._seeing = asyncio.create_task(self._show(*self._picture))
            self._picture, self._saw_ms = None, now

    async def _show(self, event: wire.AppendVideo, image: Image.Image) -> None:
        size = self.offer.frame_size
        try:
            decoded = asyncio.get_running_loop().run_in_executor(PICTURES, picture, event, image, size)
            self.conversation.session.push_frame(await decoded)
        except LiveError as error:
            error.client_event_id = event.event_id
            self.send(error.event())
        except SessionClosed:
            pass

    async def _append(self, kind: Kind, event: wire.AppendThinking | wire.AppendCommentary) -> None:
        try:
            piece = Piece(kind, _short(event.content, "content"), delegation=event.delegation_id or "")
            await self.conversation.append(piece)
        except ValueError as error:
            raise LiveError("invalid_value", str(error), "delegation_id") from None

    # ---- to the client ----

    def started(self, client_event_id: str | None = None) -> None:
        """The first thing a client hears."""
        self.send(wire.SessionStarted(session=self.resource, client_event_id=client_event_id))
        asked, own = asked_voice(self._config), self._voice
        if asked and asked != own:
            voices = ", ".join(self.offer.voices) or own
            message = f"there is no voice {asked!r}; {own!r} stands in for it. Voices here: {voices}"
            self.send(wire.Info(code="voice", message=message))

    @property
    def _voice(self) -> str:
        return self.conversation.start.voice or next(iter(self.offer.voices), NO_VOICE)

    @property
    def resource(self) -> wire.Resource:
        given, start = self._config, self.conversation.start
        format = self._format if self.role is Role.PRIMARY else None
        return wire.Resource(
            id=self.conversation.id,
            expires_at=self.conversation.expires_at,
            model=self.offer.model,
            status="active",
            audio=wire.Audio(format=format, output=wire.AudioOutput(voice=self._voice)),
            client=given.client,
            delegation=named(given.delegation, start),
            input=given.input,
            instructions=start.instructions or None,
            safety_identifier=given.safety_identifier,
            store=start.store,
            capabilities=wire.CAPABILITIES,
            frame_size=self.offer.frame_size,
        )

    def send(self, event: Struct) -> None:
        if self._may_see in (None, "all") or self._sees(event):
            try:
                self._unsent.put_nowait(wire.encode(event))
            except asyncio.QueueFull:
                self._lost = True

    async def next_event(self) -> bytes | None:
        """The next thing to send; None when the client has been told that the session is over."""
        if self._lost:
            raise TimeoutError
        return await self._unsent.get()

    def tell(self, note: object) -> Sequence[Struct]:
        """What the client hears of something that happened."""
        match note:
            case Beat():
                return self._beat(note)
            case Heard():
                return (wire.InputAudio(pcm16(self._reflect(note.audio))),)
            case Given() if not self._packages:
                return ()
            case Delegation() | Given() | Piece() | Over() | Calls() | Continued():
                return self._told(note)
            case Closed():
                usage = wire.Usage(self.conversation.seconds)
                reason = note.reason if note.reason != "error" else "connection_lost"
                closed = wire.SessionClosed(
                    reason=reason, session=self.resource, usage=usage, client_event_id=self._closing
                )
                failed = LiveError("session_failed", "the session failed", kind="server_error")
                return (closed,) if note.error is None else (failed.event(), closed)
            case wire.ServerEvent():
                return (note,)
        return ()

    def _note(self, note: object) -> None:
        if isinstance(note, Beat):
            self._see()
        if self.role is Role.SIDEBAND or not isinstance(note, Beat | Heard):
            for event in self.tell(note):
                self.send(event)
        if isinstance(note, Closed):
            self.leave()
            if not self._unsent.full():
                self._unsent.put_nowait(None)

    def tell_again(self, after_ms: int) -> None:
        """What happened lately, for a client that came back and had not got it. Its sound is not sent again."""
        talk = self.conversation
        works = [(work.ms, work.note) for work in talk.works]
        lately: list[tuple[int, object]] = [(end_ms(b.tick), b) for b in talk.beats if b is not talk.waiting]
        kept = start_ms(talk.beats[0].tick) if lately else 0
        if len(works) == talk.works.maxlen:
            kept = max(kept, works[0][0])
        if kept > after_ms:
            self.send(wire.Info(code="gap", message=f"what came before {kept} ms is not told again"))
        for ms, note in sorted([*lately, *works], key=lambda when: when[0]):
            for event in self.tell(note) if ms > after_ms else ():
                if not isinstance(event, wire.OutputAudio):
                    self.send(event)

    def _told(self, note: live_work.Note) -> Sequence[Struct]:
        work = next(work for work in reversed(self.conversation.works) if work.note is note)
        if work.told is None:
            work.told = live_work.told(self.conversation, note)
        return work.told

    def _beat(self, beat: Beat) -> Sequence[Struct]:
        begins, ends = start_ms(beat.tick), end_ms(beat.tick)
        told: list[Struct] = []
        if self.role is not Role.CHANNEL:
            sound = self._mouth(beat.action)
            timed = self.role is Role.SIDEBAND
            told.append(wire.OutputAudio(sound, begins, ends) if timed else wire.OutputAudio(sound))
        if heard := beat.text("hear"):
            told.append(wire.InputTranscript(delta=heard, start_ms=begins, end_ms=ends))
        if said := beat.text("say"):
            told.append(wire.OutputTranscript(delta=said, start_ms=begins, end_ms=ends))
        if self._ticks:
            did = beat.action
            decision = did.decision.name.lower()
            told.append(wire.Tick(start_ms=begins, end_ms=ends, tick=beat.tick, decision=decision,
                                  odds=did.odds, missed=did.missed))  # fmt: skip
        if beat.tick % USAGE_TICKS == USAGE_TICKS - 1:
            told.append(wire.UsageUpdated(usage=wire.Usage(self.conversation.seconds)))
        return told

    def _sees(self, event: Struct) -> bool:
        """Whether a data channel's permissions let an event through."""
        kind = str(event.__struct_config__.tag)
        nested = event.event.get("type") if isinstance(event, wire.ResponseEvent) else None
        allowed = self._may_see if isinstance(self._may_see, list) else ()
        return kind in ("session.started", "error") or any(
            kind == permit.type and permit.response_event in (None, nested) for permit in allowed
        )


def _short(text: str, param: str) -> str:
    if len(text) > wire.CONTENT:
        raise LiveError("invalid_value", f"at most {wire.CONTENT} characters at a time", param)
    return text


def bytes_of(message: str | bytes) -> int:
    return len(message.encode("utf-8", "surrogatepass")) if isinstance(message, str) else len(message)


def short(message: str | bytes, offer: Offer) -> str | bytes:
    """It, unless it is longer than this client's may be. Raises LiveError."""
    if bytes_of(message) > offer.message:
        raise LiveError("too_large", f"a message has at most {offer.message} bytes")
    return message


def look(event: wire.AppendVideo, offer: Offer) -> Image.Image:
    """A picture that a client sent, by its header: nothing is decoded yet. Raises LiveError."""
    if event.format != "raw" and (event.width or event.height):
        raise LiveError(
            "invalid_value", "only raw pictures are told their size", "width" if event.width else "height"
        )
    try:
        if event.format == "raw":
            if not len(event.image) == 3 * event.width * event.height > 0 < event.width:
                raise ValueError("its size is not width × height × 3 bytes")
            if event.width * event.height > offer.pictures:
                raise ValueError(f"more than {offer.pictures} pixels")
            return Image.frombytes("RGB", (event.width, event.height), event.image)
        if event.format == "jpeg" and event.image.count(b"\xff\xda") > SCANS:
            raise ValueError(f"more than {SCANS} scans")
        image = Image.open(io.BytesIO(event.image), formats=(event.format.upper(),))
        if image.width * image.height > offer.pictures or getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"more than {offer.pictures} pixels, or than one frame")
        return image
    except UNREADABLE as error:
        raise LiveError("invalid_value", f"not a {event.format} picture: {error}"[:200], "image") from None


def picture(event: wire.AppendVideo, image: Image.Image, size: tuple[int, int]) -> Bytes:
    """It, letterboxed."""
    height, width = size
    try:
        image.draft("RGB", (2 * width, 2 * height))  # JPEG is decoded at a fraction of its size
        return letterbox(VideoFrame.from_ndarray(np.asarray(image.convert("RGB"))), size)
    except UNREADABLE as error:
        raise LiveError("invalid_value", f"not a {event.format} picture: {error}"[:200], "image") from None
