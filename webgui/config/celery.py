"""The server's Celery application, run as two workers so that neither delays the other:

    celery -A webgui.config.celery worker --beat -Q server    heartbeats, orders, the clock
    celery -A webgui.config.celery worker -Q ingest           deliveries, checkpoints, clearing up

The broker only rings the bell: every order is a row with a deadline, so a lost message costs
time and nothing else. The web process never imports this module.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from generator_worker.contract import INGEST_QUEUE, SERVER_QUEUE
from messaging import link, pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webgui.config.settings")

from django.conf import settings  # the variable above has to come first

from webgui.enrolment.seals import SealedTask

app: Celery[Any] = Celery("webgui", task_cls=SealedTask)
link.watch(app)
pulse.keep(app, settings.PULSE)
# A task must be over long before the broker would hand its message out again.
HARD_LIMIT = min(600, settings.VISIBILITY_TIMEOUT // 2)


def tick(task: str, seconds: float, queue: str = SERVER_QUEUE) -> dict[str, Any]:
    """A beat entry whose message is worthless once the next one is due."""
    options = {"expires": max(seconds, 10), "queue": queue}
    return {"task": task, "schedule": seconds, "options": options}


app.conf.update(
    broker_url=settings.BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # it comes back some day
    # Workers may add to our queues, and whoever has stolen a worker's password.
    broker_transport="messaging.letterbox:Transport",
    broker_transport_options={
        "letterboxes": [SERVER_QUEUE, INGEST_QUEUE],
        "visibility_timeout": settings.VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 5,
        "socket_timeout": 10,
        "socket_connect_timeout": 10,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
    # A worker without -Q does both kinds of work.
    task_queues=[
        Queue(name, Exchange(name), routing_key=name) for name in (SERVER_QUEUE, INGEST_QUEUE)
    ],
    task_default_queue=SERVER_QUEUE,
    task_create_missing_queues=True,
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    worker_max_tasks_per_child=5000,
    worker_send_task_events=False,
    worker_soft_shutdown_timeout=10,
    task_soft_time_limit=0.9 * HARD_LIMIT,
    task_time_limit=HARD_LIMIT,
    timezone="UTC",
    beat_schedule_filename=str(settings.HOME / "beat-schedule"),
    beat_schedule={
        "replenish": tick("buffer.replenish", 2),
        "reconcile": tick("buffer.reconcile", 5),
        "sweep": tick("buffer.sweep_inbox", 10, INGEST_QUEUE),
        "watch": tick("fleet.watch", 15),
        # Mail servers take their time: no heartbeat waits for one.
        "notify": tick("fleet.notify", 15, INGEST_QUEUE),
        "expire": tick("buffer.expire_tickets", 5),
        "forget": tick("buffer.forget", 3600),
        "prune": tick("buffer.prune", 6 * 3600, INGEST_QUEUE),
        "inspect": tick("registry.look_for_waiting", 10),
        "reconcile jobs": tick("studio.reconcile", 5),
        "sweep jobs": tick("studio.sweep_inbox", 10, INGEST_QUEUE),
        "forget jobs": tick("studio.forget", 6 * 3600, INGEST_QUEUE),
        "tidy uploads": tick("registry.tidy_uploads", 600, INGEST_QUEUE),
    },
)
app.autodiscover_tasks(["webgui.buffer", "webgui.fleet", "webgui.registry", "webgui.studio"])
