"""Plain editing for administrators. What machines decide is shown, not edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from webgui.accounts import audit

from .levels import level
from .models import Avatar, Batch, Pool, Ticket
from .provision import save_pool


class ReadOnly(admin.ModelAdmin):
    show_full_result_count = False  # counting millions of avatars for a headline takes seconds

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False


@admin.register(Pool)
class PoolAdmin(admin.ModelAdmin):
    list_display = [
        "name", "slug", "release", "available", "low_watermark", "high_watermark", "batch_size",
        "paused", "trouble",
    ]  # fmt: skip
    readonly_fields = ["filling", "trouble", "failures", "backoff_until", "created_at"]
    prepopulated_fields = {"slug": ["name"]}

    def save_model(self, request: Any, obj: Pool, form: Any, change: bool) -> None:
        before = Pool.objects.select_related("release").get(pk=obj.pk).release if change else None
        save_pool(obj, before)
        changes = {name: str(form.cleaned_data.get(name)) for name in form.changed_data}
        audit.record(request.user, "pool.edited" if change else "pool.created", obj, **changes)

    def delete_model(self, request: Any, obj: Pool) -> None:
        audit.record(request.user, "pool.deleted", obj)
        obj.delete()

    def delete_queryset(self, request: Any, queryset: QuerySet[Pool]) -> None:
        for pool in queryset:
            self.delete_model(request, pool)

    @admin.display
    def available(self, pool: Pool) -> int:
        return level(pool).available


@admin.register(Batch)
class BatchAdmin(ReadOnly):
    list_display = [
        "id", "pool", "state", "attempt", "count", "drawn", "ingested_count", "worker",
        "ordered_at", "settled_at", "reason",
    ]  # fmt: skip
    list_filter = ["state", "pool"]
    list_select_related = ["pool"]


@admin.register(Avatar)
class AvatarAdmin(ReadOnly):
    list_display = ["id", "pool", "state", "score", "tags", "created_at", "claimed_at"]
    list_filter = ["state", "pool"]
    list_select_related = ["pool"]


@admin.register(Ticket)
class TicketAdmin(ReadOnly):
    list_display = ["id", "pool", "state", "tags", "created_at", "polled_at", "settled_at"]
    list_filter = ["state", "pool"]
    list_select_related = ["pool"]
