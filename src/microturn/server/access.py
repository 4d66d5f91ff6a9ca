"""Who may come in: keys, short-lived secrets for browsers, origins, and how much each key may use.

Keys are 256 random bits, so one round of SHA-256 is enough to keep them; the key itself is shown once and
stored nowhere. Without a key file everybody on this machine may come in, and the server listens to nobody else.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import asdict
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from microturn.clock import Clock, WallClock, calendar_s

SECRET_S = 600  # longest life of a client secret
PROTOCOL, PROTOCOL_KEY = "microturn", "microturn-key."  # browsers cannot set headers on a WebSocket
SECRETS = 10_000
MESSAGE = 1 << 20  # bytes of a message
PICTURES = 4_000_000  # pixels of a picture that is sent
MESSAGES = 500  # a second that are read of a connection
STRETCH_S = 600.0  # of conversation that is counted, and forgotten after a day, as one


class Denied(Exception):
    def __init__(
        self,
        status: int,
        code: str,
        reason: str,
        retry_after_s: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.retry_after_s, self.param = status, code, retry_after_s, param


async def accept(socket: WebSocket) -> None:
    """Browsers must be told which of the protocols that they offered it is."""
    offered = socket.scope.get("subprotocols", ())
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)


Count = Annotated[int, msgspec.Meta(ge=0)]


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    hash: str
    sessions: Count = 8  # at once
    minutes: Annotated[float, msgspec.Meta(ge=0)] = 1440.0  # of conversation in 24 hours
    starts: Count = 60  # sessions begun in a minute
    message: Count = MESSAGE
    pictures: Count = PICTURES

    def owns(self, id: str, owner: str) -> bool:
        """Whether a session that was begun in the name of `owner` may be read, ended and come back to."""
        return owner == self.name

    def whole(self) -> None:
        """Raises Denied where only the key itself will do."""


class Secret(Key, frozen=True):
    """What a browser has instead of the key. Its sessions are the key's, but it reaches only those it began."""

    began: set[str] = msgspec.field(default_factory=set)

    def owns(self, id: str, owner: str) -> bool:
        return owner == self.name and id in self.began

    def whole(self) -> None:
        reason = "a client secret begins sessions and comes back to them; all else wants the key"
        raise Denied(403, "not_permitted", reason)


ANYBODY = Key("", "", sessions=1 << 30, minutes=float("inf"), starts=1 << 30)


def read_keys(path: Path) -> tuple[Key, ...]:
    try:
        return tuple(
            msgspec.json.decode(line, type=Key) for line in path.read_bytes().splitlines() if line.strip()
        )
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from None


def new_key(path: Path, name: str) -> str:
    """Adds a key to the file and gives it back, the only time that it is seen."""
    if not name or (path.exists() and any(key.name == name for key in read_keys(path))):
        raise ValueError(f"{path}: a key needs a name of its own, {name!r} is taken or empty")
    value = f"mt_{secrets.token_urlsafe(32)}"
    path.touch(0o600)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(Key(name, digest(value))) + b"\n")
    return value


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass
class Bucket:
    """So much a second, and so much at once."""

    rate: float
    burst: float
    clock: Clock = field(default_factory=WallClock)

    def __post_init__(self) -> None:
        self._left, self._at = self.burst, self.clock.now()

    def take(self, amount: float) -> float:
        """Takes it if there is room; else the seconds until there will be, and takes nothing."""
        now = self.clock.now()
        self._left, self._at = min(self.burst, self._left + (now - self._at) * self.rate), now
        if amount > self._left:
            return (amount - self._left) / self.rate if amount <= self.burst else float("inf")
        self._left -= amount
        return 0.0


@dataclass
class _Use:
    open: int = 0  # sessions
    starts: deque[float] = field(default_factory=deque)
    spent: deque[list[float]] = field(default_factory=deque)  # since when, seconds of conversation


class Access:
    def __init__(
        self, keys: Sequence[Key] = (), origins: Sequence[str] = (), clock: Clock | None = None
    ) -> None:
        self._keys = {key.hash: key for key in keys}
        self._origins = {origin.rstrip("/") for origin in origins}
        self._secrets: dict[str, tuple[Secret, float]] = {}
        self._use: dict[str, _Use] = {}
        self._clock = clock or WallClock()

    def check(self, connection: HTTPConnection) -> Key:
        """Whose key a request or a WebSocket carries. Raises Denied."""
        host = connection.headers.get("host", "")
        if not self._keys and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            raise Denied(403, "wrong_host", "without keys only http://localhost is served")  # DNS rebinding
        origin = connection.headers.get("origin")
        if origin and origin not in self._origins and urlsplit(origin).netloc != host:
            raise Denied(403, "wrong_origin", f"pages from {origin[:80]} may not come in; see --origin")
        return self._key(connection) if self._keys else ANYBODY

    def _key(self, connection: HTTPConnection) -> Key:
        kind, _, value = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            offered: Sequence[str] = connection.scope.get("subprotocols", ())
            value = next((p.removeprefix(PROTOCOL_KEY) for p in offered if p.startswith(PROTOCOL_KEY)), "")
        hashed = digest(value.strip())
        if key := self._keys.get(hashed):
            return key
        secret, until = self._secrets.get(hashed, (None, 0.0))
        if secret is None or until < self._clock.now():
            raise Denied(401, "invalid_api_key", "a valid key is needed: Authorization: Bearer …")
        return secret

    def secret(self, key: Key, seconds: float) -> tuple[str, int]:
        """A secret for a browser that stands for `key` for a while, and when it ends (seconds since 1970).

        Raises Denied.
        """
        key.whole()
        now = self._clock.now()
        seconds = min(max(seconds, 10.0), SECRET_S)
        self._secrets = {hashed: held for hashed, held in self._secrets.items() if held[1] > now}
        if len(self._secrets) >= SECRETS:
            raise Denied(429, "too_many_secrets", "too many client secrets are alive", SECRET_S)
        value = f"ek_{secrets.token_urlsafe(32)}"
        self._secrets[digest(value)] = Secret(**asdict(key)), now + seconds
        return value, int(calendar_s() + seconds)

    def begin(self, key: Key) -> float:
        """Counts a session that begins; the seconds it may last, by itself. Raises Denied."""
        now, use, left = self._clock.now(), self._of(key), self.spend(key, 0.0)
        while use.starts and use.starts[0] < now - 60:
            use.starts.popleft()
        if use.open >= key.sessions:
            raise Denied(429, "too_many_sessions", f"this key may hold {key.sessions} sessions at once", 5.0)
        if len(use.starts) >= key.starts:
            raise Denied(429, "rate_limited", f"this key may begin {key.starts} sessions a minute", 60.0)
        if left <= 0:
            raise Denied(429, "minutes_used_up", f"this key may talk {key.minutes:g} minutes a day", 3600.0)
        use.starts.append(now)
        use.open += 1
        return left

    def spend(self, key: Key, seconds: float) -> float:
        """Counts so much conversation; the seconds that are left for all sessions of the key together."""
        now, spent = self._clock.now(), self._of(key).spent
        while spent and spent[0][0] < now - 86_400:
            spent.popleft()
        if not spent or spent[-1][0] < now - STRETCH_S:
            spent.append([now, 0.0])
        spent[-1][1] += seconds
        return 60 * key.minutes - sum(stretch[1] for stretch in spent)

    def end(self, key: Key) -> None:
        self._of(key).open -= 1

    def _of(self, key: Key) -> _Use:
        return self._use.setdefault(key.name, _Use())
