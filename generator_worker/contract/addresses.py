"""Where messages go and what things are called: queues, tasks, folders, accounts."""

from __future__ import annotations

from uuid import UUID

# Celery queue names of the server. A worker reads `live_queue(name)` and then `worker_queue(name)`:
# whatever it is sent is meant for it alone.
SERVER_QUEUE = "server"
# Apart from the server's other work: what is taken in takes long, a heartbeat must be read soon.
INGEST_QUEUE = "ingest"

# Celery task names: the sender of a message imports nothing of the receiver.
GENERATE_BATCH = "generator_worker.generate_batch"
BATCH_RECEIVED = "generator_worker.batch_received"
SET_DUTY = "generator_worker.set_duty"
FORGIVE_RELEASE = "generator_worker.forgive_release"
RUN_JOB = "generator_worker.run_job"
JOB_RECEIVED = "generator_worker.job_received"
CANCEL_JOB = "generator_worker.cancel_job"
BATCH_DELIVERED = "buffer.batch_delivered"
BATCH_PROGRESS = "buffer.batch_progress"
BATCH_FAILED = "buffer.batch_failed"
HEARTBEAT = "fleet.heartbeat"
JOB_PROGRESS = "studio.job_progress"
JOB_FAILED = "studio.job_failed"
JOB_DELIVERED = "studio.job_delivered"
# All that the server does because a worker says so.
FROM_WORKERS = frozenset(
    {
        *(BATCH_DELIVERED, BATCH_PROGRESS, BATCH_FAILED, HEARTBEAT),
        *(JOB_PROGRESS, JOB_FAILED, JOB_DELIVERED),
    }
)

# Seconds until the broker hands out an unacknowledged message again. Every application on one
# broker must use the same: the shortest wins.
VISIBILITY_TIMEOUT = 3600

MANIFEST_NAME = "manifest.json"
JOB_FOLDER = "job-"


def worker_queue(worker: str) -> str:
    """The queue that only this worker consumes: orders and receipts."""
    return f"worker.{worker}"


def live_queue(worker: str) -> str:
    """What somebody waits for, and word of its duty: read before `worker_queue`."""
    return f"worker.{worker}.live"


def cancel_queue(worker: str) -> str:
    """Jobs called off. The worker looks here itself while it runs one: in any other queue such
    word would wait behind the very job."""
    return f"worker.{worker}.cancel"


def own_queues(worker: str) -> tuple[str, ...]:
    """All that this worker reads, and nobody else."""
    return live_queue(worker), worker_queue(worker), cancel_queue(worker)


def job_folder(job_id: UUID) -> str:
    """What a job brings is delivered under this name; a batch under its bare id."""
    return f"{JOB_FOLDER}{job_id}"


def worker_account(worker: str) -> str:
    """What the worker is called at the broker and at the SFTP server."""
    return f"worker-{worker}"
