from __future__ import annotations

from uuid import uuid4

import pytest
from celery import Celery

from messaging import logs, traces


@pytest.fixture
def app():
    """One that carries messages out at once, headers and all."""
    app = Celery("traced", broker="memory://", task_cls=traces.TracedTask)
    app.conf.task_always_eager = True
    return app


@pytest.fixture
def seen(app):
    """Call the task with such headers and message; the ids that its lines would carry."""
    ids = {}

    @app.task(name="look")
    def look(message):
        ids.update(logs.current.get())

    def call(message, headers):
        ids.clear()
        look.apply(kwargs={"message": message}, headers=headers)
        return dict(ids)

    return call


def test_a_task_is_logged_with_the_ids_of_its_message(seen):
    batch = str(uuid4())
    with logs.bound(request="r-1"):
        headers = traces.headers()
    assert seen({"batch_id": batch, "worker": "w1"}, headers) == {
        "request": "r-1",
        "batch": batch,
        "worker": "w1",
    }
    assert logs.current.get() == {}


def test_what_is_no_id_is_left_out(seen):
    assert seen({"batch_id": ["x"], "job_id": "a\nb"}, {"request_id": "a b"}) == {}
    assert seen("no message", {}) == {}


def test_nobodys_message_says_nothing_of_a_request():
    assert traces.headers() == {}
