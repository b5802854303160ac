"""A client of the service, for programs in Python: `Client`, and `AsyncClient` with the same methods.

A call that may safely be made twice is made again when the service is busy, away or slow: reading,
asking for a list (the request id stays the same), sending events (each has its id), storing items,
erasing. Changes of rules and models are made once, unless the connection never came about.

    >>> from muma.client import Client
    >>> client = Client("http://127.0.0.1:8000", key="muma_...")     # doctest: +SKIP
    >>> client.recommend(user="u1", count=5).items[0].item           # doctest: +SKIP
    'n2'
"""

from muma.client.async_client import AsyncClient
from muma.client.calls import Retries
from muma.client.client import Client

__all__ = ["AsyncClient", "Client", "Retries"]
