"""State on disk: npz without pickle, versioned, checksummed, replaced in one step."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = dict[str, NDArray[Any]]
PathLike: TypeAlias = "str | os.PathLike[str]"

FORMAT = "fastopt checkpoint 1"
_FORMAT_KEY, _CHECKSUM_KEY, _PROBLEM_KEY = "format", "checksum", "problem"


def save(path: PathLike, arrays: Mapping[str, Any], problem: Mapping[str, Any]) -> None:
    """Write the arrays and the problem's fingerprint; readers see the old file or the new one."""
    content: Arrays = {f"state/{name}": np.asarray(value) for name, value in arrays.items()}
    content[_FORMAT_KEY] = np.array(FORMAT)
    content[_PROBLEM_KEY] = np.array(json.dumps(dict(problem), sort_keys=True))
    content[_CHECKSUM_KEY] = np.array(_checksum(content))
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent or ".", prefix=target.name + ".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def load(path: PathLike, problem: Mapping[str, Any] | None) -> Arrays:
    """The arrays of a checkpoint of the same `problem`; ValueError for any other file."""
    content = _read(path)
    if str(content.get(_FORMAT_KEY, "")) != FORMAT:
        raise ValueError(
            f"resume: {os.fspath(path)!r} is not a checkpoint of this version of fastopt."
        )
    stored = str(content.pop(_CHECKSUM_KEY, ""))
    if stored != _checksum(content):
        raise ValueError(
            f"resume: {os.fspath(path)!r} is damaged (its checksum does not match): start the run "
            "afresh or use an older checkpoint."
        )
    if problem is not None:
        _compare(path, json.loads(str(content[_PROBLEM_KEY])), dict(problem))
    prefix = "state/"
    return {k.removeprefix(prefix): v for k, v in content.items() if k.startswith(prefix)}


def _read(path: PathLike) -> Arrays:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: PathLike, error: BaseException) -> ValueError:
    return ValueError(
        f"resume: {os.fspath(path)!r} cannot be read as a fastopt checkpoint; it is truncated or "
        f"something else ({error})."
    )


def _compare(path: PathLike, stored: dict[str, Any], present: dict[str, Any]) -> None:
    present = json.loads(json.dumps(present, sort_keys=True))
    differing = [
        f"{name} ({_short(stored.get(name))} there, {_short(present.get(name))} here)"
        for name in sorted(stored.keys() | present.keys())
        if stored.get(name) != present.get(name)
    ]
    if differing:
        raise ValueError(
            f"resume: {os.fspath(path)!r} belongs to another problem or to other options: "
            f"{'; '.join(differing)}."
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _checksum(content: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(content):
        array = np.ascontiguousarray(content[name])
        digest.update(f"{name}\0{array.dtype.str}\0{content[name].shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Timer:
    """True when `every` seconds have passed since it was last true; always true for 0."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._every:
            return False
        self._last = now
        return True
