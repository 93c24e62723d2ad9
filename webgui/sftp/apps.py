from django.apps import AppConfig


class SftpConfig(AppConfig):
    name = "webgui.sftp"
