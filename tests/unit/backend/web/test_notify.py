"""Where providers notify us: no sign-in and no form token, raw bytes, and nothing believed that is not proven."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.payments import cases, service
from backend.payments.service import TopUpState
from backend.web.routes import notify
from tests.fakes.provider import FakeProvider
from tests.fakes.web_site import School


@pytest.fixture
def provider(school: School) -> FakeProvider:
    """Return a provider that lost its answer to a top-up."""
    fake = FakeProvider("unionpay", clock=school.clock)
    school.backend.context.providers["unionpay"] = fake  # type: ignore[index]
    fake.behave("lost_answer")
    context = school.backend.context
    service.top_up(
        school.db, context.providers, school.tenant_id, "ch_wang", "unionpay", 500, "request-9", context.clock
    )
    return fake


def state(school: School) -> TopUpState:
    """Return the top-up's state."""
    with school.db.read() as conn:
        return service.find_top_up(conn, school.tenant_id, "tu_request-9").state


class TestTake:
    def test_a_signed_message_is_believed_and_answered_in_the_providers_words(
        self, app: FastAPI, school: School, provider: FakeProvider
    ) -> None:
        headers, body = provider.message(school.tenant_id, "tu_request-9")
        answers = [
            TestClient(app).post(f"/notify/unionpay/{school.tenant_id}", content=body, headers=headers)
            for _ in range(2)
        ]

        assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"ok")] * 2
        assert state(school) is TopUpState.SUCCEEDED

    def test_a_forged_one_is_refused_and_counted(self, app: FastAPI, school: School, provider: FakeProvider) -> None:
        _, body = provider.message(school.tenant_id, "tu_request-9")
        answer = TestClient(app).post(f"/notify/unionpay/{school.tenant_id}", content=body)

        assert (answer.status_code, answer.content) == (400, b"fail")
        assert state(school) is TopUpState.CHECKING
        with school.db.read() as conn:
            assert [case.kind for case in cases.cases(conn, school.tenant_id, limit=9)] == ["notification_forged"]

    @pytest.mark.parametrize("path", ["unionpay/nowhere", "wallet/gxu", "seashells/gxu", "unionpay/..%2f..%2fgxu"])
    def test_nobody_else_is_notified(self, app: FastAPI, school: School, path: str) -> None:
        assert TestClient(app).post(f"/notify/{path}", content=b"{}").status_code == 404

    def test_more_than_any_provider_sends_is_refused(self, app: FastAPI, school: School) -> None:
        body = b"x" * (notify.NOTIFICATION_BYTES_MAX + 1)

        assert TestClient(app).post(f"/notify/unionpay/{school.tenant_id}", content=body).status_code == 413

    def test_reading_is_no_notifying(self, app: FastAPI, school: School) -> None:
        assert TestClient(app).get(f"/notify/unionpay/{school.tenant_id}").status_code == 405
