"""The offline engine: features of many past moments at once, from a whole log.

    rows.py        the (user, item, time) rows that are asked for
    keytable.py    key -> group
    history.py     the events that matter, by kind of key and group, in order of time
    layout.py      the rows of a chunk beside the events of their keys
    ranges.py      a window at each row, as a range of its key's events
    sums.py, best.py, registers.py, buckets.py, decayed.py, lasts.py   what is merged over a range
    merge.py       every word that a plan reads
    chunk.py       the features of a chunk of rows
    as_of.py       rows -> `FeatureTable`
    materialise.py rows -> an artifact on disk

Where the online engine keeps panes and merges them, this one sorts the rows of a key by time and
sweeps its events once with them: another algorithm for the same integers, linear in events and rows.
"""
