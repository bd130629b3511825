"""How long streams are, from the stamps of all their packets: headers of mp3, aac and live recordings only estimate.

Nothing is decoded, and the packets are those of an opening that was made anyway.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from lipsync_cli.core.types import AudioInfo, MediaInfo, VideoInfo


class StreamLengths:
    """Collects the packets of some streams of one file, whose second 0 is at ``start``. Held: a few numbers each."""

    def __init__(self, container: av.container.InputContainer, start: Fraction, streams: list[Any]) -> None:
        self.streams = streams
        # Ogg gives the duration of what is left, the others of the whole packet.
        padded = container.format.name != "ogg"
        self._pictures = {stream.index: _PictureEnds() for stream in streams if stream.type == "video"}
        self._sounds = {
            stream.index: _SoundEnd(start, stream.codec_context.sample_rate if padded else None)
            for stream in streams
            if stream.type == "audio"
        }

    def add(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Take a packet; those of other streams do not count."""
        index = packet.stream.index
        ends = self._pictures.get(index) or self._sounds.get(index)
        if ends is not None:
            ends.add(packet)

    def of(self, media: MediaInfo) -> MediaInfo:
        """``media`` with the lengths of the streams whose packets were all added."""
        video = media.video
        if video is not None and video.index in self._pictures:
            video = replace(video, measured=self._pictures[video.index].length(video))
        return replace(media, video=video, audio=tuple(map(self._measured_sound, media.audio)))

    def _measured_sound(self, audio: AudioInfo) -> AudioInfo:
        return replace(audio, measured=self._sounds[audio.index].length) if audio.index in self._sounds else audio


class _PictureEnds:
    """The first picture's stamp, and where the last one ends."""

    def __init__(self) -> None:
        self._pictures = 0
        self._first: int | None = None
        self._end: int | None = None
        self._last_without_duration: int | None = None

    def add(self, packet: av.Packet[av.stream.Stream]) -> None:
        self._pictures += bool(packet.size)
        pts = packet.pts
        if pts is None or packet.is_discard:
            return
        self._first = pts if self._first is None else min(self._first, pts)
        if packet.duration:
            end = pts + packet.duration
            self._end = end if self._end is None else max(self._end, end)
        else:
            last = self._last_without_duration
            self._last_without_duration = pts if last is None else max(last, pts)

    def length(self, info: VideoInfo) -> Fraction:
        """Seconds from the first frame to the end of the last; a still picture has none of its own."""
        if info.is_still:
            return Fraction(0)
        if self._first is None:
            return self._pictures / info.rate
        ends = [] if self._end is None else [self._end]
        if self._last_without_duration is not None:
            ends.append(self._last_without_duration + max(1, round(1 / (info.rate * info.time_base))))
        return (max(ends) - self._first) * info.time_base


class _SoundEnd:
    """Where the last packet of a sound ends, without the ``padding_rate`` samples that its decoder drops there."""

    def __init__(self, start: Fraction, padding_rate: int | None) -> None:
        self._start, self._rate = start, padding_rate
        self._end = Fraction(0)

    def add(self, packet: av.Packet[av.stream.Stream]) -> None:
        if packet.pts is None or packet.is_discard:
            return
        length = (packet.duration or 0) * packet.time_base
        if self._rate is not None:
            length -= Fraction(_dropped_samples(packet), self._rate)
        self._end = max(self._end, packet.pts * packet.time_base + length - self._start)

    @property
    def length(self) -> Fraction | None:
        """Seconds from the file's second 0 to the sound's end; None where packets have no times."""
        return self._end if self._end > 0 else None


def _dropped_samples(packet: av.Packet[av.stream.Stream]) -> int:
    """Samples at a packet's end that its decoder drops (padding of mp3, opus and aac)."""
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[4:8], "little")
