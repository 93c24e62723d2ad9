"""Plain editing for administrators. What machines decide is shown, not edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from webgui.accounts import audit
from webgui.registry.models import Release

from .levels import level
from .models import Avatar, Batch, Pool, Ticket
from .provision import EDITED, create_pool, edit_pool


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
    fields = ["name", "slug", "release", *EDITED[1:]]
    prepopulated_fields = {"slug": ["name"]}

    def get_readonly_fields(self, request: Any, obj: Pool | None = None) -> list[str]:
        # Another release is a matter of what becomes of the images in the buffer: /manage/pools/.
        return ["slug", "release"] if obj else []

    def get_prepopulated_fields(self, request: Any, obj: Pool | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **options: Any) -> Any:
        if db_field.name == "release":
            options["queryset"] = Release.objects.exclude(state=Release.State.DRAFT)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def save_model(self, request: Any, obj: Pool, form: Any, change: bool) -> None:
        values = form.cleaned_data
        given = {name: values[name] for name in EDITED if name in values}
        if change:
            edit_pool(obj, request.user, **given)
        else:
            made = create_pool(values["slug"], values["release"], request.user, **given)
            obj.pk = made.pk

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
