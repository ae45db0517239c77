"""What ``doctor`` finds. The whole program is tested with the commands."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.kernel.config import LoadedSettings
from holdfast.kernel.contributors import Finding, Verdict, contributors
from holdfast.kernel.doctor import examine
from holdfast.kernel.ports import free_port
from holdfast.kernel.services import Services, build_services

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOLDFAST_PORT", str(free_port()))
    monkeypatch.setenv("HOLDFAST_NGINX_COMMAND", f"nginx -c {tmp_path}/nginx.conf")
    return monkeypatch


async def found(assemble: object = build_services) -> dict[str, Finding]:
    findings = await examine(assemble)  # type: ignore[arg-type]
    return {finding.check: finding for finding in findings}


async def test_every_warning_and_failure_has_a_remedy() -> None:
    findings = await found()
    assert {f.check for f in findings.values() if f.verdict is Verdict.FAIL} == set()
    assert all(f.remedy for f in findings.values() if f.verdict is not Verdict.OK)
    assert set(findings) >= {"settings", "rights", "port", "nginx", "rclone", "schema", "clock"}


async def test_a_setting_that_cannot_be_read_is_the_only_finding(
    settings: pytest.MonkeyPatch,
) -> None:
    settings.setenv("HOLDFAST_WORKER_CONCURRENCY", "plenty")
    findings = await found()
    assert set(findings) == {"settings"}
    assert "'worker_concurrency' (from environment)" in findings["settings"].detail


async def test_a_data_directory_that_cannot_be_is_a_failure_and_nothing_is_made(
    settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    settings.setenv("HOLDFAST_DATA_DIR", str(tmp_path / "file" / "data"))
    assert (await found())["data directory"].verdict is Verdict.FAIL


async def test_a_database_that_does_not_answer_is_a_failure(
    settings: pytest.MonkeyPatch,
) -> None:
    url = f"postgresql://holdfast:hidden@127.0.0.1:{free_port()}/holdfast?connect_timeout=2"
    settings.setenv("HOLDFAST_DATABASE_URL", url)
    findings = await found()
    assert findings["database"].verdict is Verdict.FAIL
    assert "hidden" not in str(findings)


async def test_a_program_for_nginx_that_is_not_there_is_told(
    settings: pytest.MonkeyPatch,
) -> None:
    settings.setenv("HOLDFAST_NGINX_COMMAND", "/nowhere/nginx")
    nginx = (await found())["nginx"]
    assert nginx.verdict is Verdict.WARN
    assert "HOLDFAST_NGINX_COMMAND" in nginx.remedy


async def test_slices_add_checks_of_their_own() -> None:
    async def stores(_: Services) -> Sequence[Finding]:
        return [Finding(check="stores", verdict=Verdict.OK, detail="all answer")]

    def assemble(loaded: LoadedSettings) -> Services:
        services = build_services(loaded)
        contributors(services).checks.append(stores)
        return services

    assert (await found(assemble))["stores"].detail == "all answer"
