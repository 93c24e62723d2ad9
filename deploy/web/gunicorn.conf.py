"""gunicorn behind nginx: `gunicorn -c gunicorn.conf.py webgui.config.wsgi`."""

import os

from messaging import logs

bind = os.environ.get("WEB_BIND", "0.0.0.0:8000")
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))
# Longer than nginx keeps an idle connection to us: it must never send into one just closed.
keepalive = 75
# A stuck worker is replaced; an upload of gigabytes goes on in a thread and is none.
timeout = 60
graceful_timeout = 30
max_requests = 20_000
max_requests_jitter = 2_000
# Where containers have memory instead of a disk that may block the heartbeat.
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True
accesslog = None  # nginx has it, with the same request ids
errorlog = "-"
loglevel = "warning"
# In one form with all other lines; the application sets up its own loggers.
logconfig_dict = logs.settings("WARNING", os.environ.get("STYLEDIFFUSER_LOG_FORMAT") or "text") | {
    "loggers": {"gunicorn.error": {"level": "WARNING", "handlers": ["stderr"], "propagate": False}}
}
