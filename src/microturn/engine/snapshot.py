"""A session as bytes: what the engine keeps of it, then what the model keeps of it.

Layout: magic, CRC-32 of everything after it, length of a JSON header, the header, the arrays that it lists,
the model's own bytes. A snapshot is cut between two ticks, so nothing in it is half done.
"""

import json
import struct
import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from microturn.engine.slots import Waiting
from microturn.streams import Channel, TextIn

MAGIC = b"MTS1"  # the last byte is the version
_HEAD = struct.Struct("<4sII")


@dataclass(frozen=True)
class Snapshot:
    model: str  # ModelSpec.name
    waiting: Waiting
    texts: tuple[tuple[int, TextIn], ...]  # unread text: positions until it begins, and what it was
    state: bytes  # the model's own


def pack(snapshot: Snapshot) -> bytes:
    values, listed, arrays = {}, [], []
    for entry in fields(Waiting):
        value = getattr(snapshot.waiting, entry.name)
        if isinstance(value, np.ndarray):
            listed.append((entry.name, value.dtype.str, value.shape))
            arrays.append(np.ascontiguousarray(value).tobytes())
        else:
            values[entry.name] = value
    header = json.dumps(
        {
            "model": snapshot.model,
            "values": values,
            "arrays": listed,
            "texts": [(begins, int(text.channel), text.text) for begins, text in snapshot.texts],
        }
    ).encode()
    body = b"".join((header, *arrays, snapshot.state))
    return _HEAD.pack(MAGIC, zlib.crc32(body, len(header)), len(header)) + body


def unpack(data: bytes) -> Snapshot:
    if len(data) < _HEAD.size or data[:3] != MAGIC[:3]:
        raise ValueError("these bytes are not a session snapshot")
    magic, crc, length = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"this snapshot has version {magic[3:4]!r}, this engine reads {MAGIC[3:4]!r}")
    body = memoryview(data)[_HEAD.size :]
    if zlib.crc32(body, length) != crc:
        raise ValueError("this session snapshot is damaged: its checksum is wrong")
    header = json.loads(bytes(body[:length]))
    values: dict[str, Any] = dict(header["values"])
    at = length
    for name, kind, shape in header["arrays"]:
        count = int(np.prod(shape))
        values[name] = np.frombuffer(body, np.dtype(kind), count, at).reshape(shape)
        at += values[name].nbytes
    texts = tuple((begins, TextIn(text, Channel(channel))) for begins, channel, text in header["texts"])
    return Snapshot(header["model"], Waiting(**values), texts, bytes(body[at:]))
