"""Raw bytes that may name a person are sealed wherever they rest: in the stream, in the quarantine.

What makes no sense must be kept word for word, or it could not be mended; but what cannot be read cannot be searched for
identifiers either. So it is encrypted, and shown to who holds the key.
"""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bidloop.core.errors import CorruptArtifact

_NONCE = 12


class Seal:
    """Seals bytes with AES-256-GCM.

    Parameters
    ----------
    key
        The key of this house, from `bidloop.events.privacy`; at least 32 bytes.

    Examples
    --------
    >>> seal = Seal(bytes(32))
    >>> sealed = seal.close(b"user 17")
    >>> b"user" in sealed, seal.open(sealed)
    (False, b'user 17')
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(_derived(key, b"seal"))
        self._name_key = _derived(key, b"name")

    def close(self, raw: bytes) -> bytes:
        """The sealed bytes; empty stays empty."""
        if not raw:
            return b""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, raw, None)

    def open(self, sealed: bytes) -> bytes:
        """The bytes that were sealed.

        Raises
        ------
        CorruptArtifact
            When they were sealed with another key, or are damaged.
        """
        if not sealed:
            return b""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (InvalidTag, ValueError) as error:
            raise CorruptArtifact(
                "sealed bytes that this key does not open",
                expected="the privacy key that they were sealed with",
                remedy="Set privacy.key_file to the key of the house that wrote them.",
            ) from error

    def name(self, content: bytes) -> str:
        """A keyed hash that names this content, and tells nothing of it to who lacks the key; 32 hexadecimal letters."""
        return blake2b(content, digest_size=16, key=self._name_key).hexdigest()


def _derived(key: bytes, purpose: bytes) -> bytes:
    return blake2b(purpose, digest_size=32, key=key[:64]).digest()
