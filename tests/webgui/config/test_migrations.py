"""What a migration may do, so that the version before it still works while it is rolled out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tests.webgui.making import deliver, make_batch
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Batch, Pool

# The last ones of the first version: nobody can come from an older one.
FIRST = {
    "accounts": "0002_audit",
    "buffer": "0007_orders_rung_again",
    "enrolment": "0001_initial",
    "fleet": "0003_watching",
    "registry": "0003_request_ids",
    "studio": "0002_request_ids",
    "watching": "0001_initial",
}
ADDING = (migrations.CreateModel, migrations.AddIndex, migrations.AlterModelOptions)
SHRINKING = (
    migrations.RemoveField,
    migrations.DeleteModel,
    migrations.RemoveIndex,
    migrations.RemoveConstraint,
)


def faults(migration: migrations.Migration) -> list[str]:
    """Why it must not be rolled out beside the version before it."""
    found = [said for operation in migration.operations if (said := fault(migration, operation))]
    if len(migration.operations) > 1 and any(
        isinstance(operation, migrations.RunPython) for operation in migration.operations
    ):
        # The tables would stay locked for as long as the rows take.
        found.append("RunPython stands beside other operations: give it a migration of its own")
    return found


def fault(migration: migrations.Migration, operation: Operation) -> str:
    told = operation.describe()
    if isinstance(operation, (*ADDING, migrations.RunPython)):
        return ""
    if isinstance(operation, migrations.AddField):
        # Django fills the default in by itself, and old code does not know of the field.
        filled = operation.field.null or operation.field.db_default is not models.NOT_PROVIDED
        many = isinstance(operation.field, models.ManyToManyField)
        return "" if filled or many else f"{told}: old code leaves it out; give it a db_default"
    if isinstance(operation, SHRINKING):
        # Old code still reads it, unless the version before had stopped to.
        free = getattr(migration, "unused_since", "")
        return "" if free else f"{told}: say `unused_since`, the version that no longer has it"
    return f"{told}: old code does not expect it; add, move, then remove"


def after_the_first_version() -> list[migrations.Migration]:
    loader = MigrationLoader(None)
    return [
        migration
        for (app, name), migration in sorted(loader.disk_migrations.items())
        if migration.__module__.startswith("webgui.") and name > FIRST.get(app, "")
    ]


def test_the_version_before_works_with_every_migration():
    found = {str(migration): faults(migration) for migration in after_the_first_version()}
    assert {name: said for name, said in found.items() if said} == {}


def test_the_first_versions_migrations_are_there():
    names = {(app, name) for app, name in MigrationLoader(None).disk_migrations}
    assert {*FIRST.items()} <= names


def of(*operations: Operation, **attributes: str) -> migrations.Migration:
    return type("Made", (migrations.Migration,), {"operations": operations, **attributes})(
        "made", "buffer"
    )


SAFE = [
    of(migrations.AddField("batch", "a", models.IntegerField(null=True))),
    of(migrations.AddField("batch", "b", models.IntegerField(db_default=0))),
    of(migrations.AddIndex("batch", models.Index(fields=["note"], name="batch_made"))),
    of(migrations.CreateModel("Made", [("id", models.BigAutoField(primary_key=True))])),
    of(migrations.RunPython(migrations.RunPython.noop)),
    of(migrations.RemoveField("batch", "note"), unused_since="0.2"),
]
UNSAFE = [
    of(migrations.AddField("batch", "a", models.IntegerField(default=0))),
    of(migrations.RemoveField("batch", "note")),
    of(migrations.RenameField("batch", "note", "remark")),
    of(migrations.RenameModel("batch", "order")),
    of(migrations.AlterField("batch", "note", models.CharField(max_length=10))),
    of(migrations.AddConstraint("batch", models.UniqueConstraint(fields=["note"], name="once"))),
    of(migrations.RunSQL("SELECT 1")),
    of(
        migrations.AddField("batch", "a", models.IntegerField(null=True)),
        migrations.RunPython(migrations.RunPython.noop),
    ),
]


@pytest.mark.parametrize("migration", SAFE, ids=lambda made: made.operations[0].describe())
def test_what_adds_is_safe(migration):
    assert faults(migration) == []


@pytest.mark.parametrize("migration", UNSAFE, ids=lambda made: made.operations[0].describe())
def test_what_changes_or_takes_away_is_not(migration):
    assert len(faults(migration)) == 1


@pytest.fixture
def newer_schema(transactional_db: None) -> Iterator[None]:
    """The tables as a later version would have them; this one's code knows nothing of it."""
    state = MigrationLoader(connection).project_state()
    undo = []
    for made in SAFE[:4]:
        before, state = state, applied(made, state)
        with connection.schema_editor() as editor:
            made.operations[0].database_forwards("buffer", editor, before, state)
        undo.append((made.operations[0], state, before))
    yield
    for operation, later, before in reversed(undo):
        with connection.schema_editor() as editor:
            operation.database_backwards("buffer", editor, later, before)


def applied(migration: migrations.Migration, state: ProjectState) -> ProjectState:
    later = state.clone()
    migration.operations[0].state_forwards("buffer", later)
    return later


def test_code_of_today_orders_takes_in_and_hands_out_on_a_later_schema(newer_schema, pool: Pool):
    batch = make_batch(pool)
    deliver(batch)
    ingest(batch.pk)
    assert claim(client="visitor:a").avatar is not None
    assert Batch.objects.get().state == Batch.State.INGESTED
