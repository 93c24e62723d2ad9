"""People at the door: they claim avatars over HTTP all the time, and write down what they met."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

import requests

PATIENCE = 15.0
"""Seconds a visitor waits for one answer."""


@dataclass
class Visits:
    """What visitors met during one fault."""

    asked: int = 0
    at_once: int = 0
    waited: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By the problem's code, or what the connection did; each was tried again until served."""
    longest_answer: float = 0.0
    longest_wait: float = 0.0
    """From the first try of a claim to its avatar."""
    served: list[str] = field(default_factory=list)

    def add(self, other: Visits) -> None:
        self.asked += other.asked
        self.at_once += other.at_once
        self.waited += other.waited
        self.refused.update(other.refused)
        self.longest_answer = max(self.longest_answer, other.longest_answer)
        self.longest_wait = max(self.longest_wait, other.longest_wait)
        self.served += other.served

    def words(self) -> str:
        parts = [f"{self.asked} claims, {self.at_once} served at once"]
        if self.waited:
            parts.append(f"{self.waited} with a ticket")
        if self.refused:
            told = ", ".join(f"{count}× {code}" for code, count in sorted(self.refused.items()))
            parts.append(f"tried again after {told}")
        parts.append(f"longest wait {self.longest_wait:.1f} s")
        return "; ".join(parts)


class Door:
    """The web server, as programs see it."""

    def __init__(self, port: int, pool: str) -> None:
        self.root = f"http://127.0.0.1:{port}/api/v1"
        self.pool = pool

    def claim(self, key: str) -> requests.Response:
        return requests.post(
            f"{self.root}/avatars/",
            json={"pool": self.pool},
            headers={"Idempotency-Key": key},
            timeout=PATIENCE,
        )

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.root}/{path}", timeout=PATIENCE)


class Visitor:
    """One claim, followed until it is served."""

    def __init__(self, door: Door, visits: Visits, key: str = "") -> None:
        self._door, self._visits = door, visits
        self.key, self._ticket = key or str(uuid4()), ""
        self._since = time.monotonic()
        visits.asked += 1

    def ask(self) -> bool:
        """One try; whether there is nothing left to ask for."""
        began = time.monotonic()
        try:
            if self._ticket:
                answer = self._door.get(f"tickets/{self._ticket}/")
            else:
                answer = self._door.claim(self.key)
        except requests.RequestException as error:
            self._visits.refused[_word(error)] += 1
            return False
        finally:
            took = time.monotonic() - began
            self._visits.longest_answer = max(self._visits.longest_answer, took)
        if answer.status_code in (200, 201, 202):
            return self._read(answer)
        self._visits.refused[f"{answer.status_code} {answer.json().get('code', '?')}"] += 1
        if answer.status_code == 404:
            self._ticket = ""
        return False

    def _read(self, answer: requests.Response) -> bool:
        body = answer.json()
        if answer.status_code == 201:
            self._served(body["id"])
            self._visits.at_once += not self._ticket
            return True
        self._ticket = body["id"]
        if body["state"] == "expired":
            self._visits.refused["ticket expired"] += 1
            self._ticket, self.key = "", str(uuid4())
            return False
        if body["state"] == "served":
            self._served(body["avatar"]["id"])
            self._visits.waited += 1
            return True
        return False

    def _served(self, avatar: str) -> None:
        self._visits.served.append(avatar)
        waited = time.monotonic() - self._since
        self._visits.longest_wait = max(self._visits.longest_wait, waited)


def _word(error: requests.RequestException) -> str:
    return "no answer" if isinstance(error, requests.Timeout) else "connection lost"


class Crowd(threading.Thread):
    """A new visitor every `every` seconds; each comes back once a second until served."""

    def __init__(self, door: Door, every: float = 5.0) -> None:
        super().__init__(name="visitors", daemon=True)
        self.visits = Visits()
        self._door, self._every = door, every
        self._waiting: list[Visitor] = []
        self._closing = threading.Event()

    def run(self) -> None:
        due = 0.0
        while not self._closing.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + self._every
                self._waiting.append(Visitor(self._door, self.visits))
            self._round()
            self._closing.wait(1.0 if self._waiting else max(0.05, due - time.monotonic()))

    def _round(self) -> None:
        self._waiting = [visitor for visitor in self._waiting if not visitor.ask()]

    def leave(self, patience: float = 60.0) -> Visits:
        """Nobody new comes; those who wait are served first."""
        self._closing.set()
        self.join()
        deadline = time.monotonic() + patience
        while self._waiting and time.monotonic() < deadline:
            self._round()
            time.sleep(0.3)
        self.visits.refused.update({"never served": len(self._waiting)} if self._waiting else {})
        return self.visits
