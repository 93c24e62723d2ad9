"""What has to be in the database before the first visitor: tables, a pool, an administrator."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from webgui.buffer.models import Pool
from webgui.config import environment
from webgui.registry.loading import BadBundle, read_bundle

SHIPPED_RELEASE = settings.BASE_DIR / "models_core" / "releases" / "demo"
POOL, POOL_NAME = "toon", "Toon heads"
ADMIN = "admin"


def release_folder() -> Path:
    return environment.folder("DEMO_RELEASE", SHIPPED_RELEASE)


def migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def load_release() -> str:
    """Point the pool at the demo's release; its title.

    A pool that an administrator gave another release is left alone.
    """
    folder = release_folder()
    name = _name(folder)
    arguments = ["--pool", POOL, "--pool-name", POOL_NAME, "--activate"]
    pool = Pool.objects.filter(slug=POOL).select_related("release").first()
    if pool is None:
        arguments += ["--low", str(environment.number("DEMO_LOW", 24, least=1))]
        arguments += ["--high", str(environment.number("DEMO_HIGH", 48, least=1))]
    elif pool.release.name != name:
        return pool.release.title
    call_command("load_release", str(folder), *arguments, stdout=_Silence())
    return Pool.objects.select_related("release").get(slug=POOL).release.title


def _name(folder: Path) -> str:
    try:
        return read_bundle(folder)[1].name
    except BadBundle as error:
        raise ImproperlyConfigured(
            f"The demo's release cannot be used. {error} STYLEDIFFUSER_DEMO_RELEASE names it; "
            "leave that out for the one that comes with the product."
        ) from error


def ensure_admin() -> str | None:
    """The password of the administrator this call has made; None if there was one."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMIN, password=password)
    return password


class _Silence:
    def write(self, text: str) -> None:
        pass
