"""Does this container's worker live, and could it take work? Asked where Prometheus would ask.

A worker that refuses all work (its preflight fails, its disk is full) is not healthy. It mends
itself; until then its log and the server's fleet page say what is wrong.
"""

import os
import re
import sys
from urllib.request import urlopen

port = os.environ["STYLEDIFFUSER_METRICS_PORT"]
with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
    figures = answer.read().decode()
able = r'^stylediffuser_worker_state\{state="(idle|busy|drained)"\} 1\.0$'
sys.exit(re.search(able, figures, re.M) is None)
