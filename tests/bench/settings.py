"""The server's own settings, with one more view: the reference that does next to nothing."""

from webgui.config.settings import *  # noqa: F403
from webgui.config.settings import INSTALLED_APPS as SHIPPED

INSTALLED_APPS = [*SHIPPED, "tests.bench.stocking"]
ROOT_URLCONF = "tests.bench.site"
