"""Load for a service: requests at a fixed rate whatever becomes of them, and how long each took.

>>> from muma.client.load.load import LoadConfig
>>> from muma.client.load.run import run
>>> run("http://127.0.0.1:8000", "muma_...", LoadConfig(rps=100.0))     # doctest: +SKIP
"""
