"""Evidence logs for tests: written by other processes, which are killed or run out of disk."""

import subprocess
import sys

from muma.serving.evidence.log import EvidenceLog, EvidenceLogConfig

# argv: folder, worker, largest file in bytes or 0. Puts evidence whose time is its number and says
# which are durable, until it is killed.
WRITE = """
import itertools, resource, sys, time
from muma.serving.evidence.log import EvidenceLog, EvidenceLogConfig
from muma.testing.evidence_suite import small

folder, worker, largest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
log = EvidenceLog(EvidenceLogConfig(path=folder, worker=worker, segment_mib=0.05))
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
print("ready", flush=True)
mine = [e for e in log.iterate() if e.ask.request_id.startswith(f"{worker}-")]
for at in itertools.count(len(mine)):
    log.put(small(f"{worker}-{at}", time=at, user=f"u{at % 5}"))
    time.sleep(0.0005)
    if at % 7 == 0:
        log.flush()
        stats = log.stats()
        print("durable", at, stats.lost, stats.failing, flush=True)
"""


def opened(folder, **settings):
    return EvidenceLog(EvidenceLogConfig(path=str(folder), **settings))


def start(folder, worker=0, largest=0):
    command = [sys.executable, "-c", WRITE, str(folder), str(worker), str(largest)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def requests(log):
    return [evidence.ask.request_id for evidence in log.iterate()]
