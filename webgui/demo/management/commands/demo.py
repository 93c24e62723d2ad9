from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from webgui.config import environment
from webgui.demo import prefill, prepare, services
from webgui.demo.console import Console
from webgui.demo.ground import Taken, hold_home, listen
from webgui.demo.process import Service
from webgui.demo.supervisor import Supervisor

PATIENCE = 90.0
"""Seconds after which the address is shown though the buffer is still empty: the page says so."""


class Command(BaseCommand):
    help = "Run the whole service on this machine: broker, SFTP, both workers and the web server."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        home = settings.HOME
        try:
            port = environment.number("PORT", 8000, least=1)
            with hold_home(home), listen(port) as web:
                _Demo(home, port, web).run()
        except (Taken, ImproperlyConfigured) as refusal:
            raise CommandError(str(refusal)) from None
        except OperationalError as error:
            raise CommandError(
                f"The database does not work: {error}\n"
                "Look at STYLEDIFFUSER_DATABASE_URL, or leave it out for SQLite."
            ) from None


class _Demo:
    def __init__(self, home: Path, port: int, web: Any) -> None:
        self.began = time.monotonic()
        self.home, self.port, self.web = home, port, web
        self.console = Console()
        self.supervisor = Supervisor(self.console.say)

    def run(self) -> None:
        self.supervisor.heed_signals()
        self.console.say(f"StyleDiffuser demo, state in {self.home}")
        try:
            self._start()
            if self._prefill():
                self._welcome()
            while self.supervisor.rest():
                pass
        finally:
            self.console.say("Stopping.")
            self.supervisor.end()
            self.console.say("Stopped; nothing is left running.")

    def _start(self) -> None:
        """Start all. What the first visitor waits for comes first: on an empty buffer the
        generator, which takes its time to load the models; else the web server."""
        fresh = not (self.home / "worker").exists()
        plan = services.plan(self.home, self.web)
        self._launch(services.broker(plan), "broker", f"Valkey on port {plan.broker_port}")
        if fresh:
            self._launch(services.generator(plan), "generator", "one worker")
        prepare.migrate()
        self.console.step("database", connection.vendor)
        self.console.step("release", prepare.load_release())
        self.password = prepare.ensure_admin()
        self._launch(services.web(plan), "web", f"port {self.port}")
        self._launch(services.server_worker(plan), "server", "worker and beat")
        self._launch(services.ingest_worker(plan), "ingest", "a worker for deliveries")
        self._launch(services.sftp(plan), "deliveries", "SFTP, keys in keys/")
        if not fresh:
            while self.supervisor.rest(0.2) and not prefill.answers(self.port):
                pass
            self._launch(services.generator(plan), "generator", "one worker")

    def _launch(self, service: Service, what: str, outcome: str) -> None:
        if not self.supervisor.stopping:
            self.supervisor.start(service)
            self.console.step(what, outcome)

    def _prefill(self) -> bool:
        """Wait for the first images and the web server. False if told to stop meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while self.supervisor.rest():
            filling = prefill.look(prepare.POOL)
            self.console.bar("buffer", filling.fraction, filling.words)
            ready = filling.available or time.monotonic() > deadline
            if ready and prefill.answers(self.port):
                return True
        return False

    def _welcome(self) -> None:
        say = self.console.say
        say(f"\nReady after {time.monotonic() - self.began:.0f} s:  http://127.0.0.1:{self.port}/")
        say(f"  API          http://127.0.0.1:{self.port}/api/docs/")
        if self.password:
            say(f"  admin        http://127.0.0.1:{self.port}/admin/")
            say(f"               user {prepare.ADMIN}, password {self.password} (shown only now)")
        else:
            say(f"  admin        http://127.0.0.1:{self.port}/admin/, user {prepare.ADMIN}")
            say("               new password: .venv/bin/python manage.py changepassword admin")
        say(f"  logs         {self.home / 'logs'}")
        say("Ctrl-C stops everything.")
        connection.close()
