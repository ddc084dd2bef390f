"""What a careful caller writes: each result has a type that is named by `restrike` itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import assert_type

import restrike


def plans(ledger: Path) -> tuple[restrike.TouchPlan, restrike.ReplayPlan, restrike.CapturePlan]:
    touch = restrike.touch(
        "orders", index="by_created_ymd", date="2021-01-20..2021-01-22", rate="max", verify=False, ledger=ledger
    )
    replay = restrike.replay(
        "stream:orders", "jsonl:out", event="MODIFY", if_superseded="skip", bisect=True, rate=4.5, ledger=ledger
    )
    unmark = restrike.unmark("orders", "jan-22", rate=100, ledger=ledger)
    assert_type(unmark, restrike.TouchPlan)
    capture = restrike.capture("orders", "kept", follow=True, flush_seconds=5)
    return touch, replay, capture


def reports(touch: restrike.TouchPlan, replay: restrike.ReplayPlan, capture: restrike.CapturePlan) -> list[int]:
    stop = restrike.Stop()
    timer = threading.Timer(60, stop.set)
    timer.start()

    def on_touch(progress: restrike.TouchProgress) -> None:
        print(progress.counts.fired)

    def on_replay(progress: restrike.ReplayProgress) -> None:
        print(progress.counts.delivered)

    def on_capture(progress: restrike.CaptureProgress) -> None:
        print(progress.records)

    try:
        touched = touch.execute(on_touch, stop=stop, time_limit_s=50)
        replayed = replay.execute(on_replay, stop=stop, time_limit_s=50)
        captured = capture.execute(on_capture, stop=stop, time_limit_s=50)
    except (restrike.DeliveryFailed, restrike.SourceLacks) as error:
        assert_type(error, restrike.DeliveryFailed | restrike.SourceLacks)
        raise
    except restrike.RestrikeError as error:
        print(error, error.hint, error.exit_code)
        raise
    finally:
        timer.cancel()
    assert_type(touched, restrike.TouchReport)
    assert_type(replayed, restrike.ReplayReport)
    assert_type(captured, restrike.CaptureReport)
    return [touched.fired, replayed.delivered, captured.records]


def seen() -> list[str]:
    found = restrike.doctor("orders", last="6h", consumer="bookkeeper", timeout_s=10)
    assert_type(found, restrike.Diagnosis)
    return [way.command for way in found.ways if way.covers == "whole" and way.only]


def exported() -> str:
    plan = restrike.export("orders", "s3://bucket/prefix", since="3d", window="1h", key="c7")
    assert_type(plan, restrike.ExportPlan)

    def on_export(progress: restrike.ExportProgress) -> None:
        print(progress.counts.completed)

    report = plan.execute(on_export, time_limit_s=3600)
    assert_type(report, restrike.ExportReport)
    return report.replay


def compared(ledger: Path) -> tuple[str, ...]:
    plan = restrike.audit("orders", "copy.csv", on="total,status", map="id=order_id", as_of="10m", ledger=ledger)
    assert_type(plan, restrike.AuditPlan)
    print(plan.data.items.count, plan.data.sample_unreadable)
    report = plan.execute(lambda progress: print(progress.counts.phase), time_limit_s=3600)
    assert_type(report, restrike.AuditReport)
    return report.repairs if report.differences else ()


def looked() -> list[restrike.Run]:
    for record in restrike.records("archive:kept", last="2h", where="dynamodb.NewImage.total > `100`"):
        assert_type(record, restrike.Record)
        print(record.sequence_number)
    runs = restrike.runs()
    assert_type(runs, list[restrike.Run])
    plan = restrike.resume(runs[0].name, rate=20)
    assert_type(
        plan,
        restrike.TouchPlan
        | restrike.ReplayPlan
        | restrike.RedrivePlan
        | restrike.CapturePlan
        | restrike.ExportPlan
        | restrike.AuditPlan,
    )
    return runs
