"""`claim_all`: hand out the whole buffer at once; prints the avatars' ids."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from webgui.buffer.models import Avatar


class Command(BaseCommand):
    def handle(self, *_: Any, **__: Any) -> None:
        offers = Avatar.objects.filter(state=Avatar.State.AVAILABLE)
        keys = list(offers.values_list("pk", flat=True))
        offers.update(state=Avatar.State.CLAIMED, claimed_by="x", claimed_at=timezone.now())
        self.stdout.write("\n".join(map(str, keys)))
