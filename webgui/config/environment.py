"""Reading settings from the environment: every name starts with STYLEDIFFUSER_.

Where NAME is not set, NAME_FILE may name a file that holds its value: container engines hand
secrets over like that, and what is in the environment is easily shown.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

PREFIX = "STYLEDIFFUSER_"


def text(name: str, default: str = "") -> str:
    return os.environ.get(PREFIX + name, "").strip() or _from_file(name) or default


def _from_file(name: str) -> str:
    variable = f"{PREFIX}{name}_FILE"
    path = os.environ.get(variable, "").strip()
    try:
        return Path(path).read_text().strip() if path else ""
    except OSError as error:
        raise ImproperlyConfigured(f"{variable}={path!r}: {error.strerror}.") from error


def flag(name: str, default: bool = False) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{PREFIX}{name}={value!r}: say 1 or 0.")


def number(name: str, default: int, least: int = 0) -> int:
    value = text(name, str(default))
    try:
        result = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{PREFIX}{name}={value!r}: a whole number is needed.") from None
    if result < least:
        raise ImproperlyConfigured(f"{PREFIX}{name}={value!r}: must be {least} or more.")
    return result


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def choice(name: str, default: str, among: tuple[str, ...]) -> Any:
    value = text(name, default)
    if value not in among:
        raise ImproperlyConfigured(f"{PREFIX}{name}={value!r}: one of {', '.join(among)}.")
    return value


def web_address(name: str) -> str:
    url = text(name)
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ImproperlyConfigured(f"{PREFIX}{name}: an http(s) address is needed.")
    return url


def next_database(url: str) -> str:
    """The database after this one on the same Redis or Valkey server; "" for any other server.

    Another database, so that emptying the one never empties the other.
    """
    parts = urlsplit(url)
    number = parts.path.strip("/") or "0"
    if parts.scheme not in ("redis", "rediss") or not number.isdigit():
        return ""
    return parts._replace(path=f"/{int(number) + 1}").geturl()


def folder(name: str, default: Path) -> Path:
    return Path(text(name, str(default))).expanduser().resolve()


def secret_key(home: Path) -> str:
    """The given key, or one made on first start and kept in `home` for its owner's eyes only."""
    if given := text("SECRET_KEY"):
        return given
    path = home / "secret_key"
    try:
        return _stored_key(path)
    except FileNotFoundError:
        pass
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f".secret_key.{os.getpid()}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(50))
    try:
        # link(), unlike rename(), lets the first of several starting processes win.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _stored_key(path)


def _stored_key(path: Path) -> str:
    key = path.read_text().strip()
    if len(key) < 50:
        raise ImproperlyConfigured(f"{path} holds no usable key: delete it and start again.")
    return key
