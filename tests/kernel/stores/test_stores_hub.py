"""The process's one rclone, the files with host keys, and how a place is opened."""

import json
import os
import stat
from pathlib import Path

import pytest

from holdfast.kernel.child import ProcessFailed
from holdfast.kernel.errors import Invalid, Unavailable
from holdfast.kernel.stores import hub as hub_module
from holdfast.kernel.stores.host_keys import (
    HostKey,
    algorithms,
    keys_in,
    known_lines,
    write_known_hosts,
)
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.kinds import as_text
from holdfast.kernel.stores.place import below, s3_endpoint, s3_place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.rclone_words import (
    listing_failure,
    rclone_failure,
    spoils_listing,
)
from tests.kernel.stores.stores_kit import S3_SECRET

ED25519 = HostKey(
    kind="ssh-ed25519",
    key="AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
)
"""GitHub's, whose fingerprint is published."""
S3 = {"access_key_id": "AKIA", "secret_access_key": S3_SECRET, "endpoint": "http://10.0.0.5:9000"}


def test_a_fingerprint_is_as_ssh_shows_it() -> None:
    assert ED25519.fingerprint == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_keys_are_read_from_what_is_written_and_other_lines_are_left_out() -> None:
    written = known_lines("::1", 22, [ED25519])
    assert written.startswith("[::1]:22 ssh-ed25519 AAAA")
    more = f"# a comment\n@revoked h ssh-rsa AAAA\nh ssh-rsa not-base64!\nshort\n{written}{written}"
    assert keys_in(more) == [ED25519]


def test_a_host_may_prove_itself_only_by_the_kinds_of_keys_that_are_known() -> None:
    rsa = HostKey(kind="ssh-rsa", key="AAAA")
    assert algorithms([ED25519]) == "ssh-ed25519"
    assert algorithms([rsa, ED25519, rsa]) == "rsa-sha2-512 rsa-sha2-256 ssh-rsa ssh-ed25519"


def test_known_hosts_are_private_and_never_change(tmp_path: Path) -> None:
    folder = tmp_path / "rclone" / "hosts"
    first = write_known_hosts(folder, "one")
    second = write_known_hosts(folder, "two")
    assert write_known_hosts(folder, "one") == first != second
    assert first.read_text() == "one"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (first, folder)] == [0o600, 0o700]
    assert sorted(folder.iterdir()) == sorted([first, second])


def test_a_place_lies_below_its_store() -> None:
    for root, prefix, there in (
        ("bucket", "a/b/", "bucket/a/b"),
        ("bucket/", "", "bucket/"),
        ("", "a", "a"),
        ("/", "/a", "/a"),
        ("/srv", "", "/srv"),
    ):
        assert below(root, prefix) == there
    for prefix in ("..", "a/../../b", "a/./b", "a\0b"):
        with pytest.raises(Invalid):
            below("bucket", prefix)


def test_our_own_client_is_used_only_where_it_sees_the_same_names() -> None:
    place = s3_place({**S3, "region": "de"}, "bucket/a/b")
    assert place is not None
    assert (place.bucket, place.prefix, place.region) == ("bucket", "a/b/", "de")
    assert S3_SECRET not in repr(place)
    assert place.client().endpoint == S3["endpoint"]
    for more in (
        {"encoding": "Slash"},
        {"session_token": "x"},
        {"force_path_style": "false"},
        {"provider": "Alibaba"},
        {"access_key_id": ""},
    ):
        assert s3_place({**S3, **more}, "bucket") is None
    assert s3_place(S3, "") is None


def test_an_endpoint_is_an_address_or_that_of_a_region() -> None:
    assert s3_endpoint({"endpoint": "s3.example.org/"}) == "https://s3.example.org"
    assert s3_endpoint({"provider": "AWS", "region": "eu-1"}) == ("https://s3.eu-1.amazonaws.com")
    assert s3_endpoint({"provider": "Other"}) == ""


def test_options_become_texts_and_no_value_is_repeated_when_one_cannot() -> None:
    given = {"a": True, "b": 3, "c": "x", "d": None}
    assert as_text(given) == {"a": "true", "b": "3", "c": "x", "d": None}
    for bad in ("text", {"a": ["secret"]}, {str(n): "" for n in range(100)}):
        with pytest.raises(Invalid) as refused:
            as_text(bad)
        assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('"hf:sub": read metadata failed: 401 Unauthorized: 401 Unauthorized', "status 401"),
        ("failed to readDir: HTTP Error: 403 Forbidden", "status 403"),
        ("https response error StatusCode: 500, RequestID: , api error X: <words>", "status 500"),
        ("StatusCode: 403, RequestID: , api error SignatureDoesNotMatch: The", "refuses the keys"),
        ("dial tcp: lookup host.invalid on 10.0.0.1:53: no such host", "unknown here"),
        ("dial tcp 127.0.0.1:500: connect: connection refused", "nothing listens"),
        ("read tcp 10.0.0.5:443: unexpected EOF", "could not be listed"),
        ("<html>words of a server</html>", "could not be listed"),
    ],
)
def test_what_rclone_said_is_told_in_words_of_ours(said: str, told: str) -> None:
    error = rclone_failure(said, "store 'cold' could not be listed")
    assert told in error.message
    assert "words" not in error.message + error.hint


def test_a_host_with_another_key_is_named() -> None:
    said = ["NewFs: couldn't connect SSH: ssh: handshake failed: knownhosts: key mismatch"]
    failed = ProcessFailed("rclone", "failed", returncode=1, last_lines=said)
    options = {"host": "tape.example.org", "user": "me", "known_hosts_file": "/known"}
    error = listing_failure(failed, Remote("sftp", options, "lab"), "the store")
    assert error.code == "host_key_changed"
    assert error.message.startswith("the host tape.example.org shows another key")


@pytest.mark.parametrize(
    ("line", "spoils"),
    [
        (("error", "d/e", 'error listing: error listing "d/e": lost'), True),
        (("error", "a/b", "--files-from failed to read file: permission"), True),
        (("error", "a", 'failed to open directory "a": open /a: denied'), True),
        (("error", "a", "dial tcp 127.0.0.1:1: connect: connection refused"), True),
        (("critical", "", 'NewFs: "a": dial tcp: lookup host: no such host'), True),
        (("error", "a", "Entry doesn't belong in directory - ignoring"), False),
        (("error", "docs/i/o timeout.txt", "Entry doesn't belong in directory - ignoring"), False),
        (("error", "a", r'Entry doesn\'t belong in directory "\"i/o timeout" - ignoring'), False),
        (("notice", "a ERROR : error listing", "connection reset: cannot follow symlink"), False),
    ],
)
def test_a_listing_is_given_up_at_what_cannot_be_mended(
    line: tuple[str, str, str], *, spoils: bool
) -> None:
    assert spoils_listing(json.dumps(dict(zip(("level", "object", "msg"), line, strict=True)))) is (
        spoils
    )


def test_why_a_listing_failed_is_not_read_from_names_and_its_secrets_are_hidden() -> None:
    said = {"level": "error", "object": "no such host.md", "msg": 'lost for a"b\\c: 404'}
    remote = Remote("webdav", {"url": "https://x.test", "pass": 'a"b\\c'}, "")
    line = json.dumps(said)
    failed = ProcessFailed("rclone", "could not go on", returncode=1, last_lines=[line])
    error = listing_failure(failed, remote, "the store")
    assert error.message.endswith("is not whole: its server answered with status 404")
    assert error.said == "rclone could not go on\nlost for ***: 404"


@pytest.mark.real
async def test_it_starts_when_needed_and_leaves_nothing(tmp_path: Path) -> None:
    hub = RcloneHub(tmp_path / "rclone")
    assert not (tmp_path / "rclone").exists()
    await hub.stop()
    daemon = hub.daemon
    assert hub.daemon is daemon
    assert daemon.pid is None
    await daemon.call("rc/noop", {})
    pid = daemon.pid
    assert pid is not None
    await hub.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert hub.daemon is not daemon
    await hub.stop()


async def test_processes_that_share_a_directory_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MOST_PROCESSES", 2)
    first, second, third = (RcloneHub(tmp_path / "rclone") for _ in range(3))
    assert first.daemon.directory != second.daemon.directory
    with pytest.raises(Unavailable):
        _ = third.daemon
    freed = first.daemon.directory
    await first.stop()
    assert third.daemon.directory == freed
    await second.stop()
    await third.stop()


async def test_a_directory_too_deep_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    hub = RcloneHub(tmp_path / ("deep" * 20) / "rclone")
    short = hub.daemon.directory
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    await hub.stop()
    assert not short.exists()


def test_a_remote_is_made_once_and_old_ones_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "KEPT_REMOTES", 2)
    hub = RcloneHub(tmp_path)

    def remote(store_id: int, version: int = 1) -> Remote:
        return hub.remote(store_id, version, "", lambda: Remote("local", {}, ""))

    first, second = remote(1), remote(2)
    assert remote(1) is first  # used again, so the other one is older now
    remote(3)
    assert remote(1) is first
    assert remote(2) is not second
    changed = remote(1, version=2)
    assert remote(1, version=2) is changed
    hub.forget(1)
    assert remote(1, version=2) is not changed
