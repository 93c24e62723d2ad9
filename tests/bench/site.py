"""The server's addresses and the bare view's."""

from __future__ import annotations

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webgui.config.urls import handler404, handler500
from webgui.config.urls import urlpatterns as shipped

__all__ = ["handler404", "handler500", "urlpatterns"]


class ConstantView(APIView):
    """As bare as a view of Django REST framework gets."""

    def post(self, request: Request) -> Response:
        return Response({"answer": "constant"}, status=201)


urlpatterns = [path("constant/", ConstantView.as_view()), *shipped]
