from django.urls import path

from .checkpoints import CheckpointsView, CheckpointView, InspectView
from .uploads import UploadsView, UploadView

urlpatterns = [
    path("uploads/", UploadsView.as_view(), name="uploads"),
    path("uploads/<uuid:upload_id>/", UploadView.as_view(), name="upload"),
    path("checkpoints/", CheckpointsView.as_view(), name="checkpoints"),
    path("checkpoints/<uuid:checkpoint_id>/", CheckpointView.as_view(), name="checkpoint"),
    path("checkpoints/<uuid:checkpoint_id>/inspect/", InspectView.as_view(), name="inspect"),
]
