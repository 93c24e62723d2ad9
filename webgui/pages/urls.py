from django.urls import path

from . import checkpoints, fleet, guide, pools, previews, releases, views

urlpatterns = [
    path("", views.home, name="home"),
    path("avatars/<uuid:avatar_id>/", views.avatar, name="avatar"),
    path("tickets/<uuid:ticket_id>/", views.ticket, name="ticket"),
    path("about/", views.about, name="about"),
    path("manage/checkpoints/", checkpoints.shelf, name="checkpoints"),
    path("manage/checkpoints/upload/", checkpoints.upload, name="upload"),
    path("manage/checkpoints/<uuid:checkpoint_id>/", checkpoints.report, name="checkpoint"),
    path("manage/releases/", releases.shelf, name="releases"),
    path("manage/releases/new/", releases.compose, name="compose"),
    path("manage/releases/<slug:digest>/", releases.release, name="release"),
    path("manage/releases/<slug:digest>/preview/", previews.ask, name="preview"),
    path("manage/previews/<uuid:preview_id>/cancel/", previews.cancel, name="cancel_preview"),
    path("manage/pools/", pools.shelf, name="pools"),
    path("manage/pools/new/", pools.new, name="new_pool"),
    path("manage/pools/<slug:slug>/", pools.pool, name="pool"),
    path("manage/pools/<slug:slug>/now/", pools.now, name="pool_now"),
    path("manage/fleet/", fleet.fleet, name="fleet"),
    path("manage/fleet/now/", fleet.now, name="fleet_now"),
    path("manage/guide/", guide.guide, name="guide"),
]
