"""SHA-256 by Python's own code: `hashlib` would bring in all of OpenSSL, 3.5 MB of a board's memory, for this."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # Python 3.11
        except ImportError:  # a Python built without
            from hashlib import sha256


def sha256_bytes(content: bytes) -> bytes:
    """The hash of `content`, 32 bytes."""
    return sha256(content).digest()


def sha256_hex(content: bytes) -> str:
    """The hash of `content`, 64 hexadecimal digits."""
    return sha256(content).hexdigest()
