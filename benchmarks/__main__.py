"""The command: `python -m benchmarks`."""

import argparse
import shlex
import shutil
import sys
import time
from pathlib import Path

from cars.lab import servers

from . import __doc__ as description
from . import compare, docs, report, run
from .surroundings import surroundings
from .targets import verdicts

QUICK_ROWS = 10_000
TESTS = "manage.py test cars.tests.recipe.test_figures"  # they tell which sentences are out of date
PROGRAMS = ("memcached", "redis-server", "wrk")
COMPARE_PROGRAMS = ("memcached", "git", "tar")


def main() -> int:
    """Run the benchmarks, print the verdicts and write the results; return the status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    parser.add_argument("--quick", action="store_true", help="measure less, and write nothing")
    parser.add_argument(
        "--rows",
        type=int,
        default=1_000_000,
        help="time hits among at most this many cars (%(default)s)",
    )
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="where to write the results (results/)"
    )
    parser.add_argument("--base", metavar="REVISION", help="only compare with this revision")
    parser.add_argument(
        "--again", action="store_true", help="only write the tables of the last run again"
    )
    options = parser.parse_args()
    if options.again:
        samples, about = report.read(report.RESULTS)
        report.write(report.RESULTS, samples, about)
        docs.write(samples)
        return 0
    if missing := missing_programs(COMPARE_PROGRAMS if options.base else PROGRAMS):
        names = " ".join(missing)
        parser.error(f"not installed: {names} (Debian: apt install {names})")
    if options.base:
        return compare_with(options.base, options.quick)
    effort = run.QUICK if options.quick else run.Effort()
    rows = min(options.rows, QUICK_ROWS) if options.quick else options.rows
    folder = options.to or (None if options.quick else report.RESULTS)

    started = time.monotonic()
    try:
        samples, profile = run.run(effort, rows, options.profile)
    except RuntimeError as error:
        sys.exit(f"The benchmarks failed: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped. No results were written.")
    minutes = (time.monotonic() - started) / 60

    for verdict in verdicts(samples):
        print(verdict)
    if profile:
        print(profile)
    if folder:
        command = ["python", "-m", "benchmarks", *["--quick"] * options.quick, f"--rows={rows}"]
        report.write(folder, samples, surroundings(shlex.join(command), minutes))
        print(f"Written: {', '.join(report.FILES)} in {folder}")
    if folder == report.RESULTS:
        docs.write(samples)
        print(f"Written: the tables of {', '.join(docs.PAGES)}. Now run the tests: {TESTS}")
    return 0


def compare_with(revision: str, quick: bool) -> int:
    """Print how this checkout compares with `revision`; return the status."""
    effort = compare.QUICK if quick else compare.Effort()
    try:
        comparisons = compare.compare(revision, effort)
    except RuntimeError as error:
        sys.exit(f"The comparison failed: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    print(compare.table(revision, comparisons, effort))
    return 0


def missing_programs(names: tuple[str, ...]) -> list[str]:
    """Return which of the programs `names`, and PostgreSQL, are not installed."""
    missing = [name for name in names if not shutil.which(name)]
    return missing if servers.has_postgresql() else [*missing, "postgresql"]


if __name__ == "__main__":
    sys.exit(main())
