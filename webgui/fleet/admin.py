from django.contrib import admin

from .models import Worker


@admin.register(Worker)
class WorkerAdmin(admin.ModelAdmin):
    list_display = ["name", "alive", "device", "images_per_minute", "outbox", "last_seen"]
    readonly_fields = [field.name for field in Worker._meta.fields]

    @admin.display(boolean=True)
    def alive(self, worker: Worker) -> bool:
        return worker.alive

    def has_add_permission(self, request: object) -> bool:
        return False
