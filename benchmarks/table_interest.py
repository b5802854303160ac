"""The interest network's rows of the README's table."""

from __future__ import annotations

from kept import difference, load, ratio

DECAYS = {
    "exponential": "eq. (6) with its fixed rate",
    "learned_rate": "one learned rate",
    "per_dimension": "one a dimension",
    "short_term": "the T-LSTM's",
}


def ablated(found: dict, base: str) -> dict[str, str]:
    """The decays that a network was trained with, by their key."""
    return {key: name for key, name in DECAYS.items() if f"{base}_{key}_ndcg10_last200" in found}


def until(found: dict, name: str) -> str:
    """CPU seconds to the stated quality, or how far a bounded training came."""
    seconds, best = found[f"until_{name}_s"], found[f"until_{name}_best_ndcg10"]
    bound = f"{found['until_limit_s']:.0f} s" if name.startswith("recbole") else "20 epochs"
    return f"{seconds:.0f} s" if seconds is not None else f"not within {bound} (best {best:.3f})"


def interest_rows() -> list[tuple[str, str, str]]:
    """What was measured, the figure, the command that prints it."""
    network, speed = load("interest"), load("interest_speed")
    small, rivals = load("interest_100k"), load("interest_rivals")
    feed = load("interest_recipes")
    short, ablation = load("interest_ablation"), "benchmarks/interest.py --ablation --kernel cpp"
    trained = "benchmarks/interest.py --models hybrid --recipes kuairand globo"
    return [
        (
            (
                f"MovieLens 1M, leave-last-out, last 200 masked, seeds: {network['seeds']}: NDCG@10 of the network "
                "(LSTM + Transformer), Markov + EASE, their blend"
            ),
            ", ".join(
                f"{network[f'{k}_ndcg10_last200']:.4f} [{network[f'{k}_ndcg10_last200_low']:.4f}, "
                f"{network[f'{k}_ndcg10_last200_high']:.4f}]"
                for k in ("hybrid", "markov_ease", "blend")
            ),
            trained,
        ),
        (
            "... three seeds of each: the network minus the LSTM alone, minus SASRec, each at its own learning rate",
            "; ".join(
                difference(rivals, f"hybrid_minus_{k}_ndcg10_last200") for k in ("lstm", "sasrec")
            ),
            "benchmarks/interest.py --models hybrid lstm sasrec --no-blend",
        ),
        (
            (
                f"KuaiRand, global-time split, {feed['kuairand_users']:,} users, three seeds of each: NDCG@10 of the network; "
                "minus the LSTM alone, GRU4Rec, SASRec"
            ),
            "; ".join(
                [f"{feed['kuairand_network_ndcg10']:.4f}"]
                + [
                    difference(feed, f"kuairand_network_minus_{k}_ndcg10")
                    for k in ("lstm", "gru4rec", "sasrec")
                ]
            ),
            "benchmarks/interest_recipes.py --recipes kuairand",
        ),
        (
            (
                "... minus the network with author, tags and duration fused in; that one without author, without tags, "
                "without duration at inference, minus itself"
            ),
            "; ".join(
                difference(feed, f"kuairand_{k}_ndcg10")
                for k in (
                    "network_minus_fused",
                    "fused_without_author_minus_fused",
                    "fused_without_tags_minus_fused",
                    "fused_without_duration_minus_fused",
                )
            ),
            "benchmarks/interest_recipes.py --recipes kuairand",
        ),
        (
            f"Globo news, global-time split, {feed['globo_users']:,} users, likewise",
            "; ".join(
                [f"{feed['globo_network_ndcg10']:.4f}"]
                + [
                    difference(feed, f"globo_network_minus_{k}_ndcg10")
                    for k in ("lstm", "gru4rec", "sasrec")
                ]
            ),
            "benchmarks/interest_recipes.py --recipes globo",
        ),
        (
            "MovieLens 100K, likewise: the blend with the network minus Markov + EASE",
            difference(small, "blend_minus_markov_ease_ndcg10_last200"),
            "benchmarks/interest.py --data ml-100k --models hybrid",
        ),
        (
            (
                "MovieLens 100K, six epochs, three seeds: NDCG@10 of the network without a decay; its difference from "
                + ", ".join(ablated(short, "hybrid").values())
            ),
            "; ".join(
                [f"{short['hybrid_ndcg10_last200']:.4f}"]
                + [
                    difference(short, f"hybrid_minus_hybrid_{k}_ndcg10_last200")
                    for k in ablated(short, "hybrid")
                ]
            ),
            ablation,
        ),
        (
            "... of the LSTM alone; its difference from "
            + ", ".join(ablated(short, "lstm").values()),
            "; ".join(
                [f"{short['lstm_ndcg10_last200']:.4f}"]
                + [
                    difference(short, f"lstm_minus_lstm_{k}_ndcg10_last200")
                    for k in ablated(short, "lstm")
                ]
            ),
            ablation,
        ),
        (
            "... the network minus the LSTM alone, minus GRU4Rec, minus SASRec",
            "; ".join(
                difference(short, f"hybrid_minus_{k}_ndcg10_last200")
                for k in ("lstm", "gru4rec", "sasrec")
            ),
            ablation,
        ),
        (
            "KuaiRand, global-time split: Markov + EASE with the network minus without (NDCG@10)",
            difference(network, "kuairand_blend_minus_markov_ease_ndcg10"),
            trained,
        ),
        (
            (
                "Globo news, likewise; the network moved to today's shares of the articles (popularity by "
                "recency, alone: see above)"
            ),
            difference(network, "globo_blend_minus_markov_ease_ndcg10"),
            trained,
        ),
        (
            "KuaiRand, the network alone minus the network with author, tags and duration fused",
            difference(network, "kuairand_network_minus_fused_ndcg10"),
            trained,
        ),
        (
            (
                "the network's training on MovieLens 100K, targets a CPU second over those of RecBole's: SASRec, "
                f"GRU4Rec; CPU seconds to a validation NDCG@10 of {speed['until_ndcg10']}: ours (SASRec, GRU4Rec, the "
                "network), RecBole's SASRec"
            ),
            (
                f"{speed['training_ratio_recbole_sasrec']:.0f}, {speed['training_ratio_recbole_gru4rec']:.0f}; "
                + ", ".join(until(speed, k) for k in ("sasrec", "gru4rec", "hybrid"))
                + f"; {until(speed, 'recbole_sasrec')}"
            ),
            "benchmarks/interest_speed.py",
        ),
        (
            "... a decayed LSTM's training time over nn.LSTM's, the worst of four decays and two widths: portable, C++ kernel",
            f"{speed['decayed_lstm_ratio']:.2f}, {ratio(speed['decayed_lstm_cpp_ratio'], 2)}",
            "benchmarks/interest_speed.py",
        ),
        (
            "... serving by ONNX Runtime, one core: one event into a state; a user vector from 50 events",
            f"{speed['one_step_ms']:.3f} ms; {speed['user_vector_ms']:.2f} ms",
            "benchmarks/interest_speed.py --parts serving",
        ),
    ]
