"""Where everything is. The pages own the root; programs find the API under /api/."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from webgui.api import health
from webgui.watching import views as watching

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", watching.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("api/", include("webgui.api.urls")),
    path("", include("webgui.pages.urls")),
]
handler404 = "webgui.api.errors.not_found"
handler500 = "webgui.api.errors.server_error"
