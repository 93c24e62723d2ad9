from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "webgui.accounts"

    def ready(self) -> None:
        from . import lockout  # noqa: F401  its receivers
