"""Workers' accounts at the broker: what a worker needs there, and nothing else.

A worker reads its own queues, keeps what it has in hand under its own keys, and adds to the
server's queues, which it can neither read nor empty. It cannot see another worker's, nor the
cache, nor ask the broker about itself. Redis 7 or newer, or Valkey.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from django.conf import settings
from redis.exceptions import NoPermissionError

from generator_worker.contract import (
    INGEST_QUEUE,
    SERVER_QUEUE,
    own_queues,
    worker_account,
)

# What kombu's consumer does with its queues and with what it has in hand.
COMMANDS = (
    *("ping", "hello", "auth", "select", "reset", "quit"),
    # Not client|setinfo: Redis 7.0 does not know it, and clients do without.
    *("client|setname", "client|getname"),
    *("brpop", "rpop", "lpush", "rpush", "llen", "exists", "del", "sadd", "set", "get"),
    *("zadd", "zrem", "zrange", "zrevrange", "zrevrangebyscore", "hset", "hget", "hdel"),
    # Of scripts only those that the server has loaded: kombu's release of its lock.
    *("multi", "exec", "discard", "watch", "unwatch", "evalsha"),
)
IN_HAND = ("unacked", "unacked_index", "unacked_mutex")
BINDINGS = ("_kombu.binding", "_kombu.binding_permanent")
# kombu keeps messages of other priorities in lists named so; the last sign is the priority.
PRIORITIES = "\x06\x16"


class BrokerFault(Exception):
    """The broker did not do as it was told; the message says why and what to do."""


def rules(worker: str, password: str) -> list[str]:
    """The account, as `ACL SETUSER` takes it. `password` is its SHA-256."""
    own = [*own_queues(worker), *(f"{queue}{PRIORITIES}?" for queue in own_queues(worker))]
    own += [f"{kind}:{worker}" for kind in IN_HAND]
    own += [f"{kind}.{queue}" for kind in BINDINGS for queue in own_queues(worker)]
    offers = " ".join(f"%W~{queue}" for queue in (SERVER_QUEUE, INGEST_QUEUE))
    return [
        "reset", "on", f"#{password}", "-@all",
        *(f"+{command}" for command in COMMANDS),
        *(f"~{key}" for key in own),
        f"(-@all +lpush {offers})",
    ]  # fmt: skip


def admit(worker: str, password: str, anew: bool = False) -> None:
    """`anew` ends the connections that the account has by its old password."""
    with _connection() as broker:
        if anew:
            broker.execute_command("ACL", "DELUSER", worker_account(worker))
        broker.execute_command("ACL", "SETUSER", worker_account(worker), *rules(worker, password))
        _save(broker)


def expel(worker: str) -> None:
    """Close the account, its connections with it, and drop what waits in its queues: every order
    is a row, and goes to another worker."""
    with _connection() as broker:
        broker.execute_command("ACL", "DELUSER", worker_account(worker))
        _save(broker)
        keys = [f"{kind}:{worker}" for kind in IN_HAND]
        for queue in own_queues(worker):
            keys += [queue, *(f"{queue}{PRIORITIES}{step}" for step in (3, 6, 9))]
            keys += [f"{kind}.{queue}" for kind in BINDINGS]
        broker.delete(*keys)


def accounts() -> set[str]:
    """The workers' accounts that the broker knows."""
    with _connection() as broker:
        users = broker.execute_command("ACL", "USERS")
    names = {user.decode() if isinstance(user, bytes) else user for user in users}
    return {name for name in names if name.startswith(worker_account(""))}


@contextmanager
def _connection() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(
        settings.BROKER_ADMIN_URL, socket_timeout=10, socket_connect_timeout=5
    )
    try:
        yield client
    except NoPermissionError as error:
        raise BrokerFault(
            "The broker does not let this account manage others: set "
            "STYLEDIFFUSER_BROKER_ADMIN_URL to one that may."
        ) from error
    except redis.RedisError as error:
        # Its own text: what redis-py says of an address may hold the password.
        raise BrokerFault(
            f"The broker does not do it ({type(error).__name__}). It has to be Redis 7 or newer, "
            "or Valkey, and up."
        ) from error
    finally:
        client.close()


def _save(broker: redis.Redis) -> None:
    try:
        broker.execute_command("ACL", "SAVE")
    except redis.ResponseError as error:
        raise BrokerFault(
            "The broker keeps no accounts beyond its next start: give it an `aclfile`, as "
            "deploy/redis does, then run `manage.py sync_workers`."
        ) from error
