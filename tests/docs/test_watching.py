"""The dashboard and the alert rules speak of metrics there are, and of what the guide explains."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from generator_worker.contract import Heartbeat
from generator_worker.ledger import Ledger
from generator_worker.metrics import WorkerCollector
from tests.deploy.processes import need
from webgui.fleet.models import Alarm
from webgui.pages.guide import rendered
from webgui.watching.exposition import ServerCollector

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "docs/alert-rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
GPU = {"gpu_use": 0.5, "gpu_memory_used_bytes": 1, "disk_free_bytes": 1}


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\bstylediffuser_\w+", text))


def exposed(metrics: Any) -> dict[str, Metric]:
    """By every name that a scrape shows."""
    return {
        metric.name + suffix: metric
        for metric in metrics
        for suffix in SUFFIXES.get(metric.type, [""])
    }


@pytest.fixture
def there(db: None, tmp_path: Path) -> dict[str, Metric]:
    told = {"worker": "w1", "software": "s", "device": "d", "memory_bytes": 1, **GPU}
    beat = Heartbeat(started="2026-01-01T00:00:00Z", **told)
    worker = WorkerCollector(lambda: beat, Ledger(tmp_path / "ledger.json"))
    return exposed(ServerCollector().collect()) | exposed(worker.collect())


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return asked + [note["expr"] for note in DASHBOARD["annotations"]["list"]]


def test_every_metric_that_they_name_exists(there: dict[str, Metric]) -> None:
    for text in (*expressions(), *(rule["expr"] for rule in RULES)):
        assert names_in(text) and names_in(text) <= there.keys(), text


def test_every_label_that_they_group_by_exists(there: dict[str, Metric]) -> None:
    known = {label for metric in there.values() for label in _labels(metric)} | {"le", "instance"}
    for text in (*expressions(), *(rule["expr"] for rule in RULES)):
        groups = re.findall(r"(?:by|ignoring) \(([^)]*)\)", text)
        assert {label.strip() for group in groups for label in group.split(",")} <= known, text


def _labels(metric: Metric) -> tuple[str, ...]:
    return tuple(getattr(metric, "_labelnames", ()))


def test_the_guide_lists_the_servers_metrics_and_no_other(there: dict[str, Metric]) -> None:
    guide = (ROOT / "docs/operating.md").read_text()
    table = guide.partition("## Metrics")[2].partition("\n## ")[0]
    rows = "".join(re.findall(r"^\| (`.*?) \|", table, re.M))
    listed = set(re.findall(r"[a-z_]{4,}", re.sub(r"\{[^}]*\}", "", rows)))
    ours = {
        metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")
        for metric in there.values()
        if not re.match(r"stylediffuser_worker(_|$)", metric.name)
    }
    assert {f"stylediffuser_{name}" for name in listed} == ours


def test_each_alarm_has_a_rule_and_each_rule_a_heading_of_the_guide() -> None:
    kinds = {kind for rule in RULES for kind in re.findall(r'kind="([\w-]+)"', rule["expr"])}
    assert kinds == set(Alarm.Kind.values)
    page = rendered()
    for rule in RULES:
        where, _, heading = rule["annotations"]["todo"].partition("#")
        assert where == "docs/operating.md" and f'id="{heading}"' in page, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_dashboard_can_be_imported() -> None:
    """What Grafana asks for: a data source to choose, panels with ids that do not overlap."""
    assert {"title", "uid", "schemaVersion", "templating", "time"} <= DASHBOARD.keys()
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        assert not _overlap(one, other)
    for panel in panels():
        assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
        assert [target["refId"] for target in panel["targets"]] == list("ABC")[
            : len(panel["targets"])
        ]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= {"pool", "__rate_interval"}


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_prometheus_takes_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    need("promtool")
    asked = [
        {"record": f"dashboard:{number}", "expr": _filled_in(text)}
        for number, text in enumerate(expressions())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}))
    promtool("check", "rules", str(file), str(ROOT / "docs/alert-rules.yml"))
    promtool("test", "rules", str(ROOT / "tests/docs/alert-rules.test.yml"))


def _filled_in(text: str) -> str:
    return text.replace("$__rate_interval", "1m").replace("$pool", ".*")


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
