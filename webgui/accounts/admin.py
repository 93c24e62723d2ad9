from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest

from . import audit
from .models import AuditEntry, StaffToken


@admin.register(StaffToken)
class StaffTokenAdmin(admin.ModelAdmin):
    list_display = ["head", "user", "name", "created_at", "used_at", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["user"]
    fields = ["user", "name"]
    actions = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StaffToken]:
        tokens = super().get_queryset(request)
        return tokens if request.user.is_superuser else tokens.filter(user=request.user.pk)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **options: Any) -> Any:
        if not request.user.is_superuser:  # else one could act as somebody who may do more
            options["queryset"] = get_user_model().objects.filter(pk=request.user.pk)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["user"] if obj else []

    def save_model(self, request: HttpRequest, obj: StaffToken, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name"])
            return
        token = obj.make()
        audit.record(request.user, "token.made", obj, owner=str(obj.user), name=obj.name)
        self.message_user(request, f"The token, shown only now: {token}", level=messages.WARNING)

    @admin.action(description="Revoke selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[StaffToken]) -> None:
        revoked = [token for token in tokens if token.revoke()]
        for token in revoked:
            audit.record(request.user, "token.revoked", token)
        self.message_user(request, f"{len(revoked)} revoked.")

    def delete_model(self, request: HttpRequest, obj: StaffToken) -> None:
        audit.record(request.user, "token.deleted", obj)
        obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[StaffToken]) -> None:
        for token in queryset:
            self.delete_model(request, token)


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin):
    """Read only: nobody corrects the book."""

    list_display = ["at", "actor", "token", "act", "target", "label"]
    list_filter = ["act", "actor"]
    search_fields = ["actor", "act", "target", "label"]
    date_hierarchy = "at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
