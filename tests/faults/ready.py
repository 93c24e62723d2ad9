"""Import this first: it makes Django ready, with the tests' settings unless others are named."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
