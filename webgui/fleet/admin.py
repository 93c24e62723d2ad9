from django.contrib import admin

from .models import Alarm, Notice, Worker


@admin.register(Worker)
class WorkerAdmin(admin.ModelAdmin):
    list_display = ["name", "state", "device", "images_per_minute", "outbox", "last_seen"]
    readonly_fields = [field.name for field in Worker._meta.fields]

    def has_add_permission(self, request: object) -> bool:
        return False


@admin.register(Alarm)
class AlarmAdmin(admin.ModelAdmin):
    list_display = ["kind", "subject", "detail", "raised_at", "cleared_at"]
    list_filter = ["kind"]
    readonly_fields = [field.name for field in Alarm._meta.fields]

    def has_add_permission(self, request: object) -> bool:
        return False


@admin.register(Notice)
class NoticeAdmin(admin.ModelAdmin):
    list_display = ["alarm", "cleared", "channel", "tries", "sent_at", "error"]
    list_select_related = ["alarm"]
    readonly_fields = [field.name for field in Notice._meta.fields]

    def has_add_permission(self, request: object) -> bool:
        return False
