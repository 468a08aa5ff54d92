"""One file for arrays and manifest: safetensors, its metadata holding JSON text and a digest.

The digest is BLAKE2b (256 bits, in hexadecimal) of the whole file as it is with 64 zeros in the
digest's place. So weights and manifest cannot come from two saves, and no byte can change unseen.
Any reader of safetensors opens the file; nothing in it names code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from agnostic_dl.errors import CheckpointError, MissingExtraError

_BLANK = "0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')


class DamagedError(CheckpointError):
    """The bytes are not those that were saved."""


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError(
            "checkpoints need the safetensors package: install the extra 'cli' of agnostic-dl"
        ) from error
    return safetensors.numpy


def pack(arrays: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[bytes | memoryview]:
    """The file's content, in parts, for host arrays by name and a manifest that JSON can hold."""
    metadata = {"digest": _BLANK, "manifest": _as_json(manifest)}
    try:
        content = _safetensors().save(dict(arrays), metadata=metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"arrays that safetensors cannot hold: {error}") from error
    head, body = _split(content)
    digest = hashlib.blake2b(head, digest_size=32)
    digest.update(body)
    return [_with_digest(head, digest.hexdigest()), body]


def _as_json(manifest: Mapping[str, Any]) -> str:
    try:
        return json.dumps(manifest)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the run holds something that is no plain data: {error}; keep numbers, texts, lists "
            f"and dicts in trainer.info and in an optimizer's hyperparameters"
        ) from error


def _split(content: bytes) -> tuple[bytes, memoryview]:
    """The length with the header, and the data behind them."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise DamagedError(f"damaged: {len(content):,} bytes, fewer than its header says")
    return content[: 8 + length], memoryview(content)[8 + length :]


def _with_digest(head: bytes, digest: str) -> bytes:
    return _DIGEST.sub(f'"digest":"{digest}"'.encode(), head, count=1)


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and host arrays of a file's content; nothing is read before the digest is right."""
    _verify(content)
    try:
        head, _ = _split(content)
        header = json.loads(head[8:])
        manifest = json.loads(header["__metadata__"]["manifest"])
        arrays = _arrays(content, header)
    except MissingExtraError:
        raise
    except Exception as error:  # a file that was made to deceive; safetensors' own error as well
        raise CheckpointError(f"not a checkpoint: {type(error).__name__}: {error}") from error
    if not isinstance(manifest, dict):
        raise CheckpointError("not a checkpoint: its manifest is no JSON object")
    return manifest, arrays


def _arrays(content: bytes, header: dict[str, Any]) -> dict[str, Any]:
    """All arrays; those in bfloat16, which NumPy has not by itself, by way of their bits."""
    short = [n for n, about in header.items() if about.get("dtype") == "BF16"]
    if short:
        dtype = _bfloat16()
        header = header | {name: {**header[name], "dtype": "U16"} for name in short}
        head = json.dumps(header).encode()
        content = b"".join([len(head).to_bytes(8, "little"), head, _split(content)[1]])
    arrays = dict(_safetensors().load(content))
    return arrays | {name: arrays[name].view(dtype) for name in short}


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError as error:
        raise MissingExtraError(
            "this checkpoint holds bfloat16 arrays, which need the ml_dtypes package: install the "
            "extra 'bfloat16' of agnostic-dl-numpy"
        ) from error
    return ml_dtypes.bfloat16


def _verify(content: bytes) -> None:
    head, body = _split(content)
    found = _DIGEST.search(head)
    if found is None:
        raise DamagedError("damaged, or not a checkpoint of this library: it has no digest")
    digest = hashlib.blake2b(_with_digest(head, _BLANK), digest_size=32)
    digest.update(body)
    if digest.hexdigest().encode() != found[1]:
        raise DamagedError("damaged: its digest is not that of its content")
