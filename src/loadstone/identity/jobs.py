"""What identity does by the clock."""

from loadstone.identity import service
from loadstone.kernel.jobs import Timer

TIMERS = [Timer("identity.forget_expired", "17 * * * *", service.forget_expired)]
