"""Who may claim: everybody, but nobody unawares."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission

from .errors import CrossSite


class OwnPagesAndPrograms(BasePermission):
    """Another site's page must not claim with a visitor's browser, nor spend the allowance.

    Browsers say so by themselves; programs send no such header.
    """

    def has_permission(self, request: Any, view: Any) -> bool:
        if request.method == "POST" and request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise CrossSite("Claim from this site's own pages, or from a program of your own.")
        return True
