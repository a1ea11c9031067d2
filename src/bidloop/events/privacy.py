"""Who did it stays outside: people are pseudonyms from the door on, and without consent not even that.

A pseudonym is a keyed hash (HMAC-SHA-256): the same person gets the same one, nobody without the key can tell whose it is, and
whoever destroys the key has made all of them anonymous.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import urlsafe_b64encode
from hashlib import blake2b
from pathlib import Path
from typing import get_args

import msgspec

from bidloop.core.errors import ConfigurationError, RejectedRow
from bidloop.core.event import BehaviourEvent, DeviceLinked, Event, Personal
from bidloop.core.opportunity import Opportunity
from bidloop.events.settings import PrivacySettings

IDENTIFIERS = ("user_id", "device_id", "session_id", "ip")
"""Fields that name a person. Each kind has pseudonyms of its own, so that a user's and a device's cannot be confused."""

_BEHAVIOUR: tuple[type, ...] = get_args(BehaviourEvent)
_ADDRESSES = ("url", "referrer")
# Browsers forgive spaces, backslashes and a missing slash; a password may hold an @.
_USERINFO = re.compile(r"^(\s*(?:[a-zA-Z][a-zA-Z0-9+.-]*:[/\\]+|[/\\]{2,})|)[^/\\]*@")
_DEFAULT = PrivacySettings()


class Privacy:
    """Takes people out of events.

    Parameters
    ----------
    key
        Secret of this house, from `load_key`.
    settings
        What stands for consent where a source does not say.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.event import PageViewed
    >>> view = PageViewed(event_id="e", at=datetime(2026, 1, 1, tzinfo=UTC), user_id="anna", url="https://a.b/c?mail=d@e.f")
    >>> privacy = Privacy(bytes(32))
    >>> privacy.event(view).user_id, privacy.event(view).url
    ('', 'https://a.b/c')
    >>> privacy.event(msgspec.structs.replace(view, consent=True)).user_id == privacy.pseudonym("user_id", "anna")
    True
    """

    def __init__(self, key: bytes, settings: PrivacySettings = _DEFAULT) -> None:
        self._key = blake2b(b"pseudonym", digest_size=32, key=key[:64]).digest()
        self._assumed = settings.assume_consent

    def pseudonym(self, kind: str, identifier: str) -> str:
        """What one person, device, visit or address is known by; one of `IDENTIFIERS` is its kind."""
        digest = hmac.digest(self._key, f"{kind}:{identifier}".encode("utf-8", "surrogatepass"), "sha256")
        return f"p.{urlsafe_b64encode(digest[:18]).decode()}"

    def user(self, identifier: str, consent: bool | None) -> str:
        """What a user is known by who agreed to being recognised; nobody otherwise.

        Parameters
        ----------
        consent
            `None` where the source does not say: then the settings do.
        """
        agreed = self._assumed if consent is None else consent
        return self.pseudonym("user_id", identifier) if identifier and agreed else ""

    def event(self, event: Event) -> Event:
        """The event with pseudonyms in place of identifiers, or without any where there is no consent.

        Addresses of pages lose their query and fragment, where shops and newsletters put names and e-mail addresses.

        Raises
        ------
        RejectedRow
            With the code ``no_consent`` where nothing would be left of the event.
        """
        changes: dict[str, object] = {}
        consent = self._assumed
        if isinstance(event, Personal):
            consent = self._assumed if event.consent is None else event.consent
            for name in IDENTIFIERS:
                if value := getattr(event, name):
                    changes[name] = self.pseudonym(name, value) if consent else ""
            if not consent and isinstance(event, DeviceLinked):
                raise RejectedRow(
                    "no_consent",
                    "a device linked to a user who did not agree to it",
                    path="consent",
                    expected="consent: true",
                    remedy="Send it only for users who agreed.",
                )
        about: Opportunity | None = getattr(event, "opportunity", None)
        if about is not None and about.user_id:
            changes["opportunity"] = msgspec.structs.replace(about, user_id=self.user(about.user_id, consent))
        for name in _WITH_ADDRESSES.get(type(event), ()):
            address: str = getattr(event, name)
            if (bare := _bare(address)) != address:
                changes[name] = bare
        return msgspec.structs.replace(event, **changes) if changes else event


CODES = {"no_consent": "nothing would be left of the event without identifiers; its content is not kept"}
"""The codes of this file."""


def person_of(event: Event) -> str:
    """The pseudonym under which an event is exported or erased: its user's, else its device's, else none."""
    if isinstance(event, Personal) and (event.user_id or event.device_id):
        return event.user_id or event.device_id
    about: Opportunity | None = getattr(event, "opportunity", None)
    return "" if about is None else about.user_id


def forgotten(event: Event) -> Event | None:
    """What may stay of an event of a person who is to be forgotten: nothing of what they did, and ads without them.

    >>> from datetime import UTC, datetime
    >>> from bidloop.core.event import ClickReceived, PageViewed
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> forgotten(PageViewed(event_id="e", at=at, user_id="p.anna")) is None
    True
    >>> forgotten(ClickReceived(event_id="e", at=at, impression_id="i", user_id="p.anna")).user_id
    ''
    """
    return None if isinstance(event, _BEHAVIOUR) else without_person(event)


def without_person(event: Event) -> Event:
    """The event with nobody in it."""
    changes: dict[str, object] = {name: "" for name in IDENTIFIERS if getattr(event, name, "")}
    about: Opportunity | None = getattr(event, "opportunity", None)
    if about is not None and about.user_id:
        changes["opportunity"] = msgspec.structs.replace(about, user_id="")
    return msgspec.structs.replace(event, **changes) if changes else event


def load_key(path: Path) -> bytes:
    """The secret of a house; made, for its owner's eyes only, when it is not there.

    Several machines that share a database share this file: with another key the same person gets another pseudonym.

    Raises
    ------
    ConfigurationError
        When the file cannot be read or is too short for a key.
    """
    try:
        return _read_key(path) if path.exists() else _make_key(path)
    except OSError as error:
        raise ConfigurationError(
            f"privacy key {path}: {error.strerror}", expected="a file that can be read", remedy="Check its permissions."
        ) from error


def _make_key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(os.urandom(32).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(half, path)  # of several processes that start at once, the first one's key holds
    except FileExistsError:
        pass
    finally:
        half.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    text = path.read_text().strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < 32:
        raise ConfigurationError(
            f"privacy key {path} with {len(text)} letters",
            expected="at least 64 hexadecimal digits",
            remedy="Restore it from a backup; with another key, people get other pseudonyms.",
        )
    return key


def _bare(address: str) -> str:
    """An address without query, fragment, user name and password.

    >>> _bare("https://anna:secret@shop.example/a?mail=anna@b.c#top"), _bare("mailto:anna@b.c")
    ('https://shop.example/a', 'b.c')
    """
    return _USERINFO.sub(r"\1", re.split(r"[?#]", address, maxsplit=1)[0])


_WITH_ADDRESSES = {
    kind: names
    for kind in get_args(Event)
    if (names := tuple(name for name in _ADDRESSES if name in kind.__struct_fields__))
}
