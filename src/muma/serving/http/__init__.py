"""The service's door: HTTP on Litestar, JSON by msgspec, processes by granian."""
