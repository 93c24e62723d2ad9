"""The shapes of requests and answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from webgui.buffer.models import Avatar, Pool, Ticket
from webgui.buffer.progress import Outlook


class StrictCharField(serializers.CharField):
    """DRF's takes numbers for text; here a wrong type is a fault."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a string.", code="invalid")
        try:
            data.encode()
        except UnicodeEncodeError:
            raise serializers.ValidationError("Not valid Unicode.", code="invalid") from None
        return super().to_internal_value(data)


class ClaimSerializer(serializers.Serializer):
    """What to claim. Everything may be left out."""

    pool = StrictCharField(
        max_length=50, required=False, allow_null=True, help_text="Slug; without it the first pool."
    )
    tags = serializers.ListField(
        child=StrictCharField(max_length=60),
        max_length=20,
        required=False,
        allow_null=True,
        help_text="The avatar shall have all of these; see `GET pools/` for what there is.",
    )

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if unknown := sorted(set(data) - set(self.fields)):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:60]: f"Unknown field; there are: {known}." for name in unknown}
            )
        return values


def avatar_form(avatar: Avatar, root: str) -> dict[str, Any]:
    """As `AvatarSerializer` describes it. By hand: with DRF's fields it takes longer than the
    claim did."""
    root = root.rstrip("/")
    return {
        "id": str(avatar.pk),
        "pool": avatar.pool.slug,
        "release": avatar.release.digest,
        "seed": avatar.seed,
        "score": avatar.score,
        "tags": avatar.tags,
        "width": avatar.width,
        "height": avatar.height,
        "image": f"{root}/api/v1/avatars/{avatar.pk}/image",
        "page": root + avatar.get_absolute_url(),
        "claimed_at": avatar.claimed_at,
    }


class AvatarSerializer(serializers.Serializer):
    """For the document, and where an avatar is part of something else."""

    id = serializers.UUIDField(read_only=True)
    pool = serializers.CharField(read_only=True)
    release = serializers.CharField(read_only=True)
    seed = serializers.IntegerField(read_only=True)
    score = serializers.FloatField(read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    width = serializers.IntegerField(read_only=True)
    height = serializers.IntegerField(read_only=True)
    image = serializers.URLField(read_only=True, help_text="Add ?size=32…512 and &format=png|webp.")
    page = serializers.URLField(read_only=True)
    claimed_at = serializers.DateTimeField(read_only=True, allow_null=True)

    def to_representation(self, avatar: Avatar) -> dict[str, Any]:
        return avatar_form(avatar, self.context["root"])


class TicketSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    pool = serializers.CharField(source="pool.slug")
    tags = serializers.ListField(child=serializers.CharField())
    state = serializers.ChoiceField(choices=Ticket.State.values)
    position = serializers.SerializerMethodField(help_text="Place in line; 1 is next.")
    eta_seconds = serializers.SerializerMethodField(
        help_text="Null while nobody can tell; `note` says why."
    )
    progress = serializers.SerializerMethodField(
        help_text="How far the batch being made is, 0 to 1."
    )
    note = serializers.SerializerMethodField(
        help_text="What the worker is doing, or what it waits for."
    )
    avatar = AvatarSerializer(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()

    @property
    def outlook(self) -> Outlook:
        outlook: Outlook = self.context["outlook"]
        return outlook

    def get_position(self, _: Ticket) -> int | None:
        return self.outlook.position

    def get_eta_seconds(self, _: Ticket) -> int | None:
        return self.outlook.eta_seconds

    def get_progress(self, _: Ticket) -> float | None:
        return self.outlook.progress

    def get_note(self, _: Ticket) -> str:
        return self.outlook.note


class PoolSerializer(serializers.ModelSerializer):
    release = serializers.CharField(source="release.digest", read_only=True)
    available = serializers.IntegerField(
        help_text="Ready to be claimed; from 10,000 on an estimate."
    )
    under_way = serializers.IntegerField(help_text="Ordered from workers.")
    waiting = serializers.IntegerField(help_text="Tickets in line.")
    tags = serializers.SerializerMethodField(help_text="Tags offered, by group.")

    class Meta:
        model = Pool
        fields = [
            "slug", "name", "release", "paused", "available", "under_way", "waiting",
            "low_watermark", "high_watermark", "tags",
        ]  # fmt: skip

    def get_tags(self, pool: Pool) -> dict[str, list[str]]:
        return {group: list(tags) for group, tags in pool.release.tag_groups.items()}


class FaultSerializer(serializers.Serializer):
    field = serializers.CharField()
    detail = serializers.CharField()
    accepted = serializers.ListField(child=serializers.CharField(), required=False)


class ProblemSerializer(serializers.Serializer):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; for programs.")
    detail = serializers.CharField(help_text="For people.")
    request = serializers.CharField(
        required=False, help_text="The X-Request-ID: the server's logs name it."
    )
    errors = FaultSerializer(many=True, required=False)  # type: ignore[assignment]
