from django.contrib import admin

from .models import Release


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

    def has_add_permission(self, request: object) -> bool:
        return False  # a release comes with its files: `manage.py load_release`
