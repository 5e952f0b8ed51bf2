"""The command: `python -m benchmarks`."""

import argparse
import shlex
import shutil
import sys
import time
from pathlib import Path

from cars.lab import servers

from . import __doc__ as description
from . import report, run
from .surroundings import surroundings
from .targets import verdicts

RESULTS = Path(__file__).parent / "results"
QUICK_ROWS = 10_000


def main() -> int:
    """Run the benchmarks, print the verdicts and write the results; return the status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    parser.add_argument("--quick", action="store_true", help="less of everything; writes nothing")
    parser.add_argument(
        "--rows",
        type=int,
        default=1_000_000,
        help="the most cars among which hits are timed (%(default)s)",
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where the results go (results/)")
    options = parser.parse_args()
    if missing := missing_programs():
        names = " ".join(missing)
        parser.error(f"not on this machine: {names} (Debian: apt install {names})")
    effort = run.QUICK if options.quick else run.Effort()
    rows = min(options.rows, QUICK_ROWS) if options.quick else options.rows
    folder = options.to or (None if options.quick else RESULTS)

    started = time.monotonic()
    try:
        samples, profile = run.run(effort, rows, options.profile)
    except RuntimeError as error:
        sys.exit(f"The benchmarks have failed: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; the results are as they were.")
    minutes = (time.monotonic() - started) / 60

    for verdict in verdicts(samples):
        print(verdict)
    if profile:
        print(profile)
    if folder:
        command = ["python", "-m", "benchmarks", *["--quick"] * options.quick, f"--rows={rows}"]
        report.write(folder, samples, surroundings(shlex.join(command), minutes))
        print(f"Written: {', '.join(report.FILES)} in {folder}")
    return 0


def missing_programs() -> list[str]:
    """Return the names of the programs that a run needs and this machine doesn't have."""
    missing = [name for name in ("memcached", "redis-server", "wrk") if not shutil.which(name)]
    return missing if servers.has_postgresql() else [*missing, "postgresql"]


if __name__ == "__main__":
    sys.exit(main())
