from __future__ import annotations

import subprocess
import sys

ASK_WHILE_IT_IS_IMPORTED = """
import sys, threading, time
from generator_worker.memory import is_gpu

assert is_gpu(None) is False and "torch" not in sys.modules
threading.Thread(target=lambda: __import__("torch")).start()
while "torch" not in sys.modules:
    time.sleep(0.01)
print(is_gpu(None))
"""


def test_the_device_is_known_though_another_thread_still_imports_torch(tmp_path):
    slow = "import time; time.sleep(1)\nclass cuda: is_available = lambda: True"
    (tmp_path / "torch.py").write_text(slow)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + ASK_WHILE_IT_IS_IMPORTED
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
