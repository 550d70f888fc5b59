"""Name runs: check that a name is a safe folder everywhere, and make one from the name of a config's file."""

import hashlib
import re
import unicodedata

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._=,-]*$"
"""`=` and `,` stand in the names of a sweep's arms, such as `norm=bn,lr=0.1`."""
LONGEST = 100
DEVICE_NAMES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
"""Names that Windows keeps for devices, with any ending."""

_SPELLED = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)
_OTHER = re.compile(r"[^A-Za-z0-9._=,-]+")


def is_device(name: str) -> bool:
    """Tell whether Windows takes a name for a device, such as `con.txt`."""
    return name.split(".")[0].upper() in DEVICE_NAMES


def run_name_of(stem: str) -> str:
    """Return the name of the runs of a file, from its stem: the stem itself where that is safe.

    Accents are left out, letters of other scripts become their code points, such as `u5b9f`, and everything else an
    underscore; a name that is too long, or of which nothing is left, ends with a digest.
    """
    if re.fullmatch(PATTERN, stem) and len(stem) <= LONGEST and not is_device(stem) and not stem.endswith("."):
        return stem
    letters = unicodedata.normalize("NFKD", stem.translate(_SPELLED))
    spelled = "".join(_spelled(letter) for letter in letters if not unicodedata.combining(letter))
    name = _OTHER.sub("_", spelled).strip("._=,-")
    if is_device(name):
        name = "run_" + name
    if not name or len(name) > LONGEST:
        digest = hashlib.sha256(stem.encode(errors="surrogatepass")).hexdigest()[:8]
        name = f"{name[: LONGEST - 9] or 'run'}-{digest}"
    return name


def _spelled(letter: str) -> str:
    """Return a letter or digit of another script as its code point, and every other character as it is."""
    return letter if letter.isascii() or not letter.isalnum() else f"u{ord(letter):04x}"
