"""What one call of the program tells the next, which does the work in its place."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["LONGEST", "VARIABLE", "Mark"]

#: In the environment, until the worker's steps are made: what the worker starts later shall not see it.
VARIABLE = "BOOTSTEPS_LAUNCHED"
#: Bytes of the worst that a start can have to say.
LONGEST = 65536


class Mark(NamedTuple):
    """How this process came to be."""

    #: It was put into the background.
    detached: bool = False
    #: The descriptor on which it tells who started it how the start went; None: nobody waits.
    line: int | None = None
    #: An init of ours is above it.
    has_init: bool = False

    @classmethod
    def read(cls) -> Mark | None:
        """Return what the environment says; None: this is the first call."""
        text = os.environ.get(VARIABLE)
        if text is None:
            return None
        words = text.split(",")
        line = next((int(word[5:]) for word in words if word.startswith("line=")), None)
        return cls("detached" in words, line, "init" in words)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process of which all this is true."""
        words = ["detached"] if self.detached else []
        words += [f"line={self.line}"] if self.line is not None else []
        words += ["init"] if self.has_init else []
        return os.environ | {VARIABLE: ",".join(words)}
