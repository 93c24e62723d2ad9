"""What several threads ask for at the same moment, asked for by one of them for all.

A way to the database or the cache costs much the same for one question as for ten. So whoever
comes while another is on the way waits for its return, and then one goes for all who have come
meanwhile. Who comes alone goes at once and notices nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Place(Generic[Question, Answer]):
    """Somebody's place in line, and what became of it."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answer: Answer
        self.error: BaseException | None = None
        self.over = False


class Together(Generic[Question, Answer]):
    """`go` answers questions in their order, or raises: then all of them have failed."""

    def __init__(self, go: Callable[[Sequence[Question]], Sequence[Answer]], most: int) -> None:
        self._go = go
        self._most = most
        self._line: deque[_Place[Question, Answer]] = deque()
        self._way = threading.Lock()

    def ask(self, question: Question) -> Answer:
        place: _Place[Question, Answer] = _Place(question)
        self._line.append(place)
        with self._way:
            while not place.over:
                self._go_for_all()
        if place.error is not None:
            raise place.error
        return place.answer

    def _go_for_all(self) -> None:
        places = [self._line.popleft() for _ in range(min(self._most, len(self._line)))]
        try:
            answers = self._go([place.question for place in places])
            for place, answer in zip(places, answers, strict=True):
                place.answer = answer
        except BaseException as error:
            for place in places:
                place.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for place in places:
                place.over = True
