"""Secrets of stores: known for what they are, seen by nobody, and sent nowhere else."""

import json
import re
from pathlib import Path

import httpx
import pytest

from holdfast.kernel.services import Services
from holdfast.kernel.stores.kinds import secret_names
from holdfast.kernel.stores.place import Place, open_place
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from tests.kernel.stores.stores_kit import (
    PASSWORD,
    all_that_is_told,
    an_s3_store,
)

pytestmark = pytest.mark.real

REVIEWED = frozenset(
    [
        "ask_password",
        "auth",
        "auth_owner_only",
        "auth_redirect",
        "auth_url",
        "auth_version",
        "authorization_expiry",
        "bearer_token_command",
        "bypass_governance_retention",
        "client_certificate_path",
        "client_credentials",
        "client_send_certificate_chain",
        "disable_site_permission",
        "doi_resolver_api_url",
        "download_auth_duration",
        "env_auth",
        "host_key_algorithms",
        "host_keys",
        "key_exchange",
        "key_file",
        "key_use_agent",
        "metadata_permissions",
        "no_check_certificate",
        "pass_bad_blocks",
        "pin_host_key",
        "proxy",
        "pubkey",
        "pubkey_file",
        "role_session_duration",
        "role_session_name",
        "shared_credentials_file",
        "sse_customer_key_file",
        "token_expiry",
        "token_url",
        "v2_auth",
    ]
)
"""Options that sound as if they held a secret, and hold none: times, files, addresses, switches."""
SOUNDS_SECRET = re.compile(
    "pass|secret|token|credential|key|header|cookie|2fa|otp|proxy|auth|cert|session|jwt|sas_"
    "|mnemonic|grant|permission"
)


async def test_whatever_may_be_a_secret_of_any_kind_is_sealed(tmp_path: Path) -> None:
    async with RcloneDaemon(tmp_path / "daemon") as daemon:
        kinds = await daemon.kinds()
    openly = {
        name
        for known in kinds.values()
        for name in set(known) - secret_names(dict.fromkeys(known, ""), known)
        if SOUNDS_SECRET.search(name)
    }
    assert openly <= REVIEWED
    known = kinds["sftp"]
    for login in ("me:pa/ss@h:9005", "https://me:pa/ss@h", "https://TOKEN@h/", "//me:12/3@h"):
        assert secret_names({"server_command": login, "port": login}, known) == {
            "server_command",
            "port",
        }
    for plain in ("https://c.example.org/files/me@example.org/", "http://h:80/", "me@example.org"):
        assert not secret_names({"port": plain}, known)


async def opened(services: Services, store_id: int) -> Place:
    async with services.database.read() as session:
        return await open_place(session, services, store_id)


async def test_secrets_that_rclone_does_not_call_that_are_seen_by_nobody(
    services: Services, admin: httpx.AsyncClient
) -> None:
    options = {"url": "https://h/", "headers": f"Cookie,sid={PASSWORD}"}
    body = {"name": "web", "kind": "http", "options": options}
    made = (await admin.post("/api/stores", json=body)).json()
    assert (made["sealed"], made["options"]["headers"]) == (["headers"], "****")
    place = await opened(services, made["id"])
    assert PASSWORD not in place.remote.hide(f"the server said: sid={PASSWORD} is not valid")
    async with services.database.write(SYSTEM) as work:  # as an earlier version kept it
        row = await work.session.get_one(StoreRow, made["id"])
        row.options, row.secrets_enc = json.dumps(options), ""
    for path in ("/api/stores", "/api/stores/web"):
        assert PASSWORD not in (await admin.get(path)).text
    shown = (await admin.get("/api/stores/web")).json()["options"]
    await admin.put("/api/stores/web", json={"options": shown, "description": "new"})
    assert PASSWORD not in await all_that_is_told(services)
    assert (await opened(services, made["id"])).remote.hide(options["headers"]) == "***"


MOVES = {
    "its endpoint": {"endpoint": "http://127.0.0.1:10"},
    "its region's": {"sts_endpoint": "http://127.0.0.1:10"},
}


async def test_a_store_that_is_elsewhere_now_wants_its_secrets_anew(
    services: Services, admin: httpx.AsyncClient
) -> None:
    made = (await admin.post("/api/stores", json=an_s3_store())).json()
    both = an_s3_store()["options"]
    for what, options in MOVES.items():
        shown = made["options"] | options  # masked, as a client that edits what it was shown
        for given in (options, shown, {**options, "access_key_id": both["access_key_id"]}):
            refused = await admin.put("/api/stores/cold", json={"options": given})
            assert refused.status_code == 422, what
            assert "secret_access_key" in refused.json()["detail"]
    elsewhere = {**both, "endpoint": "http://127.0.0.1:10"}
    kept = await admin.put("/api/stores/cold", json={"options": elsewhere})
    assert kept.json()["options"]["endpoint"] == "http://127.0.0.1:10"
    again = {"endpoint": "http://127.0.0.1:10", "region": "de-2"}
    assert (await admin.put("/api/stores/cold", json={"options": again})).status_code == 200
