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
