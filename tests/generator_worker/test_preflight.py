"""The checklist, against a real broker and SFTP server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from generator_worker import preflight, readiness
from generator_worker.contract import Finding

ADVICE = "Keep both hosts' clocks right"


@pytest.fixture
def ready(connected, broker):
    return replace(connected, broker_url=broker, releases=())


def levels(findings) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_a_worker_that_has_all_it_needs(ready, sftp):
    findings = list(preflight.examine(ready, seconds=1))
    assert levels(findings) == dict.fromkeys(preflight.CHECKS, "ok")
    told = {finding.check: finding.detail for finding in findings}
    assert told["broker"].endswith("0 messages wait")
    assert told["sftp"].endswith("wrote, renamed and deleted")
    assert told["clock"].startswith("within ")
    assert told["releases"] == "none yet"
    assert list((sftp.root / "inbox" / "tmp").iterdir()) == []


def test_a_broker_that_is_away_or_does_not_know_the_password(ready, broker):
    away = preflight._broker(replace(ready, broker_url="redis://:secret@127.0.0.1:1/0"))
    assert (away.level, "secret" in away.detail) == ("failure", False)
    assert "STYLEDIFFUSER_BROKER_URL" in away.advice
    wrong = broker.replace("redis://", "redis://painter:secret@")
    stranger = preflight._broker(replace(ready, broker_url=wrong))
    assert stranger.level == "failure"
    assert "invalid username-password" in stranger.detail and "secret" not in stranger.detail


def test_an_sftp_server_that_is_away_or_another(ready, sftp):
    (away,) = preflight._server(replace(ready, sftp_port=1))
    assert (away.check, away.level) == ("sftp", "failure")
    assert "refuses connections" in away.detail
    (strange,) = preflight._server(replace(ready, sftp_host_key=sftp.keys.host_key_line[:40]))
    assert "another host key than the pinned one" in strange.detail
    shutil.rmtree(sftp.root / "inbox")
    (empty,) = preflight._server(ready)
    assert "has no inbox/tmp" in empty.detail


def test_one_that_lets_nobody_write(ready, monkeypatch):
    monkeypatch.setattr(preflight, "TMP", preflight.CHECKPOINTS)
    (refused,) = preflight._server(ready)
    assert refused.level == "failure"
    assert "refused to write, rename or delete" in refused.detail


@pytest.mark.parametrize(
    ("offset", "level", "says"),
    [
        (2.0, "ok", "within 3 s"),
        (-1200.0, "warning", "1200 s ahead of the server's clock"),
        (30.0, "warning", "30 s behind the server's clock"),
        (-1800.0, "failure", "1800 s ahead"),
    ],
)
def test_clocks_that_differ(config, offset, level, says):
    finding = preflight.clock_finding(config, offset, 0.5)
    assert (finding.level, ADVICE in finding.advice) == (level, level != "ok")
    assert says in finding.detail


def test_a_clock_is_measured_by_the_servers_files(ready, sftp, monkeypatch):
    monkeypatch.setattr(preflight.time, "time", lambda: 1_000_000.0)  # 1970
    _, clock = preflight._server(ready)
    assert clock.level == "failure" and "behind the server's clock" in clock.detail


def test_a_disk_that_is_full_or_shut(config, tmp_path):
    full = preflight.disk_finding(replace(config, min_free_mib=100_000_000))
    assert (full.level, "asks for 100000000" in full.detail) == ("failure", True)
    (tmp_path / "file").touch()
    shut = preflight.disk_finding(replace(config, home=tmp_path / "file" / "home"))
    assert (shut.level, "STYLEDIFFUSER_WORKER_HOME" in shut.advice) == ("failure", True)


def test_a_device_that_is_not_there(config):
    (device,) = preflight._models(replace(config, device="cuda:7"), 1)
    assert (device.check, device.level) == ("device", "failure")
    assert "cuda:7" in device.detail


def test_less_memory_than_the_budget(config):
    finding = preflight.memory_finding(replace(config, memory_mib=90_000_000))
    assert (finding.level, "MEMORY_MIB" in finding.advice) == ("warning", True)


def test_a_bad_release_is_a_warning_and_named(config, tmp_path):
    folder = tmp_path / "shelf" / "bad"
    folder.mkdir(parents=True)
    (folder / "release.json").write_text("{}")
    bad, summary = preflight._releases(replace(config, releases=(tmp_path / "shelf",)), 5)
    assert (bad.level, str(folder) in bad.detail, str(folder) in bad.advice) == (
        "warning", True, True
    )  # fmt: skip
    assert (summary.level, summary.detail) == ("ok", "loaded 0 of the 1 that are here")


def test_the_command_prints_a_checklist_and_its_exit_code_tells(ready, sftp, broker, tmp_path):
    env = {
        **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
        **sftp.env,
        "STYLEDIFFUSER_BROKER_URL": broker,
        "STYLEDIFFUSER_WORKER_NAME": "painter",
        "STYLEDIFFUSER_WORKER_HOME": str(tmp_path / "elsewhere"),
        "STYLEDIFFUSER_RELEASES": str(tmp_path / "none"),
    }
    argv = [sys.executable, "-m", "generator_worker", "preflight"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    marks = [line.split()[3] for line in done.stdout.splitlines() if line.startswith("[ ok ]")]
    assert marks == list(preflight.CHECKS)
    assert done.stdout.endswith("Worker painter can work.\n")
    env |= {"STYLEDIFFUSER_SFTP_PORT": "1", "STYLEDIFFUSER_DEVICE": "abacus"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "[FAIL] sftp      worker@127.0.0.1:1 refuses connections" in done.stdout
    assert "→ Check STYLEDIFFUSER_SFTP_HOST" in done.stdout
    assert "[FAIL] device    abacus: RuntimeError" in done.stdout
    assert done.stdout.endswith("This worker cannot work yet.\n")
    assert "Traceback" not in done.stderr
    bad = subprocess.run(
        argv, env={**env, "STYLEDIFFUSER_SFTP_PORT": "ssh"}, capture_output=True, text=True
    )
    assert (bad.returncode, "SFTP_PORT='ssh'" in bad.stderr) == (2, True)


def test_a_preflight_that_dies_is_a_finding_too():
    found = Finding(check="broker", level="ok", detail="fine").model_dump_json()
    code = f"import os; print({found!r}, flush=True); os.kill(os.getpid(), 11)"
    fine, died = readiness.look_apart([sys.executable, "-c", code])
    assert fine.check == "broker"
    assert (died.level, died.detail) == ("failure", "It ended with -11, after broker.")
    (absent,) = readiness.look_apart(["/nowhere/python"])
    assert absent.level == "failure" and "did not start" in absent.detail


def test_a_preflight_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(readiness, "PATIENCE", 0.5)
    (hung,) = readiness.look_apart([sys.executable, "-c", "import time; time.sleep(60)"])
    assert "was not done after" in hung.detail


def test_what_libraries_print_is_passed_over():
    found = Finding(check="disk", level="ok", detail="fine")
    lines = ["loading…", found.model_dump_json(), "[]", json.dumps({"done": True})]
    assert readiness._read("\n".join(lines).encode()) == ([found], True)


def test_it_looks_again_by_itself_until_nothing_fails():
    bad = Finding(check="sftp", level="failure", detail="away")
    slow = Finding(check="clock", level="warning", detail="late")
    answers, seen, pauses = [[bad], [bad, slow], [slow]], [], []
    ready = readiness.Readiness()

    def sleep(seconds):
        seen.append((ready.passed, ready.refusing))
        pauses.append(seconds)

    ready.wait(lambda: answers.pop(0), sleep=sleep)
    assert seen == [(False, True), (False, True)]
    assert pauses == [3.0, 10.0]
    assert ready.passed and not ready.refusing and ready.findings == (slow,)
