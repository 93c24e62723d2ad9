"""The worker's settings, all from the environment (prefix `STYLEDIFFUSER_`)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

from generator_worker.contract import VISIBILITY_TIMEOUT, worker_account

PREFIX = "STYLEDIFFUSER_"
_SHIPPED_RELEASES = Path(__file__).resolve().parent.parent / "models_core" / "releases"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class ConfigError(ValueError):
    """A setting is missing or unusable; the message names it and says what to set."""


@dataclass(frozen=True)
class Config:
    worker_name: str
    broker_url: str
    sftp_host: str
    sftp_port: int
    sftp_user: str
    sftp_key: Path
    sftp_host_key: str
    """The server's public key line (`ssh-ed25519 AAAA…`); any other server is refused."""
    home: Path
    """The worker's own disk: the spool of finished batches lives here."""
    releases: tuple[Path, ...]
    """Release folders, or folders of them; searched in this order."""
    release_cache_mib: int
    """What releases fetched from the server may take on the worker's disk."""
    device: str | None
    """A torch device such as `cuda:0`; None lets the model choose."""
    memory_mib: int
    """What loaded releases may take of the device's memory; 0: a share of what there is."""
    min_free_mib: int
    """With less left on its disk a worker takes on nothing."""
    batch_seconds: float
    """The longest a batch may be drawn at."""
    tasks_per_child: int
    """After so many tasks the drawing process is replaced by a fresh one."""
    visibility_timeout: int
    """Seconds until the broker hands out an unacknowledged message again; the server's."""
    metrics_host: str
    metrics_port: int
    """Where Prometheus may scrape this worker; 0: nowhere."""
    log_level: str
    log_format: Literal["text", "json"]
    soft_shutdown: float
    """Seconds a stopping worker lets the running batch go on before handing it back."""

    @property
    def release_cache(self) -> Path:
        return self.home / "releases"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        get = _Reader(env)
        home = Path(get("HOME", "var"))
        name = get.name("WORKER_NAME", _host_name())
        return cls(
            worker_name=name,
            broker_url=get("BROKER_URL", "redis://127.0.0.1:6379/0"),
            sftp_host=get("SFTP_HOST", "127.0.0.1"),
            sftp_port=int(get.number("SFTP_PORT", 22, low=1, high=65535)),
            sftp_user=get("SFTP_USER", worker_account(name)),
            sftp_key=Path(get("SFTP_KEY", str(home / "keys" / "worker_key"))),
            sftp_host_key=get("SFTP_HOST_KEY", ""),
            home=Path(get("WORKER_HOME", str(home / "worker"))),
            releases=get.paths("RELEASES", (_SHIPPED_RELEASES,)),
            release_cache_mib=int(get.number("RELEASE_CACHE_MIB", 20_480, low=1, high=100_000_000)),
            device=get("DEVICE", "") or None,
            memory_mib=int(get.number("MEMORY_MIB", 0, low=0, high=100_000_000)),
            min_free_mib=int(get.number("MIN_FREE_MIB", 512, low=0, high=100_000_000)),
            batch_seconds=get.number("BATCH_SECONDS", 600, low=1, high=86_400),
            tasks_per_child=int(get.number("TASKS_PER_CHILD", 200, low=1, high=1_000_000)),
            visibility_timeout=int(
                get.number("VISIBILITY_TIMEOUT", VISIBILITY_TIMEOUT, low=60, high=86_400)
            ),
            metrics_host=get("METRICS_HOST", "127.0.0.1"),
            metrics_port=int(get.number("METRICS_PORT", 0, low=0, high=65535)),
            log_level=get.choice("LOG_LEVEL", "INFO", _LEVELS),
            log_format=get.choice("LOG_FORMAT", "text", ("text", "json")),
            soft_shutdown=get.number("SOFT_SHUTDOWN", 70, low=0, high=3600),
        )


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env

    def __call__(self, key: str, default: str) -> str:
        return self.env.get(PREFIX + key, "").strip() or default

    def name(self, key: str, default: str) -> str:
        value = self(key, default)
        # So ends the name of another worker's queue.
        if not _NAME.fullmatch(value) or value.endswith((".live", ".cancel")):
            raise ConfigError(
                f"{PREFIX}{key}={value!r}: use 1 to 63 letters, digits, dots, dashes or "
                "underscores, beginning with a letter or digit and not ending in .live or .cancel."
            )
        return value

    def choice(self, key: str, default: str, choices: Sequence[str]) -> Any:
        value = self(key, default)
        if value not in choices:
            raise ConfigError(f"{PREFIX}{key}={value!r}: set one of {', '.join(choices)}.")
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        value = self(key, str(default))
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise ConfigError(f"{PREFIX}{key}={value!r}: set a number from {low} to {high}.")
        return number

    def paths(self, key: str, default: tuple[Path, ...]) -> tuple[Path, ...]:
        value = self(key, "")
        return tuple(Path(part) for part in value.split(os.pathsep) if part) or default


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:63] or "worker"


def software() -> str:
    """Name and version of this program, as manifests and heartbeats carry it."""
    try:
        return f"stylediffuser {version('stylediffuser')}"
    except PackageNotFoundError:
        return "stylediffuser (not installed)"
