"""What a restored server must not do: hand out again what was handed out after the backup.

Nobody knows any more which pictures those were, so all that were in the buffer count as handed
out, to nobody, and what was ordered is given up, since a seed gives the same picture again.
Whoever claimed one after the backup still finds it at its address. Workers fill the buffer anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from webgui.accounts import audit
from webgui.buffer.models import Avatar, AvatarTag, Batch, Pool
from webgui.registry.models import Checkpoint

from .archive import Backup

REASON = "Given up: the database was restored from a backup."


@dataclass(frozen=True)
class Withdrawn:
    avatars: int
    orders: int
    uploads: int


@transaction.atomic
def withdraw(backup: Backup) -> Withdrawn:
    now = timezone.now()
    taken_at = datetime.fromisoformat(backup.about["taken_at"])
    orders = Batch.objects.exclude(state__in=Batch.ENDED)
    AvatarTag.objects.all().delete()
    withdrawn = Withdrawn(
        # Discarded ones too: they may have been brought back, and handed out, since.
        avatars=Avatar.objects.exclude(state=Avatar.State.CLAIMED).update(
            state=Avatar.State.CLAIMED, claimed_at=taken_at, retired_at=None
        ),
        orders=orders.update(state=Batch.State.FAILED, reason=REASON, settled_at=now),
        # Their files were not in the backup.
        uploads=Checkpoint.objects.filter(state=Checkpoint.State.UPLOADING).delete()[0],
    )
    for pool in Pool.objects.all():
        audit.record(
            audit.COMMAND_LINE, "pool.restored", pool, backup=backup.folder.name, taken_at=taken_at
        )
    return withdrawn
