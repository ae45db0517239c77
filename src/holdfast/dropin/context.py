"""Switches on the adapters that the settings name."""

from holdfast.dropin import baricadr
from holdfast.kernel.services import Services
from holdfast.kernel.web.doors import OwnDoors


def contribute(services: Services) -> None:
    """Register with the kernel; nothing runs yet."""
    if baricadr.TOOL in services.settings.dropin:
        doors = services.find(OwnDoors) or services.add(OwnDoors())
        doors.add(baricadr.PREFIX, baricadr.application(services))
