from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from webgui.accounts.models import StaffToken


@pytest.fixture
def staff(db: None) -> Any:
    return get_user_model().objects.create_user("keeper", is_staff=True)


@pytest.fixture
def bearer(staff: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {StaffToken(user=staff).make()}"}


@pytest.fixture(autouse=True)
def own_home(home: object) -> None:
    """Uploads of these tests go into a folder of their own."""
