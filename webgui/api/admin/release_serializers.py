from __future__ import annotations

from typing import Any

from rest_framework import serializers

from webgui.registry import parameters, vocabularies
from webgui.registry.composition import LoraWish, Wish
from webgui.registry.models import Release

from ..serializers import StrictCharField


class ReleaseSerializer(serializers.Serializer):
    digest = serializers.CharField(help_text="SHA-256 of release.json; names every file.")
    name = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=Release.State.choices)
    bytes = serializers.SerializerMethodField(help_text="Of all its files.")
    pools = serializers.SerializerMethodField(help_text="Slugs of the pools that use it.")
    canary_of = serializers.SerializerMethodField(help_text="Slugs of the pools that try it.")
    created_at = serializers.DateTimeField()
    activated_at = serializers.DateTimeField(allow_null=True)

    def get_bytes(self, release: Release) -> int:
        return release.bytes

    def get_pools(self, release: Release) -> list[str]:
        return sorted(pool.slug for pool in release.pools.all())

    def get_canary_of(self, release: Release) -> list[str]:
        return sorted(pool.slug for pool in release.canary_of.all())


class ReleaseReportSerializer(ReleaseSerializer):
    manifest = serializers.JSONField(help_text="What release.json says.")


class LoraWishSerializer(serializers.Serializer):
    part = StrictCharField(max_length=64)
    weight = serializers.FloatField(
        default=1.0,
        min_value=parameters.LORA_WEIGHT[0],
        max_value=parameters.LORA_WEIGHT[1],
        help_text="1 as it was trained, 0 nothing.",
    )


def _part(help_text: str, **options: Any) -> StrictCharField:
    return StrictCharField(max_length=64, help_text=help_text, **options)


class WishSerializer(serializers.Serializer):
    """Parts by their digests (see `options/`), by a checkpoint's id, or by the digest of a release
    that has them."""

    title = StrictCharField(max_length=200)
    description = StrictCharField(max_length=2000, default="", allow_blank=True)
    prototype = _part("A StyleGAN2.")
    base = _part("A Stable Diffusion.")
    critic = _part("Scores what is drawn.")
    adapter = _part("Without one, the prototype is the start alone.", default="", allow_blank=True)
    upscaler = _part("Where the base draws small.", default="", allow_blank=True)
    loras = LoraWishSerializer(many=True, default=list)
    vocabulary = StrictCharField(
        max_length=64,
        default=vocabularies.OF_PROTOTYPE,
        help_text="Which tags can be asked for: `prototype` (its own), `none`, or the digest of a "
        "release that has them.",
    )
    prefix = serializers.ListField(
        child=StrictCharField(max_length=100),
        max_length=20,
        default=list,
        help_text="Words before every caption, such as a LoRA's trigger words.",
    )
    params = serializers.DictField(
        child=serializers.JSONField(),
        default=dict,
        help_text=f"Any of {', '.join(parameters.PARAMETERS)}, scheduler.",
    )
    credits = serializers.ListField(
        child=StrictCharField(max_length=300),
        max_length=20,
        default=list,
        help_text="Whom to thank beside what the parts say themselves.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:60]: f"Unknown field; there are: {known}." for name in unknown}
            )
        return attrs

    def wish(self) -> Wish:
        given = dict(self.validated_data)
        loras = tuple(LoraWish(lora["part"], lora["weight"]) for lora in given.pop("loras"))
        return Wish(
            **given | {"loras": loras} | {n: tuple(given[n]) for n in ("prefix", "credits")}
        )


class OptionSerializer(serializers.Serializer):
    part = serializers.CharField(source="part.digest")
    title = serializers.CharField(source="part.title")
    sizes = serializers.CharField()
    bytes = serializers.IntegerField(source="part.bytes")
    chosen = serializers.BooleanField()
    fits = serializers.BooleanField(help_text="With what is chosen in the other slots.")
    reason = serializers.CharField(help_text="Why it does not.")


class VocabularySerializer(serializers.Serializer):
    key = serializers.CharField()
    title = serializers.CharField()
    tags = serializers.IntegerField(source="count")


class ParameterSerializer(serializers.Serializer):
    name = serializers.CharField()
    usual = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()
    hint = serializers.CharField()


class OptionsSerializer(serializers.Serializer):
    slots = serializers.DictField(child=OptionSerializer(many=True))
    upscaler_needed = serializers.CharField(help_text="Why the chosen base needs one, if it does.")
    vocabularies = VocabularySerializer(many=True)
    parameters = ParameterSerializer(many=True)
    schedulers = serializers.ListField(child=serializers.CharField())
