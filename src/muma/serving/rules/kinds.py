"""Short names of the rules that come with MUMA; an own rule is named by `use = "package.module.Class"`."""

KINDS = {
    "without": "muma.serving.rules.without.Without",
    "only": "muma.serving.rules.only.Only",
    "age_rating": "muma.serving.rules.age_rating.AgeRating",
    "region": "muma.serving.rules.region.Region",
    "window": "muma.serving.rules.window.Window",
    "blocked": "muma.serving.rules.blocked.Blocked",
    "seen": "muma.serving.rules.seen.Seen",
    "own_items": "muma.serving.rules.own_items.OwnItems",
    "too_old": "muma.serving.rules.too_old.TooOld",
    "pin": "muma.serving.rules.pin.Pin",
    "boost": "muma.serving.rules.boost.Boost",
    "quota": "muma.serving.rules.quota.Quota",
    "freshness": "muma.serving.rules.freshness.Freshness",
    "author_cap": "muma.serving.rules.cap.AuthorCap",
    "topic_cap": "muma.serving.rules.cap.TopicCap",
}
