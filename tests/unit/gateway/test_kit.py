import asyncio

from gateway.kit import end_tasks
from tests.patience import PATIENCE_S


class TestEndTasks:
    def test_ends_one_that_lost_its_first_cancellation(self) -> None:
        lost = []

        async def deaf_once() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(True)
            await asyncio.sleep(60)

        async def work() -> None:
            task = asyncio.create_task(deaf_once())
            await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                await end_tasks([task])
            assert task.cancelled()

        asyncio.run(work())
        assert lost

    def test_leaves_what_a_task_raised_to_be_asked(self) -> None:
        async def fails() -> None:
            raise ValueError("unforeseen")

        async def work() -> None:
            task = asyncio.create_task(fails())
            await asyncio.sleep(0)
            await end_tasks([task])
            assert str(task.exception()) == "unforeseen"

        asyncio.run(work())

    def test_has_nothing_to_do_without_tasks(self) -> None:
        asyncio.run(end_tasks([]))
