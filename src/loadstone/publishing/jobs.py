"""The stages of a release as jobs, and the timer that ends abandoned uploads."""

from typing import Any, Final

from loadstone.kernel.jobs import Job, Timer
from loadstone.kernel.platform import Platform
from loadstone.publishing import uploads
from loadstone.publishing.models import STAGES, StageName
from loadstone.publishing.pipeline import WORK, park, run_stage
from loadstone.publishing.service import job_of


def _job(stage: StageName) -> Job:
    async def run(platform: Platform, payload: dict[str, Any]) -> None:
        await run_stage(platform, stage, WORK[stage], payload)

    async def on_parked(platform: Platform, payload: dict[str, Any]) -> None:
        await park(platform, stage, payload)

    return Job(job_of(stage), run, attempts=6, on_parked=on_parked)


JOBS: Final = [_job(stage) for stage in STAGES]
TIMERS: Final = [Timer("publishing.expire_uploads", "*/10 * * * *", uploads.expire)]
