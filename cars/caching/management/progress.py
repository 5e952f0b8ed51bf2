"""A progress bar: tqdm's if it is installed, else a line with a percentage or a number."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None  # type: ignore[assignment, misc]  # not installed


@contextmanager
def progress(total: int | None, title: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how many are done, in a terminal only; yield a function that adds to them.

    With a `total`, which isn't passed, as a percentage of it.
    """
    done = 0
    bar = tqdm(total=total, desc=title, unit=unit, disable=None) if tqdm is not None else None
    line = bar is None and sys.stderr.isatty() and total != 0

    def advance(count: int) -> None:
        nonlocal done
        if total is not None:
            count = min(count, total - done)
        done += count
        if bar is not None:
            bar.update(count)
        elif line:
            shown = f"{done} {unit}s" if total is None else f"{100 * done // total} %"
            sys.stderr.write(f"\r{title}: {shown}")
            sys.stderr.flush()

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()
        elif line and done:
            sys.stderr.write("\n")
