"""What a worker needs, looked at before it takes work: `python -m generator_worker preflight`.

A failure means that it could do no work at all; a warning, that some will go wrong or slowly. Run
in a process of its own, because looking at the device imports torch, and so that a driver that
crashes becomes a finding as well.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko

from generator_worker import disk, memory
from generator_worker.config import Config
from generator_worker.contract import Finding, own_queues
from generator_worker.delivery import NEW, TMP, DeliveryError, explain, session
from generator_worker.fetching import CHECKPOINTS

GIB, MIB = 2**30, 2**20
CLOCK_SECONDS = 5.0
"""A clock further off than this deserves a word."""
CHECKS = ("disk", "broker", "sftp", "clock", "device", "memory", "releases")


def examine(config: Config, seconds: float) -> Iterator[Finding]:
    """Each thing in turn. Releases are loaded one after the other for so many seconds."""
    yield disk_finding(config)
    yield _broker(config)
    yield from _server(config)
    yield from _models(config, seconds)


def ok(check: str, detail: str) -> Finding:
    return Finding(check=check, level="ok", detail=detail[:500])


def warning(check: str, detail: str, advice: str) -> Finding:
    return Finding(check=check, level="warning", detail=detail[:500], advice=advice)


def failure(check: str, detail: str, advice: str) -> Finding:
    return Finding(check=check, level="failure", detail=detail[:500], advice=advice)


def disk_finding(config: Config) -> Finding:
    try:
        config.home.mkdir(parents=True, exist_ok=True)
        probe = config.home / f".preflight-{os.getpid()}"
        disk.write_synced(probe, b"probe")
        probe.unlink()
        free = disk.free(config.home)
    except OSError as error:
        advice = "Let STYLEDIFFUSER_WORKER_HOME name a folder that this user may write to."
        return failure("disk", f"{config.home}: {error}", advice)
    said = f"{free // MIB} MiB free at {config.home}"
    if free < config.min_free_mib * MIB:
        return failure(
            "disk",
            f"{said}; STYLEDIFFUSER_MIN_FREE_MIB asks for {config.min_free_mib}",
            "Make room there, or lower STYLEDIFFUSER_RELEASE_CACHE_MIB.",
        )
    return ok("disk", said)


def _broker(config: Config) -> Finding:
    from generator_worker.app import celery_app

    app = celery_app(config)
    where = app.connection_for_write().as_uri()  # without the password
    advice = (
        "Check STYLEDIFFUSER_BROKER_URL: is the broker up, can this host reach it, and is the "
        "password the one that `manage.py add_worker` printed at the server?"
    )
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=1, timeout=10)
            client: Any = connection.default_channel
            waiting = sum(client.client.llen(queue) for queue in own_queues(config.worker_name))
    except Exception as error:  # whatever the transport raises
        return failure("broker", f"{where}: {_said(error)}", advice)
    return ok("broker", f"{where}, {waiting} messages wait")


def _server(config: Config) -> Iterator[Finding]:
    """The SFTP server, by doing what a delivery does; its files' times tell its clock."""
    folder = str(TMP / f"preflight-{os.getpid()}.{config.worker_name}")
    where = f"{config.sftp_user}@{config.sftp_host}:{config.sftp_port}"
    try:
        with session(config) as sftp:
            offset, unsure = _write_rename_delete(sftp, folder)
            sftp.stat(str(NEW))
            sftp.listdir(str(CHECKPOINTS))
    except FileNotFoundError as error:
        said = f"{where} has no {TMP}, {NEW} or {CHECKPOINTS} ({error})"
        yield failure("sftp", said, "Is it the server's SFTP side, and its chroot complete?")
    except DeliveryError as error:
        yield failure("sftp", str(error), "`manage.py add_worker` at the server prints both keys.")
    except PermissionError as error:
        said = f"{where} let this worker in and refused to write, rename or delete: {error}"
        yield failure("sftp", said, "Check the owner and mode of inbox/tmp and inbox/new there.")
    except (OSError, EOFError, paramiko.SSHException) as error:
        advice = "Check STYLEDIFFUSER_SFTP_HOST, _PORT, _USER, _KEY and _HOST_KEY."
        yield failure("sftp", explain(config, error), advice)
    else:
        yield ok("sftp", f"{where}: wrote, renamed and deleted")
        yield clock_finding(config, offset, unsure)


def _write_rename_delete(sftp: paramiko.SFTPClient, folder: str) -> tuple[float, float]:
    """By how many seconds the server's clock is ahead of ours, and how sure that is."""
    sftp.mkdir(folder)
    try:
        before = time.time()
        with sftp.open(f"{folder}/probe", "wb") as file:
            file.write(b"probe")
        after = time.time()
        stamp = sftp.stat(f"{folder}/probe").st_mtime or 0
        sftp.posix_rename(f"{folder}/probe", f"{folder}/renamed")
        sftp.remove(f"{folder}/renamed")
    finally:
        for name in sftp.listdir(folder):
            sftp.remove(f"{folder}/{name}")
        sftp.rmdir(folder)
    # Times over SFTP are whole seconds, cut off.
    return stamp + 0.5 - (before + after) / 2, 0.5 + (after - before) / 2


def clock_finding(config: Config, offset: float, unsure: float) -> Finding:
    """A wrong clock spoils what depends on when a message was sent, not the images."""
    if abs(offset) <= CLOCK_SECONDS + unsure:
        return ok("clock", f"within {math.ceil(abs(offset) + unsure)} s of the server's")
    said = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the server's clock"
    advice = "Keep both hosts' clocks right by NTP (chrony, systemd-timesyncd)."
    if abs(offset) >= config.visibility_timeout / 2:
        # Messages would be handed out again while they are worked on.
        return failure("clock", said, advice)
    return warning("clock", said, advice)


def _models(config: Config, seconds: float) -> Iterator[Finding]:
    try:
        import torch

        device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        ones = torch.ones(64, 64, device=device)
        if (ones @ ones).sum().item() != 64**3:
            raise ArithmeticError("it multiplies wrongly")
    except Exception as error:
        named = config.device or "the chosen device"
        advice = "Check STYLEDIFFUSER_DEVICE, `nvidia-smi`, and that torch fits the driver."
        yield failure("device", f"{named}: {_said(error)}", advice)
        return
    if device == "cpu" and not config.device and shutil.which("nvidia-smi"):
        advice = "Install a torch that fits the driver, or set STYLEDIFFUSER_DEVICE=cpu."
        yield warning("device", "cpu, though this host has nvidia-smi: torch sees no GPU", advice)
    elif device == "cpu":
        yield ok("device", f"cpu, {torch.get_num_threads()} threads")
    else:
        yield ok("device", f"{device}: {torch.cuda.get_device_name(device)}")
    yield memory_finding(config)
    yield from _releases(config, seconds)


def memory_finding(config: Config) -> Finding:
    total = memory.of_device(config.device)
    free = memory.free(config.device)
    budget = config.memory_mib * MIB or int(memory.BUDGET * total)
    said = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free; for releases {budget / GIB:.1f}"
    if free < budget:
        advice = "Lower STYLEDIFFUSER_MEMORY_MIB, or end the other programs that use it."
        return warning("memory", said, advice)
    return ok("memory", said)


def _releases(config: Config, seconds: float) -> Iterator[Finding]:
    """Load those that are here, the last used first. A bad one spoils no other; something that
    spoils loading as such does."""
    from generator_worker.engine import Engine
    from generator_worker.refusals import Refusal

    # So small a budget that each goes before the next comes. Without a source: nothing is fetched.
    engine = Engine((*config.releases, config.release_cache), config.device, budget=1)
    here = sorted(engine.here().items(), key=lambda item: -item[1].stat().st_mtime)
    loaded, end = 0, time.monotonic() + seconds
    for digest, folder in here:
        if time.monotonic() > end and loaded:
            break
        try:
            engine.release(digest)
            loaded += 1
        except Refusal as refusal:
            yield warning("releases", str(refusal), _mend(config, folder))
        except Exception as error:
            advice = "The installation is broken: install the `worker` extra again."
            yield failure("releases", f"{folder}: {_said(error)}", advice)
            return
    yield ok(
        "releases", f"loaded {loaded} of the {len(here)} that are here" if here else "none yet"
    )


def _mend(config: Config, folder: Path) -> str:
    if folder.parent == config.release_cache:
        return "It is fetched again when an order needs it."
    return f"Copy the bundle to {folder} again, or remove it and let it be fetched."


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
