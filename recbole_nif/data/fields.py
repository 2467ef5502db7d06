"""Names of the batch fields that our data path adds to RecBole's.

Windows of the moveline are shared: rows of one user that fall into the same window of the log point
to one encoded window, so a batch holds U <= B windows and every row says which one it reads and how
far. ``B`` rows, ``U`` windows, ``n`` events per window.
"""

ROW_ID = "row_id"  # [B] int64, the row's number in the dataset before any ordering

SCENE = "scene"  # + LIST_SUFFIX: [B, L] int64, scene sets of the history (``history_scene: True``)

# Click histories shared by rows (models that declare ``needs_history_windows``): the rows of a batch have H
# distinct histories, which are prefixes of U <= H windows of the log; 0 is padding, on the right.
HISTORY_ITEM = "history_item"  # [U, n] int64, item id
HISTORY_LABEL = "history_label"  # [U, n] int64, 1 + label (:class:`Needs` says when)
HISTORY_SCENE = "history_scene"  # [U, n] int64, scene set (``history_scene: True``)
HISTORY_WINDOW = "history_window"  # [H] int64, the window of each distinct history
HISTORY_CUT = "history_cut"  # [H] int64, how many of its items belong to the history, 0..n
HISTORY_OF = "history_of"  # [B] int64, which history is the row's

# Moveline windows (models that declare ``needs_moveline``); 0 is padding, padding is on the right.
MOVELINE_ITEM = "moveline_item"  # [U, n] int64, item id (0 also for an event without an item)
MOVELINE_SCENE = "moveline_scene"  # [U, n] int64, scene set: a row of ``dataset.scenes.members``
MOVELINE_BEHAVIOR = "moveline_behavior"  # [U, n] int64, behaviour type or 1 + label
MOVELINE_GAP = "moveline_gap"  # [U, n] int64, bucket of the time since the user's previous event
MOVELINE_START = "moveline_start"  # [U] int64, log position of the window's first event
MOVELINE_ROW = "moveline_row"  # [B] int64, which window the row reads
MOVELINE_CUT = "moveline_cut"  # [B] int64, how many of its events the row may see, 0..n
ROW_GAP = "row_gap"  # [B] int64, bucket of the time between the row and the last event it may see

# The row's own group of simultaneous events, as log positions (models that declare ``needs_pairs``).
TIE_BEGIN = "tie_begin"  # [B] int64, first position of the group
TIE_END = "tie_end"  # [B] int64, one past its last position
PAIR_OF = "pair_of"  # [B] int64, the place in the batch of the row to compare this one with, -1 for none
ADDED = "added"  # [B] bool, rows that are in the batch only as partners

# Stage 1 (``data/windows.py``): every eligible cut of a window and its next K positive events.
CUT_MASK = "cut_mask"  # [U, n] bool, True where a cut after event j is trained
CUT_GAP = "cut_gap"  # [U, n] int64, bucket of the time from event j to the user's next event
TARGET_ITEM = "target_item"  # [U, n, K] int64
TARGET_SCENE = "target_scene"  # [U, n, K] int64, scene set
TARGET_MASK = "target_mask"  # [U, n, K] bool
NEGATIVE_ITEM = "negative_item"  # [U, n, H] int64, the user's own unclicked events after the cut
NEGATIVE_SCENE = "negative_scene"  # [U, n, H] int64
NEGATIVE_MASK = "negative_mask"  # [U, n, H] bool
EXPOSED_ITEM = "exposed_item"  # [U, n, M] int64, the user's next rows after the cut, clicked or not
EXPOSED_SCENE = "exposed_scene"  # [U, n, M] int64
EXPOSED_LABEL = "exposed_label"  # [U, n, M] float, 1 = clicked
EXPOSED_MASK = "exposed_mask"  # [U, n, M] bool

FLOW = "flow"  # [B, K, d] float, the frozen generator's flow when it was computed once per row
GAP_BUCKETS = 16  # min(15, floor(log2(1 + seconds / 60)))


def not_features(config) -> set[str]:
    """The columns that tell or date the click and so are never a feature: label, rating, time, the behavior
    type and the field that ``threshold`` turns into labels."""
    keys = ("LABEL_FIELD", "RATING_FIELD", "TIME_FIELD", "behavior_field")
    return {config[key] for key in keys} | set(config["threshold"] or ())
