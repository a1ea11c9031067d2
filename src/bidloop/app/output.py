"""A file that something is written to: is there a place for it?"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from bidloop.core.errors import ConfigurationError


def check_output(output: Path) -> None:
    """Find out before any work is done whether a file can be written; its folder is made.

    Raises
    ------
    ConfigurationError
        When it is a folder, or neither it nor a file beside it can be written.
    """
    try:
        if output.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=f".{output.name}.", dir=output.parent):
            pass
        if output.exists() and not os.access(output, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written: {error.strerror}",
            expected="a file in a folder that can be written to",
            remedy="Set --output.",
        ) from error
