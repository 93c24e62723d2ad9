"""What has to be in the database before the first visitor: tables, a pool, an administrator."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db.models import Q

from webgui.buffer.models import Activation, Pool
from webgui.buffer.provision import point_pool
from webgui.config import environment
from webgui.registry.loading import BadBundle, load_bundle, read_bundle
from webgui.registry.models import Release

SHIPPED_RELEASE = settings.BASE_DIR / "models_core" / "releases" / "demo"
POOL, POOL_NAME = "toon", "Toon heads"
ADMIN = "admin"
ACTOR = "make demo"


def release_folder() -> Path:
    return environment.folder("DEMO_RELEASE", SHIPPED_RELEASE)


def migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def load_release() -> str:
    """Point the pool at the demo's release; its title.

    A pool that an administrator gave another release is left alone. What comes with the product
    was looked at before it was shipped, so it needs no preview here.
    """
    folder = release_folder()
    name = _name(folder)
    sizes: dict[str, int] = {}
    pool = Pool.objects.filter(slug=POOL).select_related("release").first()
    if pool is None:
        sizes["low_watermark"] = environment.number("DEMO_LOW", 24, least=1)
        sizes["high_watermark"] = environment.number("DEMO_HIGH", 48, least=1)
    elif pool.release.name != name:
        return pool.release.title
    release, _ = load_bundle(folder)
    if pool is not None and _had_before(pool, release):
        return pool.release.title
    pool, _ = point_pool(
        POOL, release, "" if pool else POOL_NAME, actor=ACTOR, unpreviewed=True, **sizes
    )
    return pool.release.title


def _had_before(pool: Pool, release: Release) -> bool:
    """Then an administrator has put another in its place, or rolled back from it."""
    given = Q(release=release) | Q(before=release)
    return Activation.objects.filter(given, pool=pool).exists()


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
