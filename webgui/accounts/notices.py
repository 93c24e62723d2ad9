"""The admin site's messages ("saved", say) travel in a cookie of this site alone."""

from __future__ import annotations

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage


class NoticesCookie(CookieStorage):
    cookie_name = settings.COOKIE_PREFIX + "messages"
