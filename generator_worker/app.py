"""The worker's Celery application. Start it with `python -m generator_worker`.

The main process imports neither torch nor numpy: CUDA cannot follow a fork, so all model code
is imported in the pool's one child.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from generator_worker.config import Config
from generator_worker.contract import GENERATE_QUEUE, worker_queue
from generator_worker.journal import Journal
from generator_worker.outbox import Outbox
from generator_worker.reports import Reports
from messaging import link

config = Config.from_env()
app: Celery[Any] = Celery("generator_worker", broker=config.broker_url, task_cls=link.WatchedTask)
link.watch(app)
app.conf.update(
    include=["generator_worker.tasks", "generator_worker.lifecycle"],
    # Each with its own exchange: on a shared one every message reaches both.
    task_queues=[
        Queue(name, Exchange(name), routing_key=name)
        for name in (GENERATE_QUEUE, worker_queue(config.worker_name))
    ],
    task_default_queue=worker_queue(config.worker_name),
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    # A task is only done when its batch is on our disk; a killed process gives it back.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # A message longer in hand than the visibility timeout is handed to a second worker.
    task_time_limit=config.visibility_timeout / 2,
    task_soft_time_limit=config.visibility_timeout / 2 - 20,
    # The solo pool loses tasks on shutdown, threads ignore time limits.
    worker_pool="prefork",
    worker_concurrency=1,
    worker_max_tasks_per_child=200,
    # On a busy host a new child needs a while to import what it works with.
    worker_proc_alive_timeout=60,
    worker_soft_shutdown_timeout=config.soft_shutdown,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=5,
    # A half-open link is noticed within seconds instead of never.
    broker_transport_options={
        "visibility_timeout": config.visibility_timeout,
        "unacked_restore_interval": 30,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
)


def outbox() -> Outbox:
    return Outbox(config.home / "outbox")


def journal() -> Journal:
    return Journal(config.home / "orders")


def reports(sender: Celery[Any]) -> Reports:
    return Reports(sender, config.worker_name)
