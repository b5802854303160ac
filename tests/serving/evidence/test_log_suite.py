import pytest

from muma.serving.evidence.log import EvidenceLog, EvidenceLogConfig
from muma.testing.evidence_suite import EvidenceSuite


class TestEvidenceLog(EvidenceSuite):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: EvidenceLog(EvidenceLogConfig(path=str(tmp_path)))


class TestPlainInSmallSegments(EvidenceSuite):
    @pytest.fixture
    def make(self, tmp_path):
        settings = {"codec": "plain", "segment_mib": 0.01, "commit_ms": 0}
        return lambda: EvidenceLog(EvidenceLogConfig(path=str(tmp_path), **settings))
