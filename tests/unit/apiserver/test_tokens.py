"""Tokens: made, hashed, verified; and the first admin token of a site."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from api_builders import Api
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.model import Role, Token
from newbon_core.server import ensure_admin_token
from newbon_core.state import Changes, commit_atomic
from newbon_core.state.auth import BadToken, new_token, verify


def test_a_token_is_verified_by_its_digest_alone() -> None:
    made = new_token("viewer", 100.0, description="for Ann")
    secret = made.text.partition(".")[2]
    assert secret not in repr(made)
    assert secret not in repr(made.token)
    identity = verify(made.text, {made.token.name: made.token}.get, 100.0)
    assert (identity.role, identity.node, identity.who) == ("viewer", None, "for Ann")


@given(st.text(max_size=80))
def test_no_other_text_is_taken_for_a_token(text: str) -> None:
    made = new_token("viewer", 100.0)
    with pytest.raises(BadToken):
        verify(text, {made.token.name: made.token}.get, 100.0)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_one_wrong_digit_is_enough(place: int, digit: str) -> None:
    made = new_token("viewer", 100.0)
    name, _, secret = made.text.partition(".")
    wrong = secret[:place] + digit + secret[place + 1 :]
    if wrong != secret:
        with pytest.raises(BadToken, match="wrong") as caught:
            verify(f"{name}.{wrong}", {made.token.name: made.token}.get, 100.0)
        assert wrong not in str(caught.value)


def test_an_expired_token_is_not_valid() -> None:
    made = new_token("viewer", 100.0, expires_at=110.0)
    find = {made.token.name: made.token}.get
    verify(made.text, find, 109.9)
    with pytest.raises(BadToken, match="expired"):
        verify(made.text, find, 110.0)


@pytest.mark.parametrize(("role", "node"), [("agent", None), ("viewer", "n1"), ("admin", "n1")])
def test_only_an_agents_token_has_a_node(role: Role, node: str | None) -> None:
    with pytest.raises(ValueError, match="node"):
        new_token(role, 1.0, node=node)


# --- the first admin token -------------------------------------------------------------------------------------------


def without_admin(api: Api) -> Api:
    for name in list(api.cache.tokens):
        changes = Changes()
        changes.delete(Token, name, None)
        commit_atomic(api.store, changes)
    return api


def ensure(api: Api, directory: Path) -> str:
    return ensure_admin_token(directory, api.store, api.cache, api.clock())


def test_the_first_start_makes_an_admin_token_in_a_private_file(api: Api, tmp_path: Path) -> None:
    text = ensure(without_admin(api), tmp_path)
    file = tmp_path / "admin.token"
    assert file.read_text() == text + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert api.get("/v1/tokens", token=text).status_code == 200
    assert list(tmp_path.iterdir()) == [file]


def test_further_starts_keep_it(api: Api, tmp_path: Path) -> None:
    first = ensure(without_admin(api), tmp_path)
    assert ensure(api, tmp_path) == first
    assert len(api.cache.tokens) == 1


def test_a_token_that_was_deleted_on_purpose_does_not_come_back(api: Api, tmp_path: Path) -> None:
    first = ensure(api, tmp_path)
    changes = Changes()
    changes.delete(Token, first.partition(".")[0], None)
    commit_atomic(api.store, changes)
    before = dict(api.cache.tokens)
    assert ensure(api, tmp_path) == first
    assert api.cache.tokens == before, "another admin token is there, so nobody is locked out"


def test_a_store_without_any_admin_gets_one_even_if_the_file_is_old(api: Api, tmp_path: Path) -> None:
    first = ensure(api, tmp_path)
    text = ensure(without_admin(api), tmp_path)
    assert text != first
    assert api.get("/v1/tokens", token=text).status_code == 200


def test_a_server_beside_others_makes_its_own(api: Api, tmp_path: Path) -> None:
    text = ensure(api, tmp_path)
    assert text != api.admin
    assert len(api.cache.tokens) == 2
