"""How values of each kind are written. Each function gives the same when applied twice."""

from tidegate import Trouble

# ITU-T E.164 allows 15 digits; the shortest numbers in use have 3.
PHONE_DIGITS_MIN = 3
PHONE_DIGITS_MAX = 15
PHONE_SIGNS = set(" \u00a0\t-./()+")


def text(value):
    """Without white space at the ends, and with one space for every run of it."""
    return " ".join(value.split())


def name(value):
    """As `text`; a name in capitals or in small letters only gets a capital per word."""
    value = text(value)
    if not (value.isupper() or value.islower()):
        return value
    return "".join(
        character.upper() if starts_word(value, index) else character.lower()
        for index, character in enumerate(value)
    )


def starts_word(value, index):
    return index == 0 or value[index - 1] in " -"


def email(value):
    """Lower case without white space around it. Refuses what has not exactly one @ with text on both sides."""
    value = value.strip().lower()
    user, _, domain = value.partition("@")
    if value and (not user or not domain or "@" in domain or len(value.split()) != 1):
        raise Trouble("not-an-email", "this text is not an e-mail address")
    return value


def phone(value):
    """Digits, with a + before an international number."""
    value = value.strip()
    if not value:
        return value
    digits = "".join(character for character in value if character in "0123456789")
    strange = any(
        character not in PHONE_SIGNS and character not in "0123456789" for character in value
    )
    international = value.startswith("+") or digits.startswith("00")
    if digits.startswith("00"):
        digits = digits[2:]
    if strange or "+" in value[1:] or not PHONE_DIGITS_MIN <= len(digits) <= PHONE_DIGITS_MAX:
        raise Trouble("not-a-phone", "this text is not a telephone number")
    return f"+{digits}" if international else digits


KINDS = {"text": text, "name": name, "email": email, "phone": phone}
