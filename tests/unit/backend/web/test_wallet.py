"""The wallet page tells the outcome of the person's own top-up, and of nobody else's."""

import re

import pytest

from backend.payments.port import Declined, Succeeded, Unknown
from tests.fakes.web_site import School
from tests.unit.backend.web.conftest import SignedInAs, form_token


def _top_up(client, **more: str) -> str:  # type: ignore[no-untyped-def]
    text = client.get("/wallet").text
    found = re.search(r'name="top_up_id" value="([^"]+)"', text)
    assert found
    fields = {"form_token": form_token(text), "top_up_id": found[1], "amount": "2000", "method": "unionpay", **more}
    return str(client.post("/wallet/top-up", data=fields, follow_redirects=False).headers["location"])


class TestWallet:
    @pytest.mark.parametrize(
        ("answer", "said"),
        [(Succeeded("charged", 2_000), "Topped up."), (Declined("no_funds"), "The payment was declined"),
         (Unknown("timeout"), "Not confirmed yet.")],
    )  # fmt: skip
    def test_tells_the_outcome_to_whom_it_belongs(
        self, school: School, signed_in_as: SignedInAs, answer: object, said: str
    ) -> None:
        school.providers["unionpay"].answer = answer  # type: ignore[assignment]
        wang, zhao = signed_in_as("wang", "en"), signed_in_as("zhao", "en")

        link = _top_up(wang)

        assert said in wang.get(link).text
        assert said not in zhao.get(link).text
        assert said not in wang.get("/wallet").text

    @pytest.mark.parametrize("state", ["succeeded", "declined", "checking", "tu_none"])
    def test_believes_no_link(self, signed_in_as: SignedInAs, state: str) -> None:
        page = signed_in_as("wang", "en").get(f"/wallet?topup={state}")

        assert page.status_code == 200
        assert "Topped up." not in page.text
        assert 'class="alert' not in page.text
