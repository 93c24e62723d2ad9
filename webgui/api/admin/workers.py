"""The fleet, for administrators: workers, their duty, alarms, and how the service stood."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from generator_worker.contract import Duty
from webgui.accounts import audit
from webgui.fleet import duty, samples, survey
from webgui.fleet.models import Alarm, Worker

from ..bodies import demand_json
from ..views import problems
from .access import StaffResource

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
ALARMS_SHOWN = 100
STATES = [Worker.SILENT, Worker.REFUSING, *(each.value for each in Duty)]


class TaskSerializer(serializers.Serializer):
    what = serializers.CharField(help_text="`batch`, or the kind of a job.")
    about = serializers.CharField(help_text="The pool or release.")
    images = serializers.IntegerField(allow_null=True)
    fraction = serializers.FloatField(help_text="How far it is, 0 to 1.")
    note = serializers.CharField()


class RefusedSerializer(serializers.Serializer):
    digest = serializers.CharField()
    title = serializers.CharField()
    reason = serializers.CharField()
    failures = serializers.IntegerField()


class WorkerSerializer(serializers.Serializer):
    name = serializers.CharField(source="worker.name")
    state = serializers.ChoiceField(choices=STATES, source="worker.state")
    duty = serializers.ChoiceField(choices=Worker.DUTIES, source="worker.duty")
    duty_reason = serializers.CharField(source="worker.duty_reason")
    activity = serializers.CharField(source="worker.activity")
    software = serializers.CharField(source="worker.software")
    device = serializers.CharField(source="worker.device")
    memory_bytes = serializers.IntegerField(source="worker.memory_bytes")
    loaded = serializers.ListField(child=serializers.CharField(), source="worker.loaded")
    speeds = serializers.DictField(
        child=serializers.FloatField(), source="worker.speeds", help_text="Images a second."
    )
    images_per_minute = serializers.FloatField(source="worker.images_per_minute")
    outbox = serializers.IntegerField(source="worker.outbox")
    faults = serializers.IntegerField(
        source="worker.faults", help_text="Orders it failed since the last one it delivered."
    )
    last_fault = serializers.CharField(source="worker.last_fault")
    last_fault_at = serializers.DateTimeField(source="worker.last_fault_at", allow_null=True)
    refused = RefusedSerializer(many=True, help_text="Releases it draws no more.")
    tasks = TaskSerializer(many=True, help_text="What it has in hand, the one it is at first.")
    safe_to_stop = serializers.BooleanField(help_text="Off duty, with nothing in hand.")
    clock_ahead = serializers.FloatField(source="worker.clock_ahead", allow_null=True)
    report = serializers.DictField(source="worker.report", help_text="Of its last heartbeat.")
    last_seen = serializers.DateTimeField(source="worker.last_seen")


class DutySerializer(serializers.Serializer):
    duty = serializers.ChoiceField(choices=Worker.DUTIES)
    reason = serializers.CharField(default="", allow_blank=True, max_length=500)


class ForgiveSerializer(serializers.Serializer):
    release = serializers.RegexField(r"^[0-9a-f]{64}$", help_text="Its digest.")


class AlarmSerializer(serializers.ModelSerializer):
    class Meta:
        model = Alarm
        fields = ["id", "kind", "subject", "detail", "raised_at", "cleared_at"]


class PoolSeriesSerializer(serializers.Serializer):
    pool = serializers.CharField()
    available = serializers.ListField(child=serializers.IntegerField(allow_null=True))


class HistorySerializer(serializers.Serializer):
    times = serializers.ListField(child=serializers.IntegerField(), help_text="Unix seconds.")
    claims = serializers.ListField(child=serializers.FloatField(), help_text="A minute.")
    images = serializers.ListField(child=serializers.FloatField(), help_text="A minute.")
    workers = serializers.ListField(child=serializers.IntegerField(), help_text="At work.")
    pools = PoolSeriesSerializer(many=True)


class WorkersView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_workers_list",
        summary="The workers ever heard from",
        responses={200: WorkerSerializer(many=True), **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        return Response(WorkerSerializer(survey.standings(), many=True).data)


class WorkerView(StaffResource):
    @extend_schema(
        summary="A worker, and what it is at",
        responses={200: WorkerSerializer, **problems(401, 403, 404)},
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(_shown(name))


class DutyView(StaffResource):
    @extend_schema(
        summary="Say what is wanted of a worker",
        description=(
            "`working`: it gets orders. `draining`: it finishes what it has and gets nothing new. "
            "`maintenance`: what it has not begun goes to others as well."
        ),
        request=DutySerializer,
        responses={200: WorkerSerializer, **problems(400, 401, 403, 404)},
    )
    def put(self, request: Request, name: str) -> Response:
        demand_json(request)
        wanted = DutySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        told = wanted.validated_data
        actor = audit.actor_of(request)
        duty.set_duty(survey.find(name), Duty(told["duty"]), actor, told["reason"])
        return Response(_shown(name))


class ForgiveView(StaffResource):
    @extend_schema(
        summary="Let a worker try a release again that was faulty on it",
        request=ForgiveSerializer,
        responses={202: WorkerSerializer, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, name: str) -> Response:
        demand_json(request)
        wanted = ForgiveSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        release = wanted.validated_data["release"]
        duty.forgive(survey.find(name), release, audit.actor_of(request))
        return Response(_shown(name), status=202)


class AlarmsView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_alarms_list",
        summary=f"The latest {ALARMS_SHOWN} alarms",
        responses={200: AlarmSerializer(many=True), **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        return Response(AlarmSerializer(Alarm.objects.all()[:ALARMS_SHOWN], many=True).data)


class HistoryView(StaffResource):
    @extend_schema(
        summary="Levels, claims and images of the last hour or day",
        parameters=[OpenApiParameter("span", str, enum=list(SPANS), default="hour")],
        responses={200: HistorySerializer, **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        span = SPANS.get(request.query_params.get("span", "hour"))
        if span is None:
            raise ValidationError({"span": [f"One of: {', '.join(SPANS)}."]})
        return Response(samples.history(span))


def _shown(name: str) -> Any:
    return WorkerSerializer(survey.standing(survey.find(name))).data
