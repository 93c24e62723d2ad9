"""Settings of the test run: the server's own, in a home of its own that goes away afterwards.

STYLEDIFFUSER_TEST_DATABASE names another database than SQLite to test against.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_home = tempfile.mkdtemp(prefix="stylediffuser-test-")
_owner = os.getpid()


@atexit.register
def _leave_nothing() -> None:
    if os.getpid() == _owner:
        shutil.rmtree(_home, ignore_errors=True)


os.environ["STYLEDIFFUSER_HOME"] = _home
os.environ["STYLEDIFFUSER_DATABASE_URL"] = os.environ.get("STYLEDIFFUSER_TEST_DATABASE", "")
os.environ.setdefault("STYLEDIFFUSER_BROKER_URL", "redis://127.0.0.1:1/0")  # nobody is there

from webgui.config.settings import *  # noqa: E402, F403
from webgui.config.settings import CACHES, DATABASES  # noqa: E402

DATABASES["default"]["CONN_MAX_AGE"] = 0  # a kept connection would outlive its test database
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # In a file: several connections to a database in memory would not be what runs in earnest.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_home) / "test.sqlite3")}
CACHE_URL = ""  # no broker, no shared cache
CACHES["default"] = CACHES["own"] | {"LOCATION": "default"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
