"""What was run, where and when, so that the numbers can be compared."""

import os
import platform
import re
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cars.lab import servers

PACKAGES = (
    "Django", "pymemcache", "psycopg", "django-cacheops", "redis", "django-cachalot", "gunicorn",
)  # fmt: skip


def surroundings(command: str, minutes: float) -> dict[str, Any]:
    """Return `command` and how long it took, the date, the machine and the versions."""
    return {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "minutes": round(minutes, 1),
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "memory in GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
            "load average at the end": [round(load, 1) for load in os.getloadavg()],
            "system": platform.platform(),
        },
        "versions": {
            "Python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
            "SQLite": sqlite3.sqlite_version,
            "PostgreSQL": _version(str(servers.postgresql_programs() / "postgres"), "--version"),
            "Memcached": _version("memcached", "--version"),
            "Redis": _version("redis-server", "--version"),
            "wrk": _version("wrk", "--version"),
        },
    }


def _version(*command: str) -> str:
    """Return the first version number in the output of the command."""
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or "unknown"
