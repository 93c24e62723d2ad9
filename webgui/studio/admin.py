from django.contrib import admin

from webgui.buffer.admin import ReadOnly

from .models import Job, Preview


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ["kind", "release", "state", "worker", "attempt", "created_at", "settled_at"]
    list_filter = ["kind", "state"]
    list_select_related = ["release"]


@admin.register(Preview)
class PreviewAdmin(ReadOnly):
    list_display = ["release", "verdict", "worker", "created_at"]
    list_filter = ["verdict"]
    list_select_related = ["job__release"]

    @admin.display()
    def worker(self, preview: Preview) -> str:
        return preview.job.worker

    @admin.display()
    def created_at(self, preview: Preview) -> object:
        return preview.job.created_at
