"""REST v1 under /api/v1/, its document and its browsable page."""

from __future__ import annotations

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from . import views

app_name = "api"

# Swagger UI styles itself from its script.
swagger = csp_update({"style-src": [SELF, UNSAFE_INLINE]})(
    SpectacularSwaggerSplitView.as_view(url_name="api:schema")
)

urlpatterns = [
    path("v1/avatars/", views.AvatarsView.as_view(), name="avatars"),
    path("v1/avatars/<uuid:avatar_id>/", views.AvatarView.as_view(), name="avatar"),
    path("v1/avatars/<uuid:avatar_id>/image", views.ImageView.as_view(), name="image"),
    path("v1/tickets/<uuid:ticket_id>/", views.TicketView.as_view(), name="ticket"),
    path("v1/pools/", views.PoolsView.as_view(), name="pools"),
    path("v1/admin/", include("webgui.api.admin.urls")),
    path("v1/schema/", SpectacularJSONAPIView.as_view(), name="schema"),
    path("docs/", swagger, name="docs"),
]
