"""Every event stream keeps the contract."""

import pytest

from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.testing.stream_suite import StreamSuite


class TestFileStream(StreamSuite):
    @pytest.fixture
    def make(self, tmp_path):
        def opened(name="one"):
            return FileStream(
                FileStreamConfig(path=str(tmp_path / name), partitions=3, fsync=False)
            )

        return opened
