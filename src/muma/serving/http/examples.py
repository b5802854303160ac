"""Examples in the OpenAPI document; tests send each of them and compare the shapes of the answers."""

from __future__ import annotations

from typing import Any

ANSWER: dict[str, Any] = {
    "request_id": "9f86d081884c7d65",
    "items": [
        {
            "item": "n2",
            "title": "Rain all week",
            "category": "weather",
            "score": 0.83,
            "propensity": 0.41,
            "explored": False,
            "probability": {"click": 0.12},
            "sources": ["popularity"],
            "reason": "Many are reading it now.",
            "groups": {"popularity": 0.7, "freshness": 0.13},
            "rules": [],
        }
    ],
    "degraded": [],
    "versions": {"model": "2026-01-05", "policy": "softmax-1", "rules": "3f2a", "features": "7"},
    "as_of": 1767600000000000,
    "stages_us": {"features": 180, "candidates": 420, "rank": 900, "policy": 150},
}
RECOMMENDATION: dict[str, Any] = {
    "user": "u1",
    "session": ["n1"],
    "count": 5,
    "domains": ["news"],
    "filters": {"tags_none": ["gore"]},
    "exclude": ["n3"],
    "explain": True,
}
RANK: dict[str, Any] = {"user": "u1", "items": ["n1", "n2", "n3"], "explain": True}
DECISION: dict[str, Any] = {
    "ask": {"request_id": "9f86d081884c7d65", "tenant": "default", "user": "u1", "count": 1},
    "answer": ANSWER,
    "columns": ["item_views_1h"],
    "candidates": [1, 0],
    "values": [[25.0], [None]],
    "propensities": [0.41],
    "support": [2],
    "floor": 0.01,
    "hits": [],
    "withheld": ["gaze", "social"],
}
EVENTS: list[dict[str, Any]] = [
    {
        "event_id": "e1",
        "user_id": "u1",
        "item_id": "n2",
        "kind": "click",
        "domain": "news",
        "position": 0,
        "request_id": "9f86d081884c7d65",
    }
]
EVENTS_ANSWER: dict[str, Any] = {
    "accepted": 1,
    "duplicates": 0,
    "refused": [],
    "withheld": {},
}
ITEM: dict[str, Any] = {
    "item_id": "n2",
    "title": "Rain all week",
    "domain": "news",
    "category": "weather",
    "tags": ["rain", "today"],
    "published_at": 1767600000000000,
    "regions": ["DE", "AT"],
}
RULE: dict[str, Any] = {"id": "no-gore", "kind": "tag", "tags": ["gore"], "action": "remove"}
RULES: dict[str, Any] = {"version": "3f2a", "rules": [RULE]}
PREVIEW: dict[str, Any] = {"rules": [RULE], "users": ["u1", "new"], "count": 3}
PREVIEW_ANSWER: dict[str, Any] = {
    "before": "0f3c",
    "after": "3f2a",
    "changed": 1,
    "differ": ["no-gore"],
    "untried": [],
    "conflicts": [],
    "changes": [
        {
            "user": "u1",
            "known": True,
            "before": ["n2", "n1", "n3"],
            "after": ["n2", "n3"],
            "gone": [{"item": "n1", "before": 1, "after": None, "rules": ["no-gore"]}],
            "come": [],
            "moved": [{"item": "n3", "before": 2, "after": 1, "rules": ["no-gore"]}],
        }
    ],
    "touched": [{"rule": "no-gore", "action": "removed", "before": 0, "after": 1}],
}
MODEL: dict[str, Any] = {
    "version": "2026-01-05",
    "state": "live",
    "made_at": 1767600000000000,
    "metrics": {"ndcg@10": 0.21},
}
USER: dict[str, Any] = {"user": "u1", "known": {"clicks_1h": 3, "freshness_us": 1200}}
CONSENT: dict[str, Any] = {"gaze": True, "social": False}
CONSENT_ANSWER: dict[str, Any] = {
    "user": "u1",
    "given": {"behaviour": True, "social": False, "gaze": True},
    "said": {"gaze": True, "social": False},
    "at": 1767600000000000,
    "removed": [],
}
RECEIPT: dict[str, Any] = {"receipt": {"events": 12, "decisions": 4, "models": {}}}
