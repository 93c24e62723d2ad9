"""What the process that looks at a stranger's file has given up."""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models_core.formats import sandbox
from models_core.formats.sandbox import Limits, convert_confined, inspect_confined
from tests.models_core.formats.hostile import zipped

ROOT = Path(__file__).parents[3]
START = """
import sys
sys.path.insert(0, {root!r})
import os, socket, subprocess, threading
from models_core.formats import confined
confined.set_limits({memory}, 10, {file_size})
isolated = confined.leave_network()
"""


def confined(code: str, memory: int = 1 << 30, file_size: int = 0) -> subprocess.CompletedProcess:
    start = START.format(root=str(ROOT), memory=memory, file_size=file_size)
    command = [sys.executable, "-I", "-c", start + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "attempt",
    [
        "os.system('true')",
        "subprocess.run(['true'])",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "socket.socket()",
        "socket.getaddrinfo('localhost', 80)",
        "open('/tmp/x', 'w')",
        "os.open('/tmp/x', os.O_CREAT | os.O_WRONLY)",
        "__import__('ctypes').CDLL(None)",
    ],
)
def test_is_refused(attempt):
    done = confined(f"confined.forbid(writing=False)\n{attempt}")
    assert done.returncode == 1
    assert "PermissionError" in done.stderr.splitlines()[-1]


def test_there_is_no_network_even_without_the_hook():
    code = (
        "print(isolated)\n"
        "try: socket.create_connection(('127.0.0.1', 9), 2)\n"
        "except ConnectionRefusedError: print('reached the host')\n"
        "except OSError as error: print('unreachable')"
    )
    isolated, reached = confined(code).stdout.split("\n", 1)
    if isolated == "False":
        pytest.skip("this host allows no network namespaces; the audit hook remains")
    assert reached.strip() == "unreachable"


def test_limits_hold_and_stricter_ones_stay():
    assert "MemoryError" in confined("x = bytearray(1 << 30)").stderr
    code = (
        "import resource\n"
        "confined.set_limits(1 << 33, 99, 1 << 20)\n"
        "print([resource.getrlimit(k)[1] for k in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE)])"
    )
    assert json.loads(confined(code).stdout) == [1 << 30, 0]


def test_the_environment_is_empty(monkeypatch, tmp_path):
    monkeypatch.setenv("STYLEDIFFUSER_SECRET_KEY", "a secret")
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os; print(json.dumps({'env': sorted(os.environ), 'here': os.getcwd()}))"
    )
    monkeypatch.setattr(sandbox, "SCRIPT", script)
    (tmp_path / "file").write_bytes(b"x")
    found = inspect_confined(tmp_path / "file")
    assert found == {"env": ["LC_ALL", "OPENBLAS_NUM_THREADS"], "here": "/"}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import time; time.sleep(60)", "within 1 seconds"),
        ("import os; os.kill(os.getpid(), 11)", "MiB"),
        ("raise MemoryError", "MiB"),
    ],
)
def test_a_reader_that_dies_is_a_verdict_and_leaves_nothing_running(
    code, says, monkeypatch, tmp_path
):
    script = tmp_path / "script.py"
    pid = tmp_path / "pid"
    script.write_text(f"import os; open({str(pid)!r}, 'w').write(str(os.getpid())); {code}")
    monkeypatch.setattr(sandbox, "SCRIPT", script)
    (tmp_path / "file").write_bytes(b"x")
    report = inspect_confined(tmp_path / "file", limits=Limits(seconds=1))
    assert report["state"] == "corrupt"
    assert says in report["reason"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_it_ends_with_whoever_asked(tmp_path):
    """The command is killed while the confined process reads: nothing goes on."""
    os.mkfifo(tmp_path / "sync")
    code = (
        f"confined.end_with(os.getppid())\n"
        f"open({str(tmp_path / 'sync')!r}, 'w').write(str(os.getpid()))\n"
        "import time; time.sleep(60)"
    )
    inner = START.format(root=str(ROOT), memory=1 << 30, file_size=1 << 20) + code
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', {inner!r}])"
    asking = subprocess.Popen([sys.executable, "-c", outer])
    pid = int((tmp_path / "sync").read_text())
    asking.kill()
    asking.wait()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    raise AssertionError("the confined process went on without anybody to answer")


def test_a_fault_of_ours_is_no_verdict(monkeypatch, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise KeyError('oops')")
    monkeypatch.setattr(sandbox, "SCRIPT", script)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="inspect failed: KeyError"):
        inspect_confined(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        inspect_confined(tmp_path / "nothing")


def test_eight_gigabytes_are_inspected_in_little_memory(tmp_path):
    size = 8 << 30
    entry = {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}
    text = json.dumps({"model.diffusion_model.double_blocks.0": entry}).encode()
    with (tmp_path / "large").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)  # a hole: no disk is used
    report = inspect_confined(tmp_path / "large", limits=Limits(memory=128 << 20))
    assert report["what"] == "a Flux checkpoint"


def test_converting_cannot_write_more_than_was_allowed(tmp_path):
    config = b'{"kind": "CompactNetwork", "features": 1, "layers": 0, "factor": 1}'
    names = ("body.0.weight", "body.0.bias", "body.1.weight", "body.2.weight", "body.2.bias")
    shapes = ([1, 3, 3, 3], [1], [1], [3, 1, 3, 3], [3])
    at, header = 0, {}
    for name, shape in zip(names, shapes, strict=True):
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    weights = struct.pack("<Q", len(text)) + text + bytes(at)
    file = tmp_path / "upscaler.zip"
    file.write_bytes(zipped({"config.json": config, "model.safetensors": weights}))
    assert inspect_confined(file)["kind"] == "upscaler"
    report = convert_confined(file, tmp_path / "out", limits=Limits(60, 1 << 30, 100))
    assert report["state"] == "incompatible"
    assert "larger than" in report["reason"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["upscaler.zip"]
    assert convert_confined(file, tmp_path / "out")["state"] == "ready"
