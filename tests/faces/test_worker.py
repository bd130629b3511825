"""A reader in another process gives what it gives in this one, says what went wrong, and leaves nothing behind."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.faces.detectors.protocol import FaceDetector, LandmarkPredictor
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.face_patch import cut_patch, pose_of_box
from lipsync_cli.faces.worker import FaceWorker
from lipsync_cli.synthetic import draw_head


def test_worker_answers_as_dlib_does_here() -> None:
    picture, here = draw_head(), create_reader("dlib", samples=2)
    found = here.detector.detect(picture)
    patch = cut_patch(picture, np.eye(2, 3), pose_of_box(found[0].box)).rgb
    with FaceWorker("dlib", 2) as worker:
        assert isinstance(worker, FaceDetector) and isinstance(worker, LandmarkPredictor)
        assert worker.detect(picture) == found
        assert worker.reader.detector is worker.reader.predictor is worker
        assert np.array_equal(worker.predict(patch), here.predictor.predict(patch))
        process = worker._process
    assert process.poll() == 0


def test_worker_raises_its_error_here_and_answers_the_next_question() -> None:
    picture = draw_head()
    with FaceWorker("dlib", 1) as worker:
        with pytest.raises(RuntimeError, match="Unsupported image type"):
            worker.detect(picture[..., :2])
        assert len(worker.detect(picture)) == 1


def test_worker_that_was_killed_is_an_error_not_a_wait() -> None:
    with FaceWorker("dlib", 1) as worker:
        worker.detect(draw_head())
        worker._process.send_signal(signal.SIGKILL)
        worker._process.wait()
        with pytest.raises(RuntimeError, match=r"reads faces ended with -9"):
            worker.detect(draw_head())


def test_worker_with_an_unknown_detector_is_the_users_error() -> None:
    with FaceWorker("nobody", 1) as worker, pytest.raises(UsageError, match="nobody"):
        worker.detect(draw_head())


def test_worker_that_was_started_is_ready_and_an_unneeded_one_does_not_keep_anybody_waiting() -> None:
    with FaceWorker("dlib", 1) as worker:
        worker.start()
        process = worker._process
        assert len(worker.detect(draw_head())) == 1
        assert worker._process is process
    with FaceWorker("dlib", 1) as worker:
        worker.start()
        process = worker._process
    assert process.poll() == -signal.SIGKILL  # it was still loading
