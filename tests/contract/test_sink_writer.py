"""The fake database of the sink's tests keeps the promises of a real one."""

import pytest
from sink_fakes import FakeWriter
from sink_writer_contract import BUCKET, WriterContract


class TestFakeWriter(WriterContract):
    @pytest.fixture
    def writer(self) -> FakeWriter:
        return FakeWriter()

    @pytest.fixture
    def device(self) -> str:
        return "pump-1"

    @pytest.fixture
    def at_ns(self) -> int:
        return 1_700_000_000_000_000_000

    @pytest.fixture
    def database(self, writer: FakeWriter):
        class Seen:
            def values(self, device: str) -> dict[tuple[str, int], float]:
                series = b"readings,tenant=contract,site=s,device=%b,sensor=temperature" % device.encode()
                return {
                    (field.decode(), int(time)): float(value)
                    for (bucket, key, time), fields in writer.points.items()
                    if (bucket, key) == (BUCKET, series)
                    for field, value in fields.items()
                }

        return Seen()
