"""A provider in this process with one merchant per brand, and clients that speak each brand's language."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from firmware_sim import sandbox_keys
from firmware_sim.sandbox_provider.app import build
from firmware_sim.sandbox_provider.desk import Options
from tests.unit.firmware_sim.sandbox_provider.rails import AlipayClient, House, UnionPayClient, WeChatClient

TENANT = "gxu"


@pytest.fixture(scope="session")
def secrets_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of secrets with one merchant, made once."""
    folder = tmp_path_factory.mktemp("secrets")
    sandbox_keys.make(folder, TENANT, "http://testserver")
    return folder


@pytest.fixture
def house(secrets_template: Path, tmp_path: Path) -> Iterator[House]:
    """Yield a fresh provider in this process."""
    shutil.copytree(secrets_template, tmp_path / "secrets")
    options = Options(waiting_ttl_s=60.0, reverse_after_s=0.0, time_scale=0.0001)
    with TestClient(build(tmp_path / "secrets", tmp_path / "provider.db", options)) as client:
        yield House(client, tmp_path / "secrets" / "providers" / TENANT)


@pytest.fixture
def unionpay(house: House) -> UnionPayClient:
    """Return a client of the brand."""
    return UnionPayClient(house)


@pytest.fixture
def alipay(house: House) -> AlipayClient:
    """Return a client of the brand."""
    return AlipayClient(house)


@pytest.fixture
def wechat(house: House) -> WeChatClient:
    """Return a client of the brand."""
    return WeChatClient(house)
