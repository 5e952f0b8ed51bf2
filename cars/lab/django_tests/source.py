"""The folder of Django's tests, which the installed package doesn't have."""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django


@contextmanager
def downloaded() -> Iterator[Path]:
    """Download the source distribution of the installed Django by pip; yield its folder.

    The folder is deleted at the end of the block. Raises RuntimeError, with what pip said, if the
    download fails.
    """
    with tempfile.TemporaryDirectory(prefix="django-source-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder]
        command += ["--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
        command.append(f"Django=={django.__version__}")
        pip = subprocess.run(command, capture_output=True, text=True)
        if pip.returncode:
            raise RuntimeError(f"pip can't download Django's source:\n{pip.stderr}")
        archive = next(Path(folder).glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        yield next(path for path in Path(folder).iterdir() if path.is_dir())


def tests_of(source: Path) -> Path:
    """Return the folder of the tests in `source`, a folder of Django's source.

    Raises RuntimeError if there are none, or if they are those of another version than the
    installed one.
    """
    tests = source.resolve() / "tests"
    if not (tests / "runtests.py").is_file():
        raise RuntimeError(f"{source} has no tests/runtests.py: it isn't Django's source.")
    about = source / "PKG-INFO"
    if about.is_file() and f"\nVersion: {django.__version__}\n" not in about.read_text():
        raise RuntimeError(f"{source} isn't Django {django.__version__}, the installed version.")
    return tests
