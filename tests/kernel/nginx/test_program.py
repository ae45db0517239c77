"""A candidate goes live on a real nginx, or everything stays as it was."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.kernel.errors import NginxRefused, Unavailable
from holdfast.kernel.nginx import (
    Candidate,
    Generations,
    Nginx,
    NginxStatus,
    go_live,
    loaded_generation,
    master,
    take_back,
)
from holdfast.kernel.ports import free_port
from tests.kernel.nginx.lab import NginxLab, nginx_lab, send, until

pytestmark = pytest.mark.real


@dataclass(slots=True)
class Site:
    """An operator's nginx and our generations."""

    lab: NginxLab
    generations: Generations
    nginx: Nginx
    port: int

    @property
    def include(self) -> str:
        return self.nginx.include_line

    def candidate(self, answer: str, *, broken: str = "") -> Candidate:
        number = self.generations.next_number()
        control = (
            f"server {{ listen 127.0.0.1:{self.nginx.control_port}; location = /generation"
            f' {{ return 200 "{number} $pid"; }} }}\n'
        )
        site = f'server {{ listen 127.0.0.1:{self.port}; return 200 "{answer}"; {broken} }}\n'
        files = {"http.conf": control + site}
        return self.generations.prepare(files, author="ann", reason=answer)

    async def answer(self) -> str:
        return (await send(self.port, "GET", "/")).body


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    generations = Generations(tmp_path / "gw")
    generations.ensure()
    async with nginx_lab(tmp_path / "op") as lab:
        nginx = Nginx(lab.command, generations.root)
        yield Site(lab, generations, nginx, free_port())


async def started(site: Site) -> None:
    site.lab.write_main(site.include)
    await site.lab.start()
    assert (await go_live(site.generations, site.nginx, site.candidate("one"))).live


async def test_a_change_answers_when_the_call_returns(site: Site) -> None:
    await started(site)
    assert await site.answer() == "one"
    for n in range(5):
        outcome = await go_live(site.generations, site.nginx, site.candidate(f"change {n}"))
        assert (await site.answer(), outcome.remedy) == (f"change {n}", "")


async def test_a_worker_that_was_just_forked_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It bears its master's title until it runs; not seen, it would answer with the old files."""
    monkeypatch.setattr(master, "_NAMED_SECONDS", 60.0)
    then = 'read; exec -a "nginx: worker process" cat'
    words = ["bash", "-c", 'exec -a "nginx: master process" bash -c "$0"', then]
    worker = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE)
    assert worker.stdin is not None
    title = Path(f"/proc/{worker.pid}/cmdline")
    try:
        await until(lambda: title.read_text().startswith("nginx: master"), "has no title")
        asked = asyncio.create_task(master.workers_before_a_reload(os.getpid()))
        await asyncio.sleep(0)
        assert not asked.done()
        worker.stdin.write(b"\n")
        assert worker.pid in await asked
    finally:
        worker.kill()
        await worker.wait()


async def test_a_refused_change_leaves_everything_as_it_was(site: Site) -> None:
    await started(site)
    candidate = site.candidate("two", broken="no_such_directive;")
    with pytest.raises(NginxRefused) as refused:
        await go_live(site.generations, site.nginx, candidate)
    assert "no_such_directive" in str(refused.value.details)
    assert not candidate.directory.exists()
    assert (site.generations.current(), await site.answer()) == (2, "one")
    assert not list(site.generations.root.glob(".test-*"))


async def test_the_operators_own_file_is_part_of_the_test(site: Site) -> None:
    """What only breaks together with the operator's lines is found before the switch."""
    await started(site)
    (site.lab.prefix / "extra.conf").write_text(
        f"server {{ listen 127.0.0.1:{site.port}; server_name other; }}"
        "upstream taken { server 127.0.0.1:1; }"
    )
    site.lab.write_main(f"include extra.conf;\n{site.include}")
    candidate = site.generations.prepare(
        {"http.conf": "upstream taken { server 127.0.0.1:1; }"}, author="ann", reason="test"
    )
    tested = await site.nginx.test(candidate)
    assert (tested.ok, tested.complete) == (False, True)
    assert 'duplicate upstream "taken"' in tested.output


async def test_a_nested_include_is_tested_after_the_switch_and_put_back(site: Site) -> None:
    (site.lab.prefix / "conf.d").mkdir(parents=True)
    (site.lab.prefix / "conf.d" / "ours.conf").write_text(site.include)
    site.lab.write_main("upstream taken { server 127.0.0.1:1; }\ninclude conf.d/*.conf;")
    await site.lab.start()
    assert (await go_live(site.generations, site.nginx, site.candidate("one"))).live
    candidate = site.generations.prepare(
        {"http.conf": "upstream taken { server 127.0.0.1:1; }"}, author="ann", reason="test"
    )
    assert (await site.nginx.test(candidate)).ok, "alone it is right"
    with pytest.raises(NginxRefused) as refused:
        await go_live(site.generations, site.nginx, candidate)
    assert 'duplicate upstream "taken"' in str(refused.value.details)
    assert (site.generations.current(), await site.answer()) == (2, "one")


async def test_a_change_that_the_running_nginx_does_not_take_is_put_back(site: Site) -> None:
    """nginx -t does not mind a port that another program has; a reload does."""
    await started(site)
    candidate = site.candidate("two", broken="")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        main = candidate.main.read_text()
        taken = other.getsockname()[1]
        candidate.main.write_text(main + f"server {{ listen 127.0.0.1:{taken}; }}")
        with pytest.raises(Unavailable):
            await go_live(site.generations, site.nginx, candidate, wait_seconds=1.0)
    assert (site.generations.current(), await site.answer()) == (2, "one")


async def test_taking_back_makes_the_previous_generation_live(site: Site) -> None:
    await started(site)
    candidate = site.candidate("two")
    await go_live(site.generations, site.nginx, candidate)
    assert await site.answer() == "two"
    await take_back(site.generations, site.nginx, candidate)
    await take_back(site.generations, site.nginx, candidate)
    assert (site.generations.current(), await site.answer()) == (2, "one")
    assert not candidate.directory.exists()


async def test_a_rollback_goes_live_like_a_change(site: Site) -> None:
    await started(site)
    await go_live(site.generations, site.nginx, site.candidate("two"))
    outcome = await go_live(site.generations, site.nginx, site.generations.rollback(2))
    assert (outcome.generation, await site.answer()) == (2, "one")
    with pytest.raises(NginxRefused):
        await go_live(site.generations, site.nginx, site.candidate("x", broken="nonsense;"))
    assert await loaded_generation(site.nginx.control_port) is not None


async def test_a_change_without_reload_is_live_at_the_next_reload(site: Site) -> None:
    await started(site)
    outcome = await go_live(site.generations, site.nginx, site.candidate("two"), reload=False)
    assert (outcome.live, await site.answer()) == (False, "one")
    before = await site.nginx.reload()
    assert await site.nginx.wait_loaded(outcome.generation, before)
    assert await site.answer() == "two"


async def test_waiting_for_a_generation_that_never_comes_ends(site: Site) -> None:
    await started(site)
    assert not await site.nginx.wait_loaded(99, timeout_seconds=0.05)


def remedy(status: NginxStatus) -> str:
    return f"{status.problem} {status.remedy}"


async def test_without_the_include_nothing_is_live_and_the_line_is_named(site: Site) -> None:
    site.lab.write_main("")
    await site.lab.start()
    status = await site.nginx.status()
    assert (status.running, status.include_present, status.live) == (True, False, False)
    assert f"include {site.generations.root}/live/http.conf;" in remedy(status)
    outcome = await go_live(site.generations, site.nginx, site.candidate("one"))
    assert not outcome.live
    assert "nothing is live" in outcome.remedy


async def test_with_nginx_stopped_changes_are_tested_and_written(site: Site) -> None:
    site.lab.write_main(site.include)
    status = await site.nginx.status()
    assert (status.running, status.include_present) == (False, True)
    assert "not running" in remedy(status)
    outcome = await go_live(site.generations, site.nginx, site.candidate("one"))
    assert (outcome.live, site.generations.current()) == (False, 2)
    with pytest.raises(NginxRefused):
        await go_live(site.generations, site.nginx, site.candidate("x", broken="nonsense;"))
    with pytest.raises(Unavailable):
        await site.nginx.reload()


async def test_a_missing_program_is_said_with_its_remedy(tmp_path: Path) -> None:
    nginx = Nginx([str(tmp_path / "no-nginx")], tmp_path)
    status = await nginx.status()
    assert not status.live
    assert "HOLDFAST_NGINX_COMMAND" in status.remedy


async def test_a_broken_main_file_is_said(site: Site) -> None:
    site.lab.write_main("server { listen 'unclosed; }")
    status = await site.nginx.status()
    assert "nothing is live" in status.problem
    assert str(site.lab.main) in status.problem


async def test_the_operators_access_logs_are_known(site: Site) -> None:
    site.lab.write_main(f"access_log logs/second.log combined buffer=4k;\n{site.include}")
    main = await site.nginx.main_file()
    assert main.access_logs == ("logs/access.log", "logs/second.log combined buffer=4k")
    assert (main.hash_sizes, main.nested, main.includes_us) == (False, False, True)
    assert main.pid == site.lab.prefix / "nginx.pid"
