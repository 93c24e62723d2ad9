"""Which files a backup has. What can be made anew, or is hostile until it was inspected, is not
among them: renditions, quarantine, the inbox, uploads under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

# Of the server's home, what it cannot be itself without.
SECRETS = ("secret_key", "keys/*")


def files() -> Iterator[tuple[str, Path]]:
    """Each file's path in the backup, and where it lies."""
    for shelf in ("avatars", "previews"):
        yield from _below("media", settings.MEDIA_ROOT, f"{shelf}/*/*/*")
    yield from _below("checkpoints", settings.SFTP_ROOT / "checkpoints", "*")
    for pattern in SECRETS:
        yield from _below("home", settings.HOME, pattern)


def place(path: str) -> Path:
    """Where the file of this path in the backup belongs on this server."""
    shelf, _, rest = path.partition("/")
    roots: dict[str, Path] = {
        "media": settings.MEDIA_ROOT,
        "checkpoints": settings.SFTP_ROOT / "checkpoints",
        "home": settings.HOME,
    }
    if shelf not in roots or ".." in Path(rest).parts or Path(rest).is_absolute():
        raise ValueError(f"{path!r} leads out of the server's folders.")
    return roots[shelf] / rest


def _below(shelf: str, root: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    for path in root.glob(pattern):
        if not path.name.startswith(".") and path.is_file():  # not a draft
            yield f"{shelf}/{path.relative_to(root)}", path
