"""A worker in a process of its own: ``python worker_program.py DATA_DIR DATABASE_URL``."""

import asyncio
import signal
import sys
from pathlib import Path

import tests.kernel.jobs.sample_jobs  # noqa: F401 - registers the jobs
from holdfast.kernel.jobs.engine import JobEngine
from tests.kernel.jobs.harness import QUICK, services_for


async def main(data_dir: Path, url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    services = services_for(data_dir, url)
    engine = JobEngine(QUICK)
    await engine.start(services)
    (data_dir / "started").write_text("yes")
    await stop.wait()
    await engine.stop()
    await services.database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
