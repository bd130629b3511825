"""The Python interface: what ``from lipsync_cli import dub`` gives.

The same code as behind the command line, with arguments instead of options. Nothing of the process is changed, and
neither the environment's ``LIPSYNC_…`` variables nor the user's settings file count: equal calls give equal results.
Errors are those of ``lipsync_cli.core.errors``, whose base is ``LipsyncError``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.timeline import exact_rate, parse_time
from lipsync_cli.dubbing import model as models
from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.array_dubber import dub_arrays
from lipsync_cli.dubbing.model import MODEL_SETTINGS, LoadedModel
from lipsync_cli.dubbing.plan import plan, plan_picture
from lipsync_cli.dubbing.report import DubReport
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.inspection import Inspection, scan_faces
from lipsync_cli.media.arrays import speech_of
from lipsync_cli.media.output import STDOUT
from lipsync_cli.media.probe import probe
from lipsync_cli.settings import DEFAULT_PRESET, DubSettings, OptionLayers, Resolved, option_name, resolve_settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lipsync_cli.core.types import UInt8
    from lipsync_cli.evaluation.clip import ClipScore

    Samples = npt.NDArray[np.floating]

PathLike = str | Path
Options = Mapping[str, Any]
Time = Fraction | float | str
OnProgress = Callable[[int, int | None], None]
FILE_SETTINGS = frozenset({"length", "codec", "crf", "encoder_preset", "pix_fmt"})
"""Settings that say how a file is written, and mean nothing where there is none."""
_NO_ENVIRONMENT = {"XDG_CONFIG_HOME": os.devnull}


def dub(
    video: PathLike,
    audio: PathLike,
    output: PathLike,
    *,
    preset: str | None = None,
    model: PathLike | LoadedModel | None = None,
    start: Time | None = None,
    end: Time | None = None,
    overwrite: bool = False,
    keep: bool = False,
    options: Options | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> DubReport:
    """Dub ``video`` so that its face speaks ``audio``, write the result to ``output``, and tell what was done.

    Args:
        video: A video with the speaker, or a still picture.
        audio: What the speaker is to say: any file with sound.
        output: The result; its extension chooses the container. ``"-"`` is standard output.
        preset: A set of settings by name, or a TOML file; ``balanced`` if not given.
        model: A model's name, its folder, or one that ``load_model`` has loaded.
        start, end: Seconds (or texts such as ``"1:30.5"``) of both inputs between which is dubbed.
        overwrite: Replace ``output`` if it exists.
        keep: Carry over the video's other tracks, such as subtitles.
        options: Options of the model's engine by name, such as ``{"crop_size": 192}``.
        on_progress: Called with the frames done, and about how many there will be.
        settings: Any field of ``DubSettings``, such as ``face="left"``, ``crf=20`` or ``length="video"``.

    Raises:
        UsageError: An argument that cannot work.
        InputError: A file that cannot be read.
        NoFaceError: Nobody to dub in the video.
        ModelError: Weights that are missing or damaged.
        EnvironmentProblem: No ffmpeg, no such device, not enough memory.
        OutputError: The result cannot be written, or exists; nothing is left under its name.

    Example:
        >>> from lipsync_cli import dub
        >>> report = dub("speaker.mp4", "speech.wav", "dubbed.mp4", end=1, encoder_preset="ultrafast")
        >>> report.frames_dubbed, report.frames_out
        (25, 25)
    """
    chosen = _resolve(preset, model, settings, options)
    request = DubRequest(
        video=Path(video),
        audio=Path(audio),
        output=None if str(output) == STDOUT else Path(output),
        settings=chosen.settings,
        preset=chosen.preset,
        provenance=chosen.provenance,
        options=chosen.options,
        overwrite=overwrite,
        keep=keep,
        start=_seconds(start),
        end=_seconds(end),
    )
    loaded = model if isinstance(model, LoadedModel) else None
    return pipeline.dub(plan(request), loaded, on_progress or _no_progress)


def load_model(
    name: PathLike = DubSettings.model_fields["model"].default,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    preset: str | None = None,
    **options: Any,
) -> LoadedModel:
    """Load a model once, to dub any number of videos with it.

    Args:
        name: A model's name, or its folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        dtype: Arithmetic: ``auto``, or one that the model's engine has, such as ``bfloat16``.
        threads: CPU threads of the model; 0 leaves them to the tool.
        preset: A set of settings by name, of which the options of the model's engine count.
        options: Options of the model's engine, such as ``crop_size=192`` or ``adapter="my.safetensors"``.

    One dub at a time may use it. Raises what ``dub`` raises about models and devices.

    Example:
        >>> from lipsync_cli import dub, load_model
        >>> model = load_model("lip-forcing-mini", device="cpu")
        >>> for name in ("one", "two"):
        ...     report = dub("speaker.mp4", "speech.wav", f"{name}.mp4", model=model, end=1)
        ...     print(report.frames_dubbed, report.model.name)
        25 lip-forcing-mini
        25 lip-forcing-mini
    """
    foreign = options.keys() & DubSettings.model_fields.keys()
    _refuse(foreign, "does not concern how a model is loaded", "Give it to dub.")
    chosen = _resolve(preset, name, {"device": device, "dtype": dtype, "threads": threads}, options)
    return models.load_model(plan_picture(chosen.settings, chosen.options))


def dub_frames(
    frames: Iterable[UInt8],
    audio: Samples | Iterable[Samples],
    *,
    rate: Fraction | float | str,
    sample_rate: int,
    model: PathLike | LoadedModel | None = None,
    preset: str | None = None,
    options: Options | None = None,
    **settings: Any,
) -> Iterator[UInt8]:
    """Dub pictures that somebody else has decoded: as many come out as go in, in order.

    Args:
        frames: Pictures, uint8 RGB arrays ``[height width 3]`` of one size, upright. Any iterable; it is read a few
            frames ahead in a thread of its own, and a picture may be overwritten once the next is asked for.
        audio: What the speaker is to say: samples in [-1, 1] as one array ``[n]`` or ``[channels n]``, or an iterable
            of such blocks. After its end there is silence.
        rate: Frames per second.
        sample_rate: Samples per second.
        model: A model's name, its folder, or one that ``load_model`` has loaded.
        preset: A set of settings by name, or a TOML file; ``balanced`` if not given.
        options: Options of the model's engine by name.
        settings: Any field of ``DubSettings`` but those that say how a file is written.

    Yields:
        New arrays of the same shape. Pictures and pixels that are not dubbed come back exactly as they were, also all
        of them where nobody is to be dubbed.

    Memory does not grow with the number of frames. Close the iterator to end early. Raises what ``dub`` raises, and
    InputError for arrays of another kind.

    Example:
        >>> import numpy as np
        >>> from lipsync_cli import dub_frames
        >>> frames = [np.zeros((240, 320, 3), np.uint8)] * 3
        >>> sound = np.zeros(16_000, np.float32)
        >>> [frame.shape for frame in dub_frames(frames, sound, rate=25, sample_rate=16_000, device="cpu")]
        [(240, 320, 3), (240, 320, 3), (240, 320, 3)]
    """
    _refuse(settings.keys() & FILE_SETTINGS, "says how a file is written, and none is", "Leave it out.")
    if sample_rate <= 0:
        raise UsageError(f"The sample rate must be positive, got {sample_rate}.")
    try:
        exact = exact_rate(rate)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"The frame rate cannot be {rate!r}.", hint="Give frames per second, such as 25.") from error
    chosen = _resolve(preset, model, settings, options)
    picture = plan_picture(chosen.settings, chosen.options)
    loaded = model if isinstance(model, LoadedModel) else models.load_model(picture)
    models.require_same_model(picture, loaded)
    return dub_arrays(picture, loaded, frames, speech_of(audio, sample_rate), exact)


def inspect(
    video: PathLike,
    *,
    faces: bool = True,
    start: Time | None = None,
    end: Time | None = None,
    preset: str | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> Inspection:
    """What is in a file: its streams, its shots, and the faces to choose from, seen as ``dub`` sees them.

    Args:
        video: A video, or any file with sound.
        faces: Whether to look for shots and faces, which takes a while.
        start, end: Seconds between which to look; times count from the file's first frame all the same.
        preset: A set of settings by name, or a TOML file; ``balanced`` if not given.
        on_progress: Called with the frames done, and how many there are if that is known.
        settings: Fields of ``DubSettings``, such as ``detector="dlib-mmod"``.

    Raises:
        UsageError: An argument that cannot work.
        InputError: A file that cannot be read.

    Example:
        >>> from lipsync_cli import inspect
        >>> found = inspect("speaker.mp4", end=1)
        >>> found.media.video.width, found.media.video.height
        (720, 576)
        >>> [found.faces.number(track) for track in found.faces.tracks]
        [0]
    """
    chosen = _resolve(preset, None, settings)
    begin, stop = _seconds(start), _seconds(end)
    info = probe(video)
    if not faces or info.video is None:
        return Inspection(info)
    progress = on_progress or _no_progress
    return Inspection(info, scan_faces(info, chosen.settings, start=begin, end=stop, on_progress=progress))


def evaluate(
    clip: PathLike,
    against: PathLike | None = None,
    *,
    source: PathLike | None = None,
    audio: PathLike | None = None,
    original: PathLike | None = None,
    face: str = "largest",
    trim: bool = False,
    syncnet: PathLike | None = None,
    stable_sync: PathLike | None = None,
    weights: PathLike | None = None,
    on_progress: OnProgress | None = None,
) -> ClipScore:
    """Score a clip: whether lips and sound go together, and how good the picture is.

    Args:
        clip: The clip to score.
        against: The truth: the same frames as they should look.
        source: The clip before it was dubbed; the truth if not given.
        audio: Sound to compare with instead of the clip's own.
        original: The sound before dubbing, with which the clip should no longer go.
        face: Which face is scored, as ``dub`` takes it.
        trim: Compare the part that clips of unequal length share, instead of refusing them.
        syncnet, stable_sync, weights: Files of networks that some metrics need, and a folder of others.
        on_progress: Called with the frames done, and how many there are if that is known.

    Raises:
        InputError: A file that cannot be read, or clips that cannot be compared frame by frame.
        NoFaceError: No frame with a face that can be measured.
        ModelError: A file of a network that is none.

    Example:
        >>> from lipsync_cli import evaluate
        >>> score = evaluate("speaker.mp4")
        >>> score.frames, score.metrics["sync_probability"] > 0.5, score.metrics["ssim"], "ssim" in score.not_measured
        (75, True, None, True)
    """
    from lipsync_cli.evaluation.clip import score_clip
    from lipsync_cli.evaluation.comparison import Comparison
    from lipsync_cli.evaluation.needs import NetworkOptions
    from lipsync_cli.evaluation.registry import load_networks

    files = {"syncnet": _path(syncnet), "stable_sync": _path(stable_sync)}
    named = {name: path for name, path in files.items() if path is not None}
    networks = load_networks(NetworkOptions(named, _path(weights)))
    comparison = Comparison(
        truth=_path(against),
        source=_path(source if source is not None else against),
        sound=_path(audio),
        original=_path(original),
        face=face,
        trim=trim,
    )
    return score_clip(Path(clip), comparison, networks, on_progress or _no_progress)


def _resolve(
    preset: str | None,
    model: PathLike | LoadedModel | None,
    given: dict[str, Any],
    options: Options | None = None,
) -> Resolved:
    """The preset with ``given`` over it, and for a loaded model what it was loaded with."""
    if isinstance(model, LoadedModel):
        _refuse(given.keys() & MODEL_SETTINGS, "is decided when a model is loaded", "Give it to load_model.")
        _refuse(options or {}, "is decided when a model is loaded", "Give it to load_model.")
    elif model is not None:
        given = {"model": str(model), **given}
    chosen = resolve_settings(preset or DEFAULT_PRESET, given, options=options, environ=_NO_ENVIRONMENT)
    origins = chosen.provenance.items()
    provenance = {key: "argument" if origin == option_name(key) else origin for key, origin in origins}
    if not isinstance(model, LoadedModel):
        return chosen._replace(provenance=provenance)
    loaded = {key: getattr(model.plan.settings, key) for key in MODEL_SETTINGS}
    return chosen._replace(
        settings=chosen.settings.model_copy(update=loaded),
        provenance=provenance | dict.fromkeys(MODEL_SETTINGS, "loaded model"),
        options=OptionLayers(given=model.plan.options),
    )


def _refuse(names: Iterable[str], reason: str, hint: str) -> None:
    """UsageError for the first of ``names``, if there is one."""
    for name in sorted(names):
        raise UsageError(f"{name} {reason}.", hint=hint)


def _seconds(time: Time | None) -> Fraction | None:
    if time is None or isinstance(time, Fraction):
        return time
    if isinstance(time, str):
        return parse_time(time)
    try:
        # As people write it: 0.1 means a tenth, not the binary number next to it.
        return Fraction(str(time))
    except ValueError as error:
        raise UsageError(f"{time!r} is not a time.", hint="Give seconds, or a text such as 1:30.5.") from error


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _no_progress(done: int, total: int | None) -> None:
    """Nobody wants to know."""
