"""Write the README's numbers table from benchmarks/results/; `--check` only compares.

python benchmarks/table.py
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from kept import difference, load, ratio
from table_interest import interest_rows

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"


def rows() -> list[tuple[str, str, str]]:
    """What was measured, the figure, the command that prints it."""
    events, large, ranking = load("events"), load("events_100m"), load("evaluation")
    films, news = load("movielens"), load("globo")
    live, past, fused = load("features"), load("as_of"), load("fusion")
    ranked, whole = load("ranking"), load("pipeline")
    quick, cycle, past_of = load("policy"), load("policy_cycle"), load("off_policy")
    cause, coat, ctr = load("causal"), load("coat"), load("ctr")
    covered, serving = load("interval_coverage"), load("serving")
    drift, kills, soak = load("drift"), load("kills"), load("soak")
    return [
        (
            "ingest 10 M events from Parquet: read, validate, clean, order, write",
            f"{events['events_per_s'] / 1e6:.2f} M events/s, peak {events['peak_mib']:,} MiB",
            "benchmarks/events.py",
        ),
        (
            "ingest JSON Lines",
            f"{events['jsonl_events_per_s'] / 1e3:,.0f} k events/s",
            "benchmarks/events.py",
        ),
        (
            "ingest 100 M events from Parquet",
            f"{large['events_per_s'] / 1e6:.2f} M events/s, peak {large['peak_mib'] / 1024:.1f} GiB",
            "benchmarks/events.py --rows 100000000 --format parquet",
        ),
        (
            "rank and measure 20,000 users x 10,000 items, 10 metrics at 5 depths",
            f"{ranking['total_s']:.1f} s, peak {ranking['peak_mib']:,.0f} MiB",
            "benchmarks/evaluation.py",
        ),
        (
            "six metrics on the same lists: time of the peer over ours",
            f"ranx {ratio(ranking['ratio_vs_ranx'])}, RecTools {ratio(ranking['ratio_vs_rectools'])}",
            "benchmarks/evaluation.py",
        ),
        (
            "MovieLens 100K, leave-last-out, full ranking: NDCG@10 of the Markov + EASE blend",
            f"{films['blend_ndcg10']:.4f} [{films['blend_low']:.4f}, {films['blend_high']:.4f}]",
            "benchmarks/movielens.py",
        ),
        (
            "... of EASE, item-kNN, iALS, Markov alone",
            ", ".join(f"{films[k + '_ndcg10']:.4f}" for k in ("ease", "item_knn", "als", "markov")),
            "benchmarks/movielens.py",
        ),
        (
            "... blend minus EASE, blend minus Markov (paired)",
            ", ".join(
                f"{films[k + '_ndcg10']:+.4f} [{films[k + '_low']:+.4f}, {films[k + '_high']:+.4f}]"
                for k in ("blend_minus_ease", "blend_minus_markov")
            ),
            "benchmarks/movielens.py",
        ),
        (
            "Globo news, global-time split: NDCG@10 of popularity by recency, Markov, blend",
            ", ".join(
                f"{news[k + '_ndcg10']:.4f} [{news[k + '_ndcg10_low']:.4f}, "
                f"{news[k + '_ndcg10_high']:.4f}]"
                for k in ("popularity", "markov", "blend")
            ),
            "benchmarks/globo.py",
        ),
        (
            "features as of the past: 10 M events x 50 columns x 1 M rows",
            f"{past['large_s']:.1f} s, peak {past['large_peak_mib']:,.0f} MiB",
            "benchmarks/as_of.py",
        ),
        (
            "... KuaiRand, 1,008 columns x 100,000 rows",
            f"{past['kuairand_s']:.1f} s, peak {past['kuairand_peak_mib']:,.0f} MiB",
            "benchmarks/as_of.py",
        ),
        (
            (
                f"online features, {live['users'] / 1e6:.0f} M users, {live['columns']} columns: engine "
                "alone, known keys (while keys are new)"
            ),
            (
                f"{live['engine_events_per_s'] / 1e6:.2f} M events/s "
                f"({live['engine_new_keys_events_per_s'] / 1e6:.2f})"
            ),
            "benchmarks/features.py",
        ),
        (
            "... durable: on disk, applied, committed with its offsets",
            f"{live['durable_events_per_s'] / 1e3:.0f} k events/s",
            "benchmarks/features.py",
        ),
        (
            "... at 10,000 events/s: from append to visible for a reader process, p50 / p99",
            f"{live['visible_ms_p50']:.0f} / {live['visible_ms_p99']:.0f} ms",
            "benchmarks/features.py",
        ),
        (
            f"... read by that process meanwhile: 200 candidates x 50 columns ({live['columns']} and the sequence), p50 / p99",
            (
                f"{live['read_200x50_ms_p50']:.2f} / {live['read_200x50_ms_p99']:.2f} ms "
                f"({live['read_200x67_ms_p50']:.2f} / {live['read_200x67_ms_p99']:.2f})"
            ),
            "benchmarks/features.py",
        ),
        (
            f"... one user x {live['own_columns']} columns, p50 / p99",
            f"{live['read_1x250_ms_p50']:.2f} / {live['read_1x250_ms_p99']:.2f} ms",
            "benchmarks/features.py",
        ),
        (
            "... memory and disk of 1 M users with the features of Metarank's RankLens",
            f"{live['gib_per_million_users']:.2f} GiB",
            "benchmarks/features.py",
        ),
        (
            "the same window counts, time of the peer over ours, rows equal",
            (
                f"bytewax {live['ratio_vs_bytewax_2m']:.0f}, Flink SQL {live['ratio_vs_flink_2m']:.1f}, "
                f"Quix Streams {live['ratio_vs_quix_200k']:.0f}"
            ),
            "benchmarks/features.py",
        ),
        (
            "Last.fm, NDCG@10: plays + friends + tags fused, plays alone, EASE (all users)",
            ", ".join(f"{fused[f'lastfm_all_{k}_ndcg10']:.4f}" for k in ("fused", "plays", "ease")),
            "benchmarks/fusion.py",
        ),
        (
            "... fused minus plays alone: all users; users with one to four known plays",
            "; ".join(difference(fused, f"lastfm_{v}_fused_minus_plays") for v in ("all", "cold")),
            "benchmarks/fusion.py",
        ),
        (
            "... fused without friends, without tags, without plays, minus the whole (few known plays)",
            "; ".join(
                difference(fused, f"lastfm_cold_fused_without_{source}_minus_fused")
                for source in ("friends", "tags", "plays")
            ),
            "benchmarks/fusion.py",
        ),
        (
            "gaze, choice of three: accuracy of the encoder, last fixation, longest dwell (people left out)",
            ", ".join(
                f"{fused[f'gaze_{k}_accuracy']:.3f}"
                for k in ("encoder", "last_fixation", "longest_dwell")
            ),
            "benchmarks/fusion.py",
        ),
        *interest_rows(),
        (
            "rank 200 candidates x 100 features, two engines of 100 trees, fused and ordered, p50 / p99",
            f"{ranked['p50_ms']:.2f} / {ranked['p99_ms']:.2f} ms",
            "benchmarks/ranking.py",
        ),
        (
            "... the libraries' own calls for the same trees: XGBoost, LightGBM",
            f"{ranked['xgboost_ms']:.2f} ms, {ranked['lightgbm_ms']:.2f} ms",
            "benchmarks/ranking.py",
        ),
        (
            "... exact attributions of 20 shown items, both engines, p50",
            f"{ranked['explain_20_ms']:.1f} ms",
            "benchmarks/ranking.py",
        ),
        (
            "LightGBM's lambdarank example: NDCG@1, @3 of the pair",
            f"{ranked['lambdarank_ndcg1']:.3f}, {ranked['lambdarank_ndcg3']:.3f}",
            "benchmarks/ranking.py",
        ),
        (
            "KuaiRand, global time, full catalogue: NDCG@10 of the pipeline, of the tuned blend, of recency EASE, of the network",
            ", ".join(
                f"{whole[f'kuairand_{k}_ndcg10']:.4f}"
                for k in ("pipeline", "blend", "recency_ease", "network")
            ),
            "benchmarks/pipeline.py",
        ),
        (
            "... the pipeline minus the blend, minus recency EASE, minus the network (paired)",
            "; ".join(
                difference(whole, f"kuairand_pipeline_minus_{k}_ndcg10")
                for k in ("blend", "recency_ease", "network")
            ),
            "benchmarks/pipeline.py",
        ),
        (
            "Globo news, likewise: the pipeline, popularity by recency; their difference",
            (
                f"{whole['globo_pipeline_ndcg10']:.4f}, {whole['globo_popularity_ndcg10']:.4f}; "
                + difference(whole, "globo_pipeline_minus_popularity_ndcg10")
            ),
            "benchmarks/pipeline.py",
        ),
        (
            "KuaiRand, shown videos, global time: AUC of the pipeline; click, long view",
            ", ".join(
                f"{ctr[f'{k}_pipeline_auc']:.4f} [{ctr[f'{k}_pipeline_auc_low']:.4f}, {ctr[f'{k}_pipeline_auc_high']:.4f}]"
                for k in ("click", "long_view")
            ),
            "benchmarks/ctr.py",
        ),
        *(
            (
                f"... minus {name}",
                "; ".join(
                    difference(ctr, f"{k}_pipeline_minus_{key}_auc") for k in ("click", "long_view")
                ),
                "benchmarks/ctr.py",
            )
            for key, name in (
                ("logistic", "logistic regression, the same features"),
                ("dcnv2", "DCN-V2 (DeepCTR-Torch), the same features"),
                ("lightgbm_raw_context", "one LightGBM on raw columns and the request's context"),
                ("lightgbm_full", "its own LightGBM alone"),
                ("without_features", "itself without real-time features"),
                ("without_interest_score", "itself without the interest network's score"),
                ("without_candidate_scores", "itself without the other sources' scores"),
            )
        ),
        (
            (
                "... NDCG@10 of each user's shown videos, all as known at the first: minus logistic regression, DCN-V2, one "
                "LightGBM on raw columns (click)"
            ),
            "; ".join(
                difference(ctr, f"click_pipeline_minus_{k}_ndcg10_at_once")
                for k in ("logistic", "dcnv2", "lightgbm_raw")
            ),
            "benchmarks/ctr.py",
        ),
        (
            f"drift: false alarms of {drift['false_alarm_checks']:,} checks without drift (configured: 0.05)",
            (
                f"{drift['false_alarm_rate']:.3f} [{drift['false_alarm_rate_low']:.3f}, "
                f"{drift['false_alarm_rate_high']:.3f}]"
            ),
            "benchmarks/drift.py",
        ),
        (
            "... events until it is found, median: a feature moves by 0.25, by 0.5 deviations; a label's rate falls by a fifth",
            ", ".join(
                f"{drift[f'delay_{k}_median']:,.0f}"
                for k in ("mean_0.25_sd", "mean_0.5_sd", "label_minus_20_percent")
            ),
            "benchmarks/drift.py",
        ),
        (
            "policy: the 20 best of 1 M arms by eq. (12); one arm updated; LinUCB over 1,000 x 64; 20 slots of 200 by Thompson sampling, by softmax",
            (
                f"{quick['ucb_top20_1m_ms']:.2f} ms, {quick['update_us']:.2f} us, {quick['linucb_1000x64_ms']:.2f} ms, "
                f"{quick['thompson_choose_ms']:.1f} ms, {quick['softmax_choose_ms']:.2f} ms"
            ),
            "benchmarks/policy.py",
        ),
        (
            "... time of the peer over ours: MABWiser's UCB, its LinUCB, its Thompson draw (without propensities), Vowpal Wabbit",
            (
                f"{quick['mabwiser_ucb_ratio']:.0f}, {quick['mabwiser_linucb_ratio']:.0f}, "
                f"{quick['mabwiser_thompson_ratio']:.1f}, {quick['vw_1000x64_ratio']:.0f}"
            ),
            "benchmarks/policy.py",
        ),
        (
            "a rate of 0.05 shown with chance 0.01: what the paper's cycle believes, IPS, self-normalised IPS",
            f"{cycle['defect_cycle']:.2f}, {cycle['defect_ips']:.3f}, {cycle['defect_snips']:.3f}",
            "benchmarks/policy_cycle.py",
        ),
        (
            (
                "regret of 50,000 rounds, 20 seeds: the paper's cycle minus Thompson sampling that forgets; steady arms, "
                "drifting arms, ranked slots"
            ),
            "; ".join(
                f"{cycle[k]:,.0f} [{cycle[k + '_low']:,.0f}, {cycle[k + '_high']:,.0f}]"
                for k in (
                    f"{world}_thompson_forgetting_saved"
                    for world in ("stationary", "drifting", "ranked")
                )
            ),
            "benchmarks/policy_cycle.py",
        ),
        (
            "Open Bandit sample, random to BTS, all: IPW, SNIPW, DR (on-policy .0042; none is trusted, five clicks carry it)",
            ", ".join(f"{past_of[f'all_{k}']:.5f}" for k in ("ipw", "snipw", "dr")),
            "benchmarks/off_policy.py",
        ),
        (
            "... DM and DR with the published reward model and folds (published: .003545, .004727)",
            ", ".join(f"{past_of[f'all_{k}_published_deal']:.6f}" for k in ("dm", "dr")),
            "benchmarks/off_policy.py",
        ),
        (
            "95 % intervals in worlds of known value: cells of estimator and interval in 93 to 97 %, 2,000 repetitions",
            f"{covered['coverage_inside']} of {covered['coverage_cells']}",
            "benchmarks/interval_coverage.py",
        ),
        (
            "... share that lies wholly below the value where rewards are rare (even: .025), DR: symmetric, Hall's",
            f"{covered['too_low_rare_dr_asymptotic']:.3f}, {covered['too_low_rare_dr_hall']:.3f}",
            "benchmarks/interval_coverage.py",
        ),
        (
            "... 10,000 rounds x 80 actions: IPW, DR; obp's published time over ours",
            (
                f"{past_of['ipw_ms']:.2f} ms, {past_of['dr_ms']:.2f} ms; "
                f"{past_of['ipw_ratio_obp_published']:.0f}, {past_of['dr_ratio_obp_published']:.0f}"
            ),
            "benchmarks/off_policy.py",
        ),
        (
            "LaLonde, effect on the treated (experiment: 1,794): bare difference, IPW, 1-NN; CPS-1, designs chosen blind",
            ", ".join(
                [
                    f"{cause['lalonde_cps_bare_usd']:,.0f}",
                    *(
                        f"{cause[k]:,.0f} [{cause[k + '_low']:,.0f}, {cause[k + '_high']:,.0f}]"
                        for k in ("lalonde_cps_ipw_usd", "lalonde_cps_match1_usd")
                    ),
                ]
            ),
            "benchmarks/causal.py",
        ),
        (
            "NHEFS, kg gained by quitting (the book: 3.4): IPW",
            f"{cause['nhefs_ipw_kg']:.2f} [{cause['nhefs_ipw_kg_low']:.2f}, {cause['nhefs_ipw_kg_high']:.2f}]",
            "benchmarks/causal.py",
        ),
        (
            "Coat, squared error on random ratings: factorisation without weights minus with IPS weights",
            (
                f"{coat['mf_logistic_mse_gain']:+.3f} [{coat['mf_logistic_mse_gain_low']:+.3f}, "
                f"{coat['mf_logistic_mse_gain_high']:+.3f}]"
            ),
            "benchmarks/coat.py",
        ),
        (
            (
                f"service over HTTP, {serving['candidates_median']:.0f} candidates, 1,000 events a second beside: lists at "
                "100 a second, p50, p99; the highest rate with p99 below 50 ms"
            ),
            (
                f"{serving['p50_ms']:,.1f} ms, {serving['p99_ms']:,.1f} ms; {serving['max_rps_p99_50ms']:,.0f} a second"
            ),
            "benchmarks/serving.py",
        ),
        (
            "... 100 own items at 100 a second: the first ten, p50, p99; all hundred, p50, p99; click to changed features, p99",
            (
                f"{serving['rank_first_10_p50_ms']:.1f} ms, {serving['rank_first_10_p99_ms']:.1f} ms; "
                f"{serving['rank_p50_ms']:.1f} ms, {serving['rank_p99_ms']:.1f} ms; {serving['freshness_ms_p99']:.0f} ms"
            ),
            "benchmarks/serving.py",
        ),
        (
            (
                "... start to ready, seconds; failed requests; three million additions in Python on that core, before and "
                "after (other machines: 115 to 190 ms)"
            ),
            (
                f"{serving['start_s']:.1f}; {serving['errors']}; {serving['core_ms_before']} ms, "
                f"{serving['core_ms_after']} ms"
            ),
            "benchmarks/serving.py",
        ),
        (
            (
                f"{kills['kills']} `kill -9` of the service under load: events acknowledged, not once in the log, users miscounted "
                "in features; decisions looked for, lost beyond 50 ms"
            ),
            (
                f"{kills['events_acknowledged']:,}, {kills['acknowledged_not_once_in_log']}, "
                f"{kills['users_miscounted_in_features']}; {kills['decisions_looked_for']:,}, "
                f"{kills['decisions_lost_beyond_50ms']}"
            ),
            "benchmarks/kills.py",
        ),
        (
            (
                f"{soak['minutes']:.0f} minutes at {soak['rps']:.0f} lists and {soak['events_per_s']:.0f} events a second: MiB an "
                "hour of the answering process and of both; open files after a quarter, at the end; p99, median and worst minute"
            ),
            (
                f"{soak['worker_mib_per_hour']:+.1f} [{soak['worker_mib_per_hour_low']:+.1f}, "
                f"{soak['worker_mib_per_hour_high']:+.1f}], {soak['own_mib_per_hour']:+.1f} "
                f"[{soak['own_mib_per_hour_low']:+.1f}, {soak['own_mib_per_hour_high']:+.1f}]; "
                f"{soak['open_files_after_quarter']}, {soak['open_files_end']}; "
                f"{statistics.median(minutes(soak)):.0f}, {max(minutes(soak)):.0f} ms"
            ),
            f"benchmarks/soak.py --rps 137 --minutes {soak['minutes']:.0f}",
        ),
    ]


def minutes(soak: dict) -> list[float]:
    """The 99th percentile of each minute of a soak."""
    return [value for key, value in soak.items() if key.startswith("p99_ms_minute")]


def table() -> str:
    """The table in Markdown."""
    lines = ["| what | measured | command |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | `python {command}` |" for what, figure, command in rows()]
    return "\n".join([*lines, "", f"Machine: {load('events')['machine']}."])


def main() -> None:
    """Command line."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" in sys.argv:
        raise SystemExit(wanted != text and "README is stale: run 'make numbers'")
    README.write_text(wanted)


if __name__ == "__main__":
    main()
