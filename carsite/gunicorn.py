"""How gunicorn serves the site in production: gunicorn --config python:carsite.gunicorn

`WEB_CONCURRENCY` and `WEB_THREADS` set the number of processes, and of threads in each. The command
line and GUNICORN_CMD_ARGS override what stands here.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

wsgi_app = "carsite.wsgi"
bind = "0.0.0.0:8000"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))
# In memory, since a slow disk would block the heartbeat of the workers.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True

# gunicorn's own lines look as the site's.
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "carsite.logs.Formatter", "one_line": True}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "gunicorn.error": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": [], "propagate": False},  # the proxy has an access log
    },
    "root": {"handlers": ["console"], "level": "INFO"},
}


def on_starting(server: Any) -> None:
    """Tell the settings the number of threads, and empty the folder of the metrics.

    The number can be the command line's. The folder has files of processes that have ended.
    """
    os.environ["WEB_THREADS"] = str(server.cfg.threads)
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True, exist_ok=True)


def child_exit(server: Any, worker: Any) -> None:
    """Tell the metrics that `worker` has ended."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
