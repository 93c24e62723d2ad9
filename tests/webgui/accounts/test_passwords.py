"""What may be a password here."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError


@pytest.mark.parametrize(
    "password",
    [
        "short-one",  # under 12
        "stylediffuser",
        "StyleDiffuser2026",
        "avatar-avatar-avatar",
        "avatars.example.org!1",
        "qwertyuiop123",  # everybody's
    ],
)
def test_too_easy(password: str, settings) -> None:
    settings.ALLOWED_HOSTS = ["avatars.example.org"]
    with pytest.raises(ValidationError):
        validate_password(password)


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "ÄÖÜ äöü ß ß ß ß", "aaaa bbbb cccc", "x" * 40 + "yz" * 200],
)
def test_any_mixture_and_any_length(password: str) -> None:
    validate_password(password)
