from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("avatars/<uuid:avatar_id>/", views.avatar, name="avatar"),
    path("tickets/<uuid:ticket_id>/", views.ticket, name="ticket"),
    path("about/", views.about, name="about"),
]
