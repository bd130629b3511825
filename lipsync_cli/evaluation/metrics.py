"""The names of all metrics, what they mean and which way is better: one table for texts, tables and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "zero", "one", ""]


@dataclass(frozen=True, slots=True)
class Metric:
    """``title`` heads a column, ``digits`` are shown behind the point; ``better`` is empty where it depends."""

    name: str
    title: str
    better: Better
    digits: int
    meaning: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "sync_confidence", "Sync conf.", "higher", 3, "embedded expert: median − least distance over ± 15 frames"
        ),
        Metric("sync_distance", "Sync dist.", "lower", 3, "embedded expert: least mean distance (1 − cosine)"),
        Metric("sync_probability", "Sync prob.", "higher", 3, "embedded expert: mean cosine at offset 0"),
        Metric("av_offset", "AV offset", "zero", 1, "embedded expert: frames by which the sound is early"),
        Metric("lse_c", "LSE-C", "higher", 2, "SyncNet v2: Sync-C, median − least distance"),
        Metric("lse_d", "LSE-D", "lower", 2, "SyncNet v2: Sync-D, least mean distance"),
        Metric("syncnet_offset", "SyncNet offset", "zero", 1, "SyncNet v2: frames by which the sound is early"),
        Metric("stable_sync", "StableSync", "higher", 3, "StableSyncNet: mean cosine at offset 0, a probability"),
        Metric(
            "stable_sync_confidence",
            "StableSync conf.",
            "higher",
            3,
            "StableSyncNet: median − least distance over ± 15 frames",
        ),
        Metric("stable_sync_offset", "StableSync offset", "zero", 1, "StableSyncNet: frames the sound is early"),
        Metric("aperture_corr", "Aperture corr.", "higher", 3, "lip opening against the truth's, best of ± 4 frames"),
        Metric(
            "aperture_corr_0", "Aperture corr. at 0", "higher", 3, "lip opening against the truth's, frame by frame"
        ),
        Metric(
            "aperture_offset", "Aperture offset", "zero", 1, "frames by which the lips are late at the best offset"
        ),
        Metric("aperture_spread", "Aperture spread", "one", 2, "standard deviation of the opening over the truth's"),
        Metric("lmd", "LMD", "lower", 4, "distance of lip landmarks over the inter-ocular distance"),
        Metric("silence_aperture", "Silent aperture", "lower", 4, "lip opening while the sound is silent"),
        Metric(
            "leak", "Leak", "zero", 3, "embedded expert: agreement at offset 0 with the original sound; chance is 0"
        ),
        Metric("psnr", "PSNR", "higher", 1, "lower-face crop against the truth, dB"),
        Metric("ssim", "SSIM", "higher", 3, "lower-face crop against the truth"),
        Metric("lpips", "LPIPS", "lower", 3, "lower-face crop against the truth, VGG"),
        Metric("fid", "FID", "lower", 1, "lower-face crops of all clips against the truth's"),
        Metric("fvd", "FVD", "lower", 1, "16-frame lower-face clips against the truth's"),
        Metric(
            "sharpness_ratio", "Sharpness", "one", 2, "variance of the Laplacian at the mouth over the real mouth's"
        ),
        Metric(
            "flicker", "Flicker", "lower", 2, "levels by which still pixels of the lower face leave and come back"
        ),
        Metric("flicker_ratio", "Flicker ratio", "one", 2, "flicker over that of the same frames of the source"),
        Metric("border_psnr", "Border PSNR", "higher", 1, "outer tenth of the frame against the source, dB"),
        Metric("csim", "CSIM", "higher", 3, "cosine of dlib's face embeddings to the source's"),
        Metric("face_share", "Faces", "higher", 2, "share of the scored frames with a usable face"),
    )
}
"""By name, in the order of tables."""

TRUTH_METRICS = (
    "aperture_corr", "aperture_corr_0", "aperture_offset", "aperture_spread", "lmd", "psnr", "ssim", "lpips",
)  # fmt: skip
SOURCE_METRICS = ("sharpness_ratio", "flicker_ratio", "border_psnr", "csim")
EXPERT_METRICS = ("sync_confidence", "sync_distance", "sync_probability", "av_offset")
SYNCNET_METRICS = ("lse_c", "lse_d", "syncnet_offset")
STABLE_SYNC_METRICS = ("stable_sync", "stable_sync_confidence", "stable_sync_offset")
SOUND_METRICS = (*EXPERT_METRICS, *SYNCNET_METRICS, *STABLE_SYNC_METRICS, "silence_aperture")


def format_value(name: str, value: float | None) -> str:
    """A metric's value for people; – where there is none."""
    if value is None:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{METRICS[name].digits}f}".replace("-", "−")
