"""The provider's HTTP side: signatures, strict requests, scripts."""

import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from backend.tenants import keys
from firmware_sim.sandbox_provider import build, load_or_create_secret

ORDER = {"merchant_id": "m", "order_id": "o", "amount_minor": 5}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """Return a client of a fresh provider."""
    return TestClient(build(tmp_path / "secrets", tmp_path / "provider.db"))


def post(
    client: TestClient, tmp_path: Path, path: str, body: bytes, *, at: int = 0, signed_path: str = ""
) -> httpx.Response:
    """Post a signed request."""
    key = load_or_create_secret(tmp_path / "secrets")
    timestamp = str(int(time.time()) + at)
    lines = ["request", timestamp, signed_path or path, hashlib.sha256(body).hexdigest()]
    signature = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    answer: Any = client.post(path, content=body, headers={"x-timestamp": timestamp, "x-signature": signature})
    return answer  # type: ignore[no-any-return]


class TestCall:
    def test_an_order_is_answered_and_signed(self, client: TestClient, tmp_path: Path) -> None:
        answer = post(client, tmp_path, "/v1/alipay/charge", json.dumps(ORDER).encode())

        assert (answer.status_code, answer.json()["status"]) == (200, "charged")
        assert len(answer.headers["x-signature"]) == 64

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"\xff",
            json.dumps({**ORDER, "more": 1}).encode(),
            json.dumps({**ORDER, "amount_minor": 0}).encode(),
            json.dumps({**ORDER, "amount_minor": -5}).encode(),
            json.dumps({**ORDER, "amount_minor": 5.0}).encode(),
            json.dumps({**ORDER, "amount_minor": True}).encode(),
            json.dumps({**ORDER, "order_id": ""}).encode(),
            json.dumps({"merchant_id": "m"}).encode(),
        ],
    )
    def test_a_malformed_order_is_refused(self, client: TestClient, tmp_path: Path, body: bytes) -> None:
        assert post(client, tmp_path, "/v1/alipay/charge", body).status_code == 400
        assert client.get("/orders").json() == {"orders": [], "in_flight": 0}

    @pytest.mark.parametrize(
        "more", [{"at": -301}, {"at": 301}, {"signed_path": "/v1/unionpay/charge"}], ids=["old", "early", "elsewhere"]
    )
    def test_a_request_out_of_its_time_or_place_is_refused(
        self, client: TestClient, tmp_path: Path, more: dict[str, Any]
    ) -> None:
        assert post(client, tmp_path, "/v1/alipay/charge", json.dumps(ORDER).encode(), **more).status_code == 401

    @pytest.mark.parametrize("path", ["/v1/visa/charge", "/v1/alipay/print"])
    def test_an_unknown_brand_or_verb_is_not_found(self, client: TestClient, tmp_path: Path, path: str) -> None:
        assert post(client, tmp_path, path, json.dumps(ORDER).encode()).status_code == 404

    def test_a_large_body_is_refused(self, client: TestClient, tmp_path: Path) -> None:
        assert post(client, tmp_path, "/v1/alipay/charge", b" " * 5_000).status_code == 401


class TestScript:
    def test_a_scripted_decline_happens_once(self, client: TestClient, tmp_path: Path) -> None:
        client.post("/script", json={"match": "next", "behaviour": "decline", "reason": "do_not_honor"})

        first = post(client, tmp_path, "/v1/alipay/charge", json.dumps(ORDER).encode()).json()
        second = post(client, tmp_path, "/v1/alipay/charge", json.dumps({**ORDER, "order_id": "o2"}).encode()).json()
        assert (first["reason"], second["result"]) == ("do_not_honor", "succeeded")

    @pytest.mark.parametrize(
        "script",
        [
            {},
            [],
            {"match": "next"},
            {"match": "next", "behaviour": "explode"},
            {"match": 1, "behaviour": "delay"},
            {"match": "next", "behaviour": "delay", "seconds": "long"},
            {"match": "next", "behaviour": "delay", "seconds": -1},
        ],
    )
    def test_a_script_that_makes_no_sense_is_refused(self, client: TestClient, script: object) -> None:
        assert client.post("/script", json=script).status_code == 400


class TestLoadOrCreateSecret:
    def test_both_sides_find_the_same_secret_whoever_comes_first(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = set(
                pool.map(
                    lambda number: (
                        keys.secret(tmp_path / "s", "provider_hmac")
                        if number % 2
                        else load_or_create_secret(tmp_path / "s")
                    ),
                    range(16),
                )
            )

        assert len(found) == 1
        assert len(found.pop()) == 32
        assert [path.name for path in (tmp_path / "s").iterdir()] == ["provider_hmac.secret"]
        assert (tmp_path / "s" / "provider_hmac.secret").stat().st_mode & 0o777 == 0o600
