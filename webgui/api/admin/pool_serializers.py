from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webgui.accounts.models import AuditEntry
from webgui.buffer import canary
from webgui.buffer.models import OldStock

from ..serializers import StrictCharField

LARGEST = 2**31 - 1


class MakingSerializer(serializers.Serializer):
    """A release as a pool makes it."""

    digest = serializers.CharField(source="release.digest")
    title = serializers.CharField(source="release.title")
    state = serializers.CharField(source="release.state")
    benign = serializers.FloatField(
        allow_null=True, help_text="Of what was drawn lately, the share that reached the buffer."
    )
    available = serializers.IntegerField(help_text="Images of it in the buffer.")
    discarded = serializers.IntegerField(help_text="Images of it that would come back with it.")


class CanarySerializer(MakingSerializer):
    share = serializers.SerializerMethodField(help_text="Percent of the orders.")
    given_up = serializers.SerializerMethodField(
        help_text="Its last orders failed; it gets none until an administrator decides."
    )
    trouble = serializers.SerializerMethodField(help_text="Why its last order failed.")

    def get_share(self, _: Any) -> int:
        return int(self.context["pool"].canary_share)

    def get_given_up(self, _: Any) -> bool:
        return canary.is_given_up(self.context["pool"])

    def get_trouble(self, _: Any) -> str:
        return str(self.context["pool"].canary_trouble)


class OrderSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    release = serializers.CharField(source="release.digest")
    state = serializers.CharField()
    count = serializers.IntegerField()
    worker = serializers.CharField()
    fraction = serializers.FloatField(help_text="How far it is, 0 to 1.")
    old_stock = serializers.CharField(
        help_text="What was decided for its images, where the pool has left its release."
    )


class PoolStandingSerializer(serializers.Serializer):
    slug = serializers.CharField(source="pool.slug")
    name = serializers.CharField(source="pool.name")
    version = serializers.IntegerField(
        source="pool.version",
        help_text="Grows with each change of its releases. Sent with a change, that is made only "
        "if nobody else made one in between.",
    )
    paused = serializers.BooleanField(source="pool.paused")
    low_watermark = serializers.IntegerField(source="pool.low_watermark")
    high_watermark = serializers.IntegerField(source="pool.high_watermark")
    batch_size = serializers.IntegerField(source="pool.batch_size")
    trouble = serializers.CharField(source="pool.trouble", help_text="Why the last orders failed.")
    available = serializers.IntegerField(source="level.available")
    under_way = serializers.IntegerField(source="level.under_way")
    waiting = serializers.IntegerField(source="level.waiting", help_text="Tickets in line.")
    old = serializers.IntegerField(help_text="Images of other releases still handed out.")
    release = MakingSerializer()
    canary = serializers.SerializerMethodField()
    previous = MakingSerializer(allow_null=True, help_text="What rolling back leads to.")
    orders = OrderSerializer(many=True, help_text="The first of those under way.")

    @extend_schema_field(CanarySerializer(allow_null=True))
    def get_canary(self, standing: Any) -> Any:
        if standing.canary is None:
            return None
        return CanarySerializer(standing.canary, context={"pool": standing.pool}).data


class Strict(serializers.Serializer):
    """A misspelt field would be an order left undone."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:60]: f"Unknown field; there are: {known}." for name in unknown}
            )
        return attrs


class StrictBooleanField(serializers.BooleanField):
    """DRF's takes "yes" and 1."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.", code="invalid")
        return data


def _number(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(max_value=LARGEST, **options)


class PoolEditSerializer(Strict):
    name = StrictCharField(max_length=100, required=False)
    low_watermark = _number(min_value=0, required=False)
    high_watermark = _number(min_value=0, required=False)
    batch_size = _number(min_value=1, required=False, help_text="The most images of one order.")
    paused = StrictBooleanField(
        required=False, help_text="Nothing new is ordered; what is there is still handed out."
    )


class PoolCreateSerializer(PoolEditSerializer):
    slug = serializers.SlugField(max_length=50)
    release = StrictCharField(max_length=64, help_text="Its digest; it needs a good preview.")


class _Decision(Strict):
    version = _number(
        min_value=0, required=False, help_text="Of the pool, as it was when this was decided."
    )


def _old_stock(default: str) -> serializers.ChoiceField:
    return serializers.ChoiceField(
        choices=OldStock.choices,
        default=default,
        help_text="What becomes of the images of the release before: in the buffer, and in orders "
        "under way. `keep`: handed out before all others. `mix`: old and new at random. "
        "`discard`: not handed out; they come back if the pool returns to that release.",
    )


class ActivateSerializer(_Decision):
    release = StrictCharField(max_length=64, help_text="Its digest; it needs a good preview.")
    old_stock = _old_stock(OldStock.MIX)


class PromoteSerializer(_Decision):
    old_stock = _old_stock(OldStock.MIX)


class RollBackSerializer(_Decision):
    old_stock = _old_stock(OldStock.DISCARD)


class StartCanarySerializer(_Decision):
    release = StrictCharField(max_length=64, help_text="Its digest; it needs a good preview.")
    share = _number(min_value=canary.LEAST, default=canary.SHARE, help_text="Percent of orders.")


class EntrySerializer(serializers.ModelSerializer):
    """One act of an administrator. `label` is what the target was called then."""

    details = serializers.JSONField()

    class Meta:
        model = AuditEntry
        fields = ["id", "at", "actor", "token", "act", "target", "label", "details"]
