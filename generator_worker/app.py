"""The worker's Celery application. Start it with `python -m generator_worker`.

The main process imports neither torch nor numpy: CUDA cannot follow a fork, so all model code
is imported in the pool's one child.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from generator_worker.config import Config, software
from generator_worker.contract import live_queue, worker_queue
from generator_worker.duty import DutyBook
from generator_worker.faulty import FaultyReleases
from generator_worker.journal import Journal
from generator_worker.ledger import Ledger
from generator_worker.outbox import Outbox
from generator_worker.reports import Reports
from messaging import link, logs, seals, traces

config = Config.from_env()
logs.hide_passwords(config.broker_url)


def celery_app(config: Config) -> Celery[Any]:
    app: Celery[Any] = Celery(
        "generator_worker", broker=config.broker_url, task_cls=traces.TracedTask
    )
    link.watch(app)
    app.conf.update(
        include=["generator_worker.tasks", "generator_worker.lifecycle"],
        # Each with its own exchange: on a shared one every message reaches both.
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in _queues(config)],
        task_default_queue=worker_queue(config.worker_name),
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        # A task is only done when its batch is on our disk; a killed process gives it back.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # A message longer in hand than the visibility timeout is handed out a second time.
        task_time_limit=config.visibility_timeout / 2,
        task_soft_time_limit=config.visibility_timeout / 2 - 20,
        # The solo pool loses tasks on shutdown, threads ignore time limits.
        worker_pool="prefork",
        worker_concurrency=1,
        worker_max_tasks_per_child=config.tasks_per_child,
        # On a busy host a new child needs a while to import what it works with.
        worker_proc_alive_timeout=60,
        worker_soft_shutdown_timeout=config.soft_shutdown,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
        broker_transport_options=_transport(config),
    )
    return app


def _queues(config: Config) -> tuple[str, ...]:
    """In the order in which they are read: see `queue_order_strategy`."""
    name = config.worker_name
    return live_queue(name), worker_queue(name)


def _transport(config: Config) -> dict[str, Any]:
    name = config.worker_name
    return {
        "visibility_timeout": config.visibility_timeout,
        "unacked_restore_interval": 30,
        "unacked_restore_throttle": 1,
        # Always the first queue that holds something, instead of each in turn.
        "queue_order_strategy": "priority",
        # What this worker has in hand is no other worker's to see or hand out again.
        "unacked_key": f"unacked:{name}",
        "unacked_index_key": f"unacked_index:{name}",
        "unacked_mutex_key": f"unacked_mutex:{name}",
        # A half-open link is noticed within seconds instead of never.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def take_back(app: Celery[Any]) -> int:
    """Put what a killed process of this worker had in hand back to the head of its queues, and
    say how much that was. To be called while no process of this worker consumes."""
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        # Newest first: each goes before those put back earlier.
        tags = channel.client.zrevrange(channel.unacked_index_key, 0, -1)
        for tag in tags:
            channel.qos.restore_by_tag(tag.decode())
    return len(tags)


app = celery_app(config)


def outbox() -> Outbox:
    return Outbox(config.home / "outbox")


def journal() -> Journal:
    return Journal(config.home / "orders")


def duty() -> DutyBook:
    return DutyBook(config.home / "duty")


def faulty() -> FaultyReleases:
    return FaultyReleases(config.home / "faulty.json", software())


def ledger() -> Ledger:
    return Ledger(config.home / "ledger.json")


def reports(sender: Celery[Any]) -> Reports:
    return Reports(sender, config.worker_name, seals.key_of(config.broker_url))
