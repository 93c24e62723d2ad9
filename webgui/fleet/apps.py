from django.apps import AppConfig


class FleetConfig(AppConfig):
    name = "webgui.fleet"
