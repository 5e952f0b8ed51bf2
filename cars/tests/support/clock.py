"""The pauses of one module of the recipe, without those of others."""

import time
from types import SimpleNamespace
from unittest.mock import patch


def pauses(module, pause):
    """Let `module` call `pause(seconds)` in place of `time.sleep`, which others still call.

    `time` is one module for all: with `sleep` replaced there, the pauses of a listing that waits
    for another client's, or of another thread, would be taken for those of `module`.
    """
    return patch.object(module, "time", SimpleNamespace(**{**vars(time), "sleep": pause}))
