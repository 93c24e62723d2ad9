from __future__ import annotations

import json
import logging
import threading

import pytest

from messaging import logs


@pytest.fixture
def said(capsys):
    """Log something in this form; the lines that came out."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]

    def say(form, log):
        logs.set_up("INFO", form)
        log(logging.getLogger("generator_worker.batches"))
        return capsys.readouterr().err.splitlines()

    yield say
    root.level, root.handlers[:] = before


def test_json_lines_carry_the_bound_ids(said):
    def log(logger):
        with logs.bound(batch="b1"), logs.bound(release="r1"):
            logger.info("kept %d", 7)
        logger.debug("not wanted")
        logger.warning("later")

    first, second = (json.loads(line) for line in said("json", log))
    assert {key: first[key] for key in ("level", "logger", "message", "batch", "release")} == {
        "level": "INFO",
        "logger": "generator_worker.batches",
        "message": "kept 7",
        "batch": "b1",
        "release": "r1",
    }
    assert first["time"].endswith("+00:00") and first["process"] > 0
    assert (second["message"], "batch" in second) == ("later", False)


def test_an_exception_stays_on_its_line(said):
    def log(logger):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("failed")

    (line,) = said("json", log)
    assert "ValueError: two\nlines" in json.loads(line)["exception"]


def test_text_lines_end_with_the_ids(said):
    def log(logger):
        with logs.bound(batch="b1"):
            logger.info("kept")

    (line,) = said("text", log)
    assert line.endswith("INFO    generator_worker.batches: kept batch=b1")


def test_another_threads_ids_are_its_own(said):
    def log(logger):
        with logs.bound(batch="b1"):
            thread = threading.Thread(target=lambda: logger.info("courier"))
            thread.start()
            thread.join()

    assert "batch" not in json.loads(said("json", log)[0])


def test_secrets_are_struck_out_of_lines_and_tracebacks(said, monkeypatch):
    monkeypatch.setattr(logs, "_hidden", set())
    logs.hide("the-secret-key", "abc", "")
    logs.hide_passwords("redis://server:p%40ss-word@host:6379/0", "redis://host/0", "no address")

    def log(logger):
        try:
            raise OSError("Could not reach amqp://other:unknown@host/ with p@ss-word")
        except OSError:
            logger.exception("abc %s p%%40ss-word Bearer abcdef0123", "the-secret-key")

    for form in ("json", "text"):
        text = "".join(said(form, log))
        for secret in ("the-secret-key", "p%40ss", "p@ss", "unknown", "abcdef0123"):
            assert secret not in text
        assert "abc ***" in text and "amqp://***@host/" in text


def test_only_what_looks_like_an_id_is_taken_for_one():
    assert logs.usable("6f0c-1.a_B") == "6f0c-1.a_B"
    for value in ("", "a b", "a\nINFO forged", "x" * 65, 7, None):
        assert logs.usable(value) == ""
