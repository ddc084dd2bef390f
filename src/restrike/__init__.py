"""Fire a DynamoDB stream again: the public Python API.

    import restrike

    plan = restrike.touch("orders", index="by_created_ymd", date="2021-01-22")
    print(plan.data.items.count, plan.warnings)
    report = plan.execute()

Nothing is written before `execute`, which takes `on_progress`, a `stop` that any thread may set, and a `time_limit_s`.
Keyword arguments are the command line's flags with underscores; None is "not given". Errors are
RestrikeError and its kinds, each with a message, a hint and an exit code; `restrike.errors` has them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from restrike.api import audit, capture, doctor, export, records, redrive, replay, resume, runs, touch, unmark

if TYPE_CHECKING:
    from restrike.auditing.execute import AuditProgress
    from restrike.auditing.plan import AuditPlan
    from restrike.auditing.request import AuditRequest
    from restrike.capturing.plan import CapturePlan
    from restrike.capturing.request import CaptureRequest
    from restrike.capturing.tally import CaptureTally as CaptureProgress
    from restrike.diagnosing.request import DoctorRequest
    from restrike.errors import AwsError, DeliveryFailed, RestrikeError, SourceLacks, UsageError, VerificationFailed
    from restrike.exporting.execute import ExportProgress
    from restrike.exporting.plan import ExportPlan
    from restrike.exporting.request import ExportRequest
    from restrike.model.audit import AuditReport
    from restrike.model.diagnosis import Diagnosis
    from restrike.model.record import Record
    from restrike.model.report import (
        CaptureReport,
        ExportReport,
        RedriveReport,
        ReplayReport,
        RescueReport,
        TouchReport,
    )
    from restrike.replaying.counts import ReplayProgress
    from restrike.replaying.filters import FilterRequest
    from restrike.replaying.plan import ReplayPlan
    from restrike.replaying.redriving.from_queue import QueuePlan
    from restrike.replaying.redriving.plan import RedrivePlan
    from restrike.replaying.redriving.rescue import RescuePlan
    from restrike.replaying.request import ReplayRequest
    from restrike.running.run import Run
    from restrike.running.stop import Stop
    from restrike.selecting.request import SelectionRequest
    from restrike.touching.plan import TouchPlan
    from restrike.touching.progress import TouchProgress
    from restrike.touching.request import TouchRequest

__all__ = [
    "AuditPlan",
    "AuditProgress",
    "AuditReport",
    "AuditRequest",
    "AwsError",
    "CapturePlan",
    "CaptureProgress",
    "CaptureReport",
    "CaptureRequest",
    "DeliveryFailed",
    "Diagnosis",
    "DoctorRequest",
    "ExportPlan",
    "ExportProgress",
    "ExportReport",
    "ExportRequest",
    "FilterRequest",
    "QueuePlan",
    "Record",
    "RedrivePlan",
    "RedriveReport",
    "ReplayPlan",
    "ReplayProgress",
    "ReplayReport",
    "ReplayRequest",
    "RescuePlan",
    "RescueReport",
    "RestrikeError",
    "Run",
    "SelectionRequest",
    "SourceLacks",
    "Stop",
    "TouchPlan",
    "TouchProgress",
    "TouchReport",
    "TouchRequest",
    "UsageError",
    "VerificationFailed",
    "audit",
    "capture",
    "doctor",
    "export",
    "records",
    "redrive",
    "replay",
    "resume",
    "runs",
    "touch",
    "unmark",
]

_WHERE = {
    "AuditPlan": ("restrike.auditing.plan", "AuditPlan"),
    "AuditProgress": ("restrike.auditing.execute", "AuditProgress"),
    "AuditReport": ("restrike.model.audit", "AuditReport"),
    "AuditRequest": ("restrike.auditing.request", "AuditRequest"),
    "AwsError": ("restrike.errors", "AwsError"),
    "CapturePlan": ("restrike.capturing.plan", "CapturePlan"),
    "CaptureProgress": ("restrike.capturing.tally", "CaptureTally"),
    "CaptureReport": ("restrike.model.report", "CaptureReport"),
    "CaptureRequest": ("restrike.capturing.request", "CaptureRequest"),
    "DeliveryFailed": ("restrike.errors", "DeliveryFailed"),
    "Diagnosis": ("restrike.model.diagnosis", "Diagnosis"),
    "DoctorRequest": ("restrike.diagnosing.request", "DoctorRequest"),
    "ExportPlan": ("restrike.exporting.plan", "ExportPlan"),
    "ExportProgress": ("restrike.exporting.execute", "ExportProgress"),
    "ExportReport": ("restrike.model.report", "ExportReport"),
    "ExportRequest": ("restrike.exporting.request", "ExportRequest"),
    "FilterRequest": ("restrike.replaying.filters", "FilterRequest"),
    "QueuePlan": ("restrike.replaying.redriving.from_queue", "QueuePlan"),
    "Record": ("restrike.model.record", "Record"),
    "RedrivePlan": ("restrike.replaying.redriving.plan", "RedrivePlan"),
    "RedriveReport": ("restrike.model.report", "RedriveReport"),
    "ReplayPlan": ("restrike.replaying.plan", "ReplayPlan"),
    "ReplayProgress": ("restrike.replaying.counts", "ReplayProgress"),
    "ReplayReport": ("restrike.model.report", "ReplayReport"),
    "ReplayRequest": ("restrike.replaying.request", "ReplayRequest"),
    "RescuePlan": ("restrike.replaying.redriving.rescue", "RescuePlan"),
    "RescueReport": ("restrike.model.report", "RescueReport"),
    "RestrikeError": ("restrike.errors", "RestrikeError"),
    "Run": ("restrike.running.run", "Run"),
    "SelectionRequest": ("restrike.selecting.request", "SelectionRequest"),
    "SourceLacks": ("restrike.errors", "SourceLacks"),
    "Stop": ("restrike.running.stop", "Stop"),
    "TouchPlan": ("restrike.touching.plan", "TouchPlan"),
    "TouchProgress": ("restrike.touching.progress", "TouchProgress"),
    "TouchReport": ("restrike.model.report", "TouchReport"),
    "TouchRequest": ("restrike.touching.request", "TouchRequest"),
    "UsageError": ("restrike.errors", "UsageError"),
    "VerificationFailed": ("restrike.errors", "VerificationFailed"),
}
"""Type → where it is. Imported when it is asked for: `import restrike` is as light as the command's help."""


if not TYPE_CHECKING:  # for a type checker the imports above say what there is, and nothing else is

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'restrike' has no attribute {name!r}")
        import importlib

        module, member = _WHERE[name]
        return getattr(importlib.import_module(module), member)
