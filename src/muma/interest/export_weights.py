"""Keeps a network as safetensors with its config beside them: a torch artifact without pickle.

Shape: none of its own; tensors keep the names of `InterestNetwork.state_dict`.
"""

from __future__ import annotations

import json

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from muma.artifact import Artifact, Writer
from muma.config import parse
from muma.errors import ArtifactError
from muma.interest.network import InterestNetwork, NetworkConfig
from muma.interest.table import ItemTable

WEIGHTS = "network.safetensors"
CONFIG = "network-config.json"


def save(network: InterestNetwork, writer: Writer) -> None:
    """Write weights and config into an artifact."""
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, writer.path(WEIGHTS))
    writer.path(CONFIG).write_text(network.config.model_dump_json(indent=1), encoding="utf-8")


def load(artifact: Artifact) -> InterestNetwork:
    """Build the network that `save` wrote, with its item table.

    Raises:
        ArtifactError: a file is missing or damaged, or the weights do not fit the config.
    """
    data = json.loads(artifact.path(CONFIG).read_text(encoding="utf-8"))
    config = parse(NetworkConfig, data, where=CONFIG)
    network = InterestNetwork(config, ItemTable(config.width))
    try:
        network.load_state_dict(load_file(artifact.path(WEIGHTS)))
    except (SafetensorError, RuntimeError) as error:
        raise ArtifactError(
            f"{artifact.folder}: {WEIGHTS} does not fit {CONFIG}: {error}"
        ) from None
    return network
