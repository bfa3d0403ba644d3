"""A device's number as somebody typed or scanned it."""

from api.console.visits import PersonsVisit
from core.runtime.http.errors import FieldError, Problem
from lorawan.device_code import DeviceCode, NoDeviceCode, read_device_code


def read_code(visit: PersonsVisit, text: str, name: str = "dev_eui") -> DeviceCode:
    """Which device is meant; raises 422, beside the field of this name, for what names none."""
    try:
        return read_device_code(text)
    except NoDeviceCode:
        message = visit.gettext(
            "Un DevEUI est attendu : 16 chiffres et lettres de a à f, ou le QR code du capteur."
        )
        raise Problem(422, message, errors=[FieldError(field=name, code="dev_eui", message=message)]) from None
