from django.apps import AppConfig


class BufferConfig(AppConfig):
    name = "webgui.buffer"
