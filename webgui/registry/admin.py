from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from webgui.accounts import audit

from . import loading
from .models import Checkpoint, Release


@admin.register(Release)
class ReleaseAdmin(admin.ModelAdmin):
    list_display = ["title", "name", "short_digest", "state", "created_at", "activated_at"]
    list_filter = ["state"]
    search_fields = ["title", "name", "digest"]
    # The state follows from what pools use: change a pool's release, or `load_release`.
    readonly_fields = ["digest", "name", "state", "manifest", "created_at", "activated_at"]

    @admin.display(description="digest")
    def short_digest(self, release: Release) -> str:
        return release.digest[:12]

    def delete_model(self, request: HttpRequest, obj: Release) -> None:
        audit.record(request.user, "release.deleted", obj)
        loading.forget(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Release]) -> None:
        for release in queryset:
            self.delete_model(request, release)

    def has_add_permission(self, request: object) -> bool:
        return False  # a release comes with its files: composed, uploaded, or loaded


@admin.register(Checkpoint)
class CheckpointAdmin(admin.ModelAdmin):
    """The name may be changed; the rest is what inspection found."""

    list_display = ["name", "state", "kind", "size", "uploaded_by", "created_at"]
    list_filter = ["state", "kind"]
    list_select_related = ["uploaded_by"]
    search_fields = ["name", "sha256"]
    readonly_fields = [
        "state", "reason", "kind", "size", "sha256", "uploaded_by", "report", "files",
        "created_at", "settled_at",
    ]  # fmt: skip
    fields = ["name", *readonly_fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # it is uploaded

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its files go with it on its own page, and not while they are in use
