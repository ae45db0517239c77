"""Imports every module with tables, so that the metadata is whole; nothing else."""

import holdfast.dropin.tables
import holdfast.gateway.tables
import holdfast.kernel.audit
import holdfast.kernel.events
import holdfast.kernel.identity.tables
import holdfast.kernel.jobs.tables
import holdfast.kernel.notify.tables
import holdfast.kernel.stores.tables
import holdfast.kernel.timers
import holdfast.migrations.tables
import holdfast.tiers.tables  # noqa: F401
from holdfast.kernel.db import Base

metadata = Base.metadata
