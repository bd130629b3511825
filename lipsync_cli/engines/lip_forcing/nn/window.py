"""Which latent frames a chunk attends to, where they lie in the ring, and the positions they are given.

The rule of Lip Forcing: a chunk that ends at frame e sees the first ``sink`` frames and the frames from
e − (window − sink) on, itself included. Positions are counted inside this window, so they never exceed
``window`` − 1 however long the stream is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChunkView:
    """What a chunk of latent frames sees.

    ``frames`` are the visible frames in the order of their ring slots (frame i of this list is in slot i) and
    ``positions`` their temporal positions; ``slots`` and ``query_positions`` belong to the chunk's own frames.
    """

    frames: tuple[int, ...]
    positions: tuple[int, ...]
    slots: tuple[int, ...]
    query_positions: tuple[int, ...]


def slot_of(frame: int, window: int, sink: int) -> int:
    """Ring slot of a latent frame: sink frames stay for ever, the others take turns in the rest."""
    return frame if frame < sink else sink + (frame - sink) % (window - sink)


def chunk_view(first: int, count: int, window: int, sink: int) -> ChunkView:
    """The view of frames ``first`` … ``first + count − 1``; ``count`` is at most ``window − sink``."""
    if not 0 < count <= window - sink:
        raise ValueError(f"a chunk of {count} latent frames does not fit a window of {window} with a sink of {sink}")
    end = first + count
    visible = [*range(min(sink, end)), *range(max(sink, end - (window - sink)), end)]
    position = {frame: index for index, frame in enumerate(visible)}
    ordered = sorted(visible, key=lambda frame: slot_of(frame, window, sink))
    own = range(first, end)
    return ChunkView(
        frames=tuple(ordered),
        positions=tuple(position[frame] for frame in ordered),
        slots=tuple(slot_of(frame, window, sink) for frame in own),
        query_positions=tuple(position[frame] for frame in own),
    )
