"""Rebuild the samples: ``python samples/make.py POCKETSPHINX_TESTDATA_DIR``.

Needs ``pip install scikit-image opencv-python-headless`` and, for the German sentence, espeak-ng and ffmpeg on PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data

HERE = Path(__file__).parent
FRAMES, RATE, SIZE = 200, 25, 480
SPEECH = "librivox/sense_and_sensibility_01_austen_64kb-0870.wav"
GERMAN = "Guten Tag. Heute ist ein schöner Tag, und wir sprechen über das Wetter in Berlin und München."


def portrait(out: Path) -> None:
    """The NASA portrait of Eileen Collins under gentle motion; eyes and mouth stay as in the photograph."""
    picture = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += [
        "-s",
        f"{SIZE}x{SIZE}",
        "-r",
        str(RATE),
        "-i",
        "-",
        "-c:v",
        "libx264",
        "-crf",
        "18",
        "-preset",
        "slow",
        "-pix_fmt",
        "yuv420p",
    ]
    command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-movflags", "+faststart"]
    command += ["-vf", "scale=out_color_matrix=bt709", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for index in range(FRAMES):
            t = index / RATE
            angle = 1.6 * np.sin(2 * np.pi * t / 3.1) + 0.7 * np.sin(2 * np.pi * t / 1.7 + 1)
            scale = 1.8 * (1 + 0.012 * np.sin(2 * np.pi * t / 4.3 + 2))
            shift = (5 * np.sin(2 * np.pi * t / 3.7), 3 * np.sin(2 * np.pi * t / 2.3 + 0.5))
            matrix = cv2.getRotationMatrix2D((225.0, 130.0), angle, scale)
            matrix[:, 2] += np.array([SIZE / 2 - 225 + shift[0], SIZE * 0.43 - 130 + shift[1]])
            frame = cv2.warpAffine(
                picture, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            encoder.stdin.write(frame.tobytes())


def main() -> None:
    """Write all samples beside this file."""
    portrait(HERE / "portrait.mp4")
    shutil.copyfile(Path(sys.argv[1]) / SPEECH, HERE / "speech.wav")
    espeak = ["espeak-ng", "-v", "de", "-s", "150", "--stdout", GERMAN]
    wav = subprocess.run(espeak, check=True, capture_output=True).stdout
    encode = ["ffmpeg", "-y", "-loglevel", "error", "-i", "-", "-c:a", "flac", str(HERE / "german.flac")]
    subprocess.run(encode, check=True, input=wav)


if __name__ == "__main__":
    main()
