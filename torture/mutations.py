"""Damage: a file's bytes changed at random, as they are and inside of their containers."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
NUMBERS = (
    *(b"-1", b"0", b"1", b"3", b"-0.0", b"nan", b"inf", b"-inf", b"1e999", b"1e-400", b"1e38", b"0x10", b"1_0"),
    *(b"2147483648", b"4294967295", b"9223372036854775807", b"18446744073709551616", b"1" * 30, b"9" * 5000, b""),
)
"""What takes the place of a number in text."""
PATTERNS = (
    *(struct.pack("<I", n) for n in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
    *(struct.pack("<Q", n) for n in (0, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)),
    *(struct.pack("<d", x) for x in (np.nan, np.inf, -1e308, 1e-320)),
    *(struct.pack("<f", x) for x in (np.nan, np.inf, -3e38)),
)
"""What takes the place of a number in binary data."""


def _place(data: bytes, rng: Rng) -> int:
    """Anywhere, or near the start, where headers are."""
    return int(rng.integers(0, min(len(data), 300 if rng.random() < 0.5 else len(data)) + 1))


def _truncated(data: bytes, rng: Rng) -> bytes:
    return data[: rng.integers(0, len(data) + 1)]


def _flipped(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        if changed:
            changed[min(_place(data, rng), len(data) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _replaced(data: bytes, rng: Rng) -> bytes:
    at, block = _place(data, rng), rng.bytes(int(rng.integers(1, 64)))
    return data[:at] + block + data[at + len(block) :]


def _inserted(data: bytes, rng: Rng) -> bytes:
    at, start = _place(data, rng), _place(data, rng)
    return data[:at] + data[start : start + int(rng.integers(1, 400))] + data[at:]


def _removed(data: bytes, rng: Rng) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 400)) :]


def _other_number(data: bytes, rng: Rng) -> bytes:
    found = list(re.finditer(rb"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", data[: 2000 if rng.random() < 0.6 else None]))
    if not found:
        return _other_pattern(data, rng)
    for match in sorted(rng.choice(len(found), min(len(found), int(rng.integers(1, 4))), replace=False))[::-1]:
        start, end = found[match].span()
        data = data[:start] + NUMBERS[int(rng.integers(len(NUMBERS)))] + data[end:]
    return data


def _other_pattern(data: bytes, rng: Rng) -> bytes:
    at, pattern = _place(data, rng) & ~3, PATTERNS[int(rng.integers(len(PATTERNS)))]
    return data[:at] + pattern + data[at + len(pattern) :]


def _other_word(data: bytes, rng: Rng) -> bytes:
    found = list(re.finditer(rb"[A-Za-z_]{2,}", data[:4000]))
    if len(found) < 2:
        return _flipped(data, rng)
    one, other = (found[int(rng.integers(len(found)))] for _ in range(2))
    return data[: one.start()] + other.group() + data[one.end() :]


def _swapped_order(data: bytes, rng: Rng) -> bytes:
    at, size = _place(data, rng) & ~7, int(rng.choice([2, 4, 8]))
    tail = data[at : at + (len(data) - at) // size * size]
    return (
        data[:at]
        + np.frombuffer(tail, f"V{size}").view("u1").reshape(-1, size)[:, ::-1].tobytes()
        + data[at + len(tail) :]
    )


def _other_encoding(data: bytes, rng: Rng) -> bytes:
    words = data.decode("latin-1")
    choice = int(rng.integers(6))
    return (
        words.encode("utf-16"), b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"),
        data.replace(b" ", b"\0"), "\u2028".join(words.split(" ")).encode("utf-8", "replace"),
    )[choice]  # fmt: skip


def _nested(data: bytes, rng: Rng) -> bytes:
    opening = (b"[", b"{", b"(", b'{"a":', b"[[1],", b"-", b"+")[int(rng.integers(7))]
    found = [match.start() for match in re.finditer(rb"[\[{(:=]", data[:4000])]
    at = found[int(rng.integers(len(found)))] + 1 if found else _place(data, rng)
    return data[:at] + opening * int(rng.choice([50, 900, 100_000])) + data[at:]


def _long(data: bytes, rng: Rng) -> bytes:
    at = _place(data, rng)
    filler = (b"9", b"a", b" ", b"\n", b"#", b"1 ", b"\0")[int(rng.integers(7))]
    return data[:at] + filler * int(rng.choice([5000, 300_000])) + data[at:]


def _doubled(data: bytes, rng: Rng) -> bytes:
    return data * int(rng.integers(2, 4))


def _emptied(data: bytes, rng: Rng) -> bytes:
    return (b"", b"\n", b"\0" * 100, data[:1])[int(rng.integers(4))]


MUTATIONS: dict[str, Callable[[bytes, Rng], bytes]] = {
    "truncated": _truncated,
    "bits flipped": _flipped,
    "bytes replaced": _replaced,
    "bytes inserted": _inserted,
    "bytes removed": _removed,
    "other numbers": _other_number,
    "other binary numbers": _other_pattern,
    "other words": _other_word,
    "byte order": _swapped_order,
    "other encoding": _other_encoding,
    "deep nesting": _nested,
    "long lines": _long,
    "twice in a row": _doubled,
    "emptied": _emptied,
}
"""By name; drawn with the same probability, but that what is rarely of use is drawn less often."""
WEIGHTS = np.array([2, 2, 2, 2, 2, 4, 3, 2, 1, 1, 1, 1, 0.5, 0.3])


def mutated(data: bytes, rng: Rng) -> tuple[str, bytes]:
    """The data with one to three kinds of damage, perhaps inside of their container; and what was done."""
    names = rng.choice(list(MUTATIONS), int(rng.choice([1, 1, 1, 2, 3])), p=WEIGHTS / WEIGHTS.sum())
    damage = " + ".join(names)

    def damaged(content: bytes) -> bytes:
        for name in names:
            content = MUTATIONS[name](content, rng)
        return content

    inside = next((repack for magic, repack in CONTAINERS if magic(data)), None)
    if inside is None or rng.random() < 0.3:
        return damage, damaged(data)
    return f"{damage} inside", inside(data, damaged, rng)


def _in_zip(data: bytes, damaged: Callable[[bytes], bytes], rng: Rng) -> bytes:
    """One file of an archive is damaged, and the archive is whole again."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(stream, "w") as packed:
        members = archive.infolist()
        chosen = int(rng.integers(len(members)))
        if rng.random() < 0.7:  # the first one says what the others are
            chosen = 0
        for index, info in enumerate(members):
            content = archive.read(info)
            packed.writestr(info.filename, damaged(content) if index == chosen else content)
    return stream.getvalue()


def _in_model(data: bytes, damaged: Callable[[bytes], bytes], rng: Rng) -> bytes:
    """Header, one text or the arrays of a safetensors file are damaged; lengths and checksum are right again."""
    start = 8 + int.from_bytes(data[:8], "little")
    header, arrays = json.loads(data[8:start]), data[start:]
    texts = header["__metadata__"]
    part = rng.random()
    if part < 0.2:
        arrays = damaged(arrays).ljust(len(arrays), b"\0")[: len(arrays)]
    elif part < 0.7:
        name = str(rng.choice(sorted(texts)))
        texts[name] = damaged(texts[name].encode()).decode("utf-8", "replace")
    seal(texts, arrays)
    text = json.dumps(header).encode()
    text = damaged(text) if part >= 0.7 else text
    return len(text).to_bytes(8, "little") + text + arrays


def seal(texts: dict[str, str], arrays: bytes) -> None:
    """Put the checksum right, as someone would who means harm; see `igr.store.tensors`."""
    texts.pop("checksum", None)
    told = json.dumps(texts, sort_keys=True).encode()
    texts["checksum"] = f"{zlib.crc32(arrays, zlib.crc32(told)):08x}"


def _in_glb(data: bytes, damaged: Callable[[bytes], bytes], rng: Rng) -> bytes:
    """The JSON of a GLB is damaged, and its lengths are right again."""
    del rng
    length = int.from_bytes(data[12:16], "little")
    text = damaged(data[20 : 20 + length])
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    return head + text + rest


CONTAINERS = (
    (lambda data: data[:4] == b"PK\3\4", _in_zip),
    (lambda data: data[8:9] == b"{", _in_model),
    (lambda data: data[:4] == b"glTF", _in_glb),
)
"""How to recognize a container, and to damage what is in it."""
