"""Synthetic speech whose phone times are known exactly, from eSpeak NG through its C interface.

Nonsense words read by many voices in many languages: what a listener to sounds, rather than to words, can learn from.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.core.types import SPEECH_RATE, Float32

LANGUAGES = ("en-us", "en", "de", "fr", "es", "it", "pt-br", "nl", "sv", "fi", "tr", "pl", "cs", "id")
ENGLISH_SHARE = 0.4
# Variants that whisper, croak or sound like machines teach nothing about people.
UNNATURAL = ("robo", "whisper", "croak", "klatt", "UniRobot", "Demonic", "fast", "Storm", "anikaRobot", "serious")
ONSETS = (*"pbmfvwtdnlszjrkgh", "sh", "ch", "th", "br", "st", "pl", "fr", "sp", "tr", "kl", "")
NUCLEI = (*"aeiou", "ai", "ea", "oo", "ou", "ee", "au", "oi", "ie")
CODAS = (*"pbmfvtdnlsrkg", "ng", "sh", "st", "nt", "mp", *[""] * 12)

CLASSES = (
    "silence", "bilabial", "labiodental", "dental", "alveolar", "sibilant", "postalveolar", "rhotic", "back", "w",
    "j", "i", "e", "ae", "a", "schwa", "o", "u", "y", "unknown",
)  # fmt: skip
"""Phones by what lips and jaw do, finer than visemes where the sound differs more than the picture."""
UNKNOWN = CLASSES.index("unknown")
_SYMBOLS = {
    "bilabial": "pbmɓʙ", "labiodental": "fvɱʋ", "dental": "θð", "alveolar": "tdnlɾɬɮɗɺɫ", "sibilant": "szɕʑ",
    "postalveolar": "ʃʒʂʐ", "rhotic": "rɹɻʁʀɽ", "back": "kgɡŋhxɣqχɦħʕʔɢcɟçɲʎɠɴ", "w": "wʍɥ", "j": "jʝ", "i": "iɪɨ",
    "e": "eɛɘ", "ae": "æ", "a": "aɑɐɒʌ", "schwa": "əɜɚɝɵɞᵻɤ", "o": "oɔ", "u": "uʊɯʉ", "y": "yøœʏɶ",
}  # fmt: skip
_CLASS_OF = {symbol: CLASSES.index(name) for name, symbols in _SYMBOLS.items() for symbol in symbols}
_AFFRICATES = {"tʃ": "postalveolar", "dʒ": "postalveolar", "tʂ": "postalveolar", "ts": "sibilant", "dz": "sibilant"}


def phone_class(ipa: str) -> int:
    """Index into ``CLASSES`` of a phone in IPA; diacritics and length marks are ignored."""
    phone = ipa.lstrip("ˈˌ' ")
    if not phone or phone.startswith(("_", "(")):
        return 0
    if phone[:2] in _AFFRICATES:
        return CLASSES.index(_AFFRICATES[phone[:2]])
    return next((_CLASS_OF[symbol] for symbol in phone if symbol in _CLASS_OF), UNKNOWN)


@dataclass(frozen=True, slots=True)
class Utterance:
    """Mono speech ``[n]`` at 16 kHz; phone i begins at ``starts[i]`` seconds and is of class ``classes[i]``."""

    samples: Float32
    starts: tuple[float, ...]
    classes: tuple[int, ...]


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("phone", ctypes.c_char * 8),
    )  # fmt: skip


_SYNCHRONOUS, _PHONE_EVENTS_IN_IPA, _UTF8 = 2, 3, 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_LIST_END, _PHONE = 0, 7
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The synthesiser. One a process: the library keeps its state in globals."""

    def __init__(self) -> None:
        """Raises EnvironmentProblem when the library is not installed."""
        library, data = _files()
        self._library = ctypes.CDLL(str(library))
        self._parts: list[Float32] = []
        self._phones: list[tuple[float, int]] = []
        self._callback = _CALLBACK(self._receive)
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 500, str(data).encode(), _PHONE_EVENTS_IN_IPA))
        if self.rate <= 0:
            raise EnvironmentProblem("eSpeak NG does not start.", hint="Reinstall it: pip install espeakng-loader")
        self._library.espeak_SetSynthCallback(self._callback)
        voices = sorted(path.name for path in (Path(data) / "voices" / "!v").iterdir())
        self.voices = [name for name in voices if not name.startswith(UNNATURAL)]

    def say(self, text: str, voice: str, *, rate: int, pitch: int, pitch_range: int) -> Utterance:
        """Speak ``text`` with a voice such as ``de+f2``; words a minute, pitch and its range in 0 … 100."""
        self._parts, self._phones = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r}")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)
        samples = np.asarray(resample_poly(samples, SPEECH_RATE, self.rate), np.float32)
        return Utterance(samples, tuple(start for start, _ in self._phones), tuple(c for _, c in self._phones))

    def utterance(self, rng: np.random.Generator) -> Utterance:
        """A random voice saying random words of a random language."""
        english = rng.random() < ENGLISH_SHARE
        language = "en-us" if english else LANGUAGES[rng.integers(len(LANGUAGES))]
        voice = f"{language}+{self.voices[rng.integers(len(self.voices))]}"
        rate, pitch, span = (int(rng.integers(*limits)) for limits in ((120, 211), (15, 86), (20, 81)))
        return self.say(nonsense(rng), voice, rate=rate, pitch=pitch, pitch_range=span)

    def _receive(self, samples: Any, count: int, event: Any) -> int:
        if samples and count > 0:
            part = np.ctypeslib.as_array(samples, (count,))
            self._parts.append(np.asarray(part / np.float32(32768), np.float32))
        index = 0
        while event and event[index].type != _LIST_END:
            if event[index].type == _PHONE:
                phone = event[index].phone.decode("utf-8", "ignore")
                self._phones.append((event[index].audio_position / 1000, phone_class(phone)))
            index += 1
        return 0


def nonsense(rng: np.random.Generator) -> str:
    """A sentence of four to nine words that mean nothing and hold every kind of syllable."""

    def pick(parts: tuple[str, ...]) -> str:
        return parts[rng.integers(len(parts))]

    def word() -> str:
        return "".join(pick(ONSETS) + pick(NUCLEI) + pick(CODAS) for _ in range(rng.integers(1, 4)))

    words = [word() + ("," if rng.random() < 0.1 else "") for _ in range(rng.integers(4, 10))]
    return " ".join(words).capitalize() + "."


def _files() -> tuple[Path, Path]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise EnvironmentProblem(
            "The phones stage needs eSpeak NG, which is not installed.",
            hint="pip install 'lipsync-cli[train]', or take the table [phones] out of the recipe.",
        ) from error
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
