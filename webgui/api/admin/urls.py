from django.urls import path

from .audit import AuditView
from .checkpoints import CheckpointsView, CheckpointView, InspectView
from .pools import (
    ActivationsView,
    CanaryView,
    PoolsView,
    PoolView,
    PromoteView,
    RollBackView,
)
from .previews import PreviewImageView, PreviewsView, PreviewView
from .releases import ReleaseOptionsView, ReleasesView, ReleaseView
from .uploads import UploadsView, UploadView
from .workers import (
    AlarmsView,
    DutyView,
    ForgiveView,
    HistoryView,
    WorkersView,
    WorkerView,
)

urlpatterns = [
    path("uploads/", UploadsView.as_view(), name="uploads"),
    path("uploads/<uuid:upload_id>/", UploadView.as_view(), name="upload"),
    path("checkpoints/", CheckpointsView.as_view(), name="checkpoints"),
    path("checkpoints/<uuid:checkpoint_id>/", CheckpointView.as_view(), name="checkpoint"),
    path("checkpoints/<uuid:checkpoint_id>/inspect/", InspectView.as_view(), name="inspect"),
    path("releases/<str:digest>/previews/", PreviewsView.as_view(), name="previews"),
    path("previews/<uuid:preview_id>/", PreviewView.as_view(), name="preview"),
    path(
        "previews/<uuid:preview_id>/images/<int:seed>",
        PreviewImageView.as_view(),
        name="preview_image",
    ),
    path("releases/", ReleasesView.as_view(), name="releases"),
    path("releases/options/", ReleaseOptionsView.as_view(), name="release-options"),
    path("releases/<str:digest>/", ReleaseView.as_view(), name="release"),
    path("pools/", PoolsView.as_view(), name="admin-pools"),
    path("pools/<str:slug>/", PoolView.as_view(), name="admin-pool"),
    path("pools/<str:slug>/activations/", ActivationsView.as_view(), name="activations"),
    path("pools/<str:slug>/rollback/", RollBackView.as_view(), name="rollback"),
    path("pools/<str:slug>/canary/", CanaryView.as_view(), name="canary"),
    path("pools/<str:slug>/canary/promote/", PromoteView.as_view(), name="promote"),
    path("audit/", AuditView.as_view(), name="audit"),
    path("workers/", WorkersView.as_view(), name="workers"),
    path("workers/<str:name>/", WorkerView.as_view(), name="worker"),
    path("workers/<str:name>/duty/", DutyView.as_view(), name="duty"),
    path("workers/<str:name>/forgive/", ForgiveView.as_view(), name="forgive"),
    path("alarms/", AlarmsView.as_view(), name="alarms"),
    path("history/", HistoryView.as_view(), name="history"),
]
