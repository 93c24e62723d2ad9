from __future__ import annotations

from typing import Any

from rest_framework import serializers

from webgui.registry.models import Checkpoint

from ..serializers import StrictCharField


class StoredFileSerializer(serializers.Serializer):
    """A converted file, as workers fetch it: `checkpoints/<sha256>` over SFTP."""

    file = serializers.CharField()
    sha256 = serializers.CharField()
    bytes = serializers.IntegerField()


class CheckpointSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField(help_text="The file's, as its owner called it.")
    state = serializers.ChoiceField(choices=Checkpoint.State.choices)
    reason = serializers.CharField(help_text="Why it is refused, or why it still waits.")
    kind = serializers.CharField(help_text="What it is, once inspected.")
    size = serializers.IntegerField(help_text="Bytes of the uploaded file.")
    sha256 = serializers.CharField(
        allow_null=True, help_text="Of the uploaded file; null until it is whole."
    )
    uploaded_by = serializers.CharField(source="uploaded_by.username", default=None)
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)
    used_by = serializers.SerializerMethodField(help_text="Digests of the releases made of it.")

    def get_used_by(self, checkpoint: Any) -> list[str]:
        return [release.digest for release in self.context["used_by"][checkpoint.pk]]


class CheckpointReportSerializer(CheckpointSerializer):
    files = StoredFileSerializer(many=True)
    report = serializers.JSONField(help_text="All that inspection found.")


class InspectSerializer(serializers.Serializer):
    kind = StrictCharField(
        max_length=40,
        required=False,
        default="",
        allow_blank=True,
        help_text="What it is, where the content alone does not tell; checked as well.",
    )
