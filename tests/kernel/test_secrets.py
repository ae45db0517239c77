"""Sealed values and masks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.secrets import CannotUnseal, Sealer, mask, read_or_create_secret


@given(st.text())
def test_what_is_sealed_comes_back_and_cannot_be_read(text: str) -> None:
    sealed = Sealer("s3cret").seal(text)
    assert Sealer("s3cret").unseal(sealed) == text
    assert not text or len(text) < 8 or text not in sealed


def test_another_secret_cannot_unseal() -> None:
    with pytest.raises(CannotUnseal):
        Sealer("other").unseal(Sealer("s3cret").seal("keys"))


@pytest.mark.parametrize(
    ("text", "masked"),
    [("abcdefgh", "abcd****"), ("abcd", "****"), ("", "****"), ("abcde", "abcd*")],
)
def test_a_mask_shows_four_characters_at_most(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_the_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = read_or_create_secret(tmp_path / "secret")
    assert read_or_create_secret(tmp_path / "secret") == first
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
