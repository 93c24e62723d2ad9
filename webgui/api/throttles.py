"""The API's face of `accounts.allowance`."""

from __future__ import annotations

from typing import Any

from rest_framework.throttling import BaseThrottle

from webgui.accounts.allowance import Allowance, spend_claim


class ClaimThrottle(BaseThrottle):
    """Leaves the allowance on the request, for the rate-limit headers of every answer."""

    def allow_request(self, request: Any, view: Any) -> bool:
        self.allowance: Allowance = spend_claim(request._request)
        request._request.allowance = self.allowance
        return self.allowance.granted

    def wait(self) -> float:
        return float(self.allowance.reset)
